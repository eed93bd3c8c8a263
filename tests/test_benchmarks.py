"""Records of the benchmarks: what is in them is not done again, and rows fit the file."""

import datetime
import importlib
import random
import subprocess
import time

import numpy as np
import pandas as pd
import pytest

from benchmarks import fuzz, record
from benchmarks.record import Record, mean_and_deviation

KEYS = ["fold", "seed"]
JOBS = [("0", 0), ("0", 1), ("OAF", 0), ("OAF", 1)]


def run(path, until=None):
    """Do jobs as the scripts do; an interruption comes before the job named, if any."""
    table, done = Record(path, KEYS), []
    for key in JOBS:
        if key in table:
            continue
        if key == until:
            raise KeyboardInterrupt
        table.append(key, [{"accuracy": 0.123456, "n": 7}])
        done.append(key)
    return done


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "a.csv"
    with pytest.raises(KeyboardInterrupt):
        run(path, until=("OAF", 0))
    there = path.read_text()
    assert run(path) == JOBS[2:]
    assert run(path) == []
    assert path.read_text().startswith(there)
    assert [tuple(row) for row in pd.read_csv(path)[KEYS].astype(str).to_numpy()] == [
        (fold, str(seed)) for fold, seed in JOBS
    ]


def test_a_key_is_known_whatever_type_pandas_takes_it_for(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("fold,seed,n\n0,0,1\n01,2,3\n")
    table = Record(path, KEYS)
    assert ("0", 0) in table
    assert ("01", np.int64(2)) in table
    assert ("1", 2) not in table
    assert ("0", 2) not in table


def test_a_file_is_read_again_only_when_another_run_has_written(tmp_path, monkeypatch):
    mine, other = (Record(tmp_path / "a.csv", KEYS) for _ in range(2))
    mine.append(("0", 0), [{"n": 1}])
    assert ("0", 0) in mine
    other.append(("0", 1), [{"n": 1}])
    assert ("0", 1) in mine
    monkeypatch.setattr(pd, "read_csv", None)
    assert ("0", 1) in mine
    assert ("0", 2) not in mine


def test_rows_are_written_in_the_order_of_the_file(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    monkeypatch.setattr(record, "commit", lambda: "abc1234")
    there = "fold,date,uar,seed,commit,clips\n0,2026-11-23,0.5,0,f00,9\n"
    path.write_text(there)
    Record(path, KEYS).append(("OAF", 1), pd.DataFrame({"clips": [3, 4], "uar": [1 / 3, 1]}))
    today = datetime.date.today()
    assert path.read_text() == (
        f"{there}OAF,{today},0.3333,1,abc1234,3\nOAF,{today},1.0,1,abc1234,4\n"
    )


def test_a_new_file_has_keys_first_then_date_and_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "commit", lambda: "abc1234")
    Record(tmp_path / "a.csv", KEYS).append(("OAF", 1), [{"clips": 3}])
    assert (tmp_path / "a.csv").read_text() == (
        f"fold,seed,clips,date,commit\nOAF,1,3,{datetime.date.today()},abc1234\n"
    )


def test_rows_with_other_columns_are_refused_and_not_written(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("fold,seed,uar,date\n0,0,0.5,2026-11-23\n")
    for row in ({"accuracy": 1}, {"uar": 1, "accuracy": 1}, {}):
        with pytest.raises(ValueError, match=r"a\.csv has other columns: fold, seed, uar, date"):
            Record(path, KEYS).append(("OAF", 1), [row])
    assert path.read_text().count("\n") == 2


@pytest.mark.parametrize(
    ("script", "file", "keys"),
    [
        ("accuracy", "accuracy.csv", "FIT"),
        ("features", "features.csv", "KEY"),
        ("generalize", "generalize.csv", "KEYS"),
        ("imbalance", "imbalance.csv", "FIT"),
        ("learning_curve", "learning_curve.csv", "KEYS"),
        ("protocols", "protocols_answers.csv", "ANSWER"),
        ("unseen_corpus", "unseen_corpus.csv", "KEYS"),
    ],
)
def test_a_script_knows_what_is_in_its_record(monkeypatch, script, file, keys):
    monkeypatch.syspath_prepend(record.HERE)  # where Python looks when it runs the script
    keys = getattr(importlib.import_module(script), keys)
    table = Record(file, keys)
    known = pd.read_csv(table.path, dtype={"fold": str, "split": str})[keys]
    for key in known.iloc[:: len(known) // 4].itertuples(index=False, name=None):
        assert key in table
        assert (*key[:-1], "never") not in table


def test_the_commit_is_named_and_whether_the_code_is_changed(tmp_path, monkeypatch):
    def git(*command):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        result = subprocess.run(["git", *who, *command], cwd=tmp_path, capture_output=True)
        return result.stdout.decode().strip()

    monkeypatch.setattr(record, "HERE", tmp_path)
    assert record.commit() == ""
    git("init")
    for name in ("a.py", "a.csv"):
        (tmp_path / name).write_text("1\n")
    git("add", ".")
    git("commit", "-m", "first")
    named = git("rev-parse", "--short", "HEAD")
    assert len(named) >= 7
    (tmp_path / "a.csv").write_text("2\n")
    assert record.commit() == named
    (tmp_path / "a.py").write_text("2\n")
    assert record.commit() == f"{named}-dirty"


def test_clips_are_described_without_filling():
    X = np.array([[[1.0, 2], [3, 6], [99, 99]], [[1, 1], [2, 2], [9, 9]]])
    described = mean_and_deviation(X, np.array([2, 3]))
    np.testing.assert_allclose(described[0], [2, 4, 1, 2])
    np.testing.assert_allclose(described[1, :2], 4)
    halves = mean_and_deviation(X, np.array([2, 3]), parts=2)
    np.testing.assert_allclose(halves[0], [1, 2, 3, 6, 0, 0, 0, 0])
    np.testing.assert_allclose(halves[1], [1.5, 1.5, 9, 9, 0.5, 0.5, 0, 0])


def test_letters_are_classes():
    assert record.to_letters([0, 2, 1]) == "acb"
    np.testing.assert_array_equal(record.from_letters("acb"), [0, 2, 1])


def test_a_damaged_file_depends_on_seed_and_number_alone(demo_corpus):
    clips = fuzz.clips_of(demo_corpus, n=1)
    few = list(fuzz.mutations(clips, 5, 0))
    time.sleep(1.1)  # s; a format that notes the time would show
    more = list(fuzz.mutations(clips, 10, 0))
    assert more[:5] == few
    assert list(fuzz.mutations(clips, 5, 1)) != few
    assert len({data for _, data in more}) == 10
    assert not set(more) & set(clips)


def test_forged_flacs_declare_every_value_at_a_limit(demo_corpus, monkeypatch):
    clips, rng = fuzz.clips_of(demo_corpus, n=1), random.Random(0)
    monkeypatch.setattr(fuzz, "FIELDS", [field for field in fuzz.FIELDS if field[0] == ".flac"])
    headers = [int.from_bytes(fuzz.forge(rng, clips)[1][18:26], "big") for _ in range(800)]
    assert {header >> 44 for header in headers} >= {rate & 2**20 - 1 for rate in fuzz.RATES}
    assert {(header >> 41 & 7) + 1 for header in headers} >= {1, 2, 3, 4, 5, 7, 8}
    assert {(header >> 36 & 31) + 1 for header in headers} >= {1, 2, 8, 16, 32}
    assert {header & 2**36 - 1 for header in headers} >= set(fuzz.SIZES)


def test_checksums_of_ogg_are_repaired(demo_corpus):
    data = dict(fuzz.clips_of(demo_corpus, n=1))[".ogg"]
    assert fuzz.repair_ogg(data) == data
    assert fuzz.repair_ogg(fuzz.put(data, 22, b"1234")) == data


def test_the_tables_of_the_book_are_those_of_the_records():
    from docs.make_tables import ROOT, TABLES, fill

    text = (ROOT / "book" / "results.md").read_text(encoding="utf-8")
    assert all(f"<!-- {name} -->" in text for name in TABLES)
    assert fill(text) == text, "run make pictures"


def test_tess_has_a_score_for_each_voice_and_no_interval():
    table = pd.read_csv(record.HERE / "protocols.csv").set_index("corpus")
    assert table.loc["tess", ["uar_low", "uar_high"]].isna().all(axis=None)
    voices = pd.read_csv(record.HERE / "protocols_speakers.csv").query("corpus == 'tess'")
    assert set(voices["speaker"]) == {"OAF", "YAF"}


def test_a_part_of_the_speakers_has_as_many_clips_either_way(monkeypatch):
    monkeypatch.syspath_prepend(record.HERE)
    curve = importlib.import_module("learning_curve")
    clips = pd.DataFrame({"speaker": np.repeat(list("abcdef"), 10)})
    train, rng = np.arange(50), np.random.default_rng(0)  # f is tested
    some = curve.draw(clips, train, "speakers", 2, rng)
    many = curve.draw(clips, train, "clips", 2, rng)
    assert len(some) == len(many) == 20
    assert clips["speaker"].iloc[some].nunique() == 2
    assert clips["speaker"].iloc[many].nunique() > 2
    assert set(many) <= set(train)
    assert len(set(many)) == 20


def test_a_recipe_is_compared_on_its_own_seeds(monkeypatch):
    monkeypatch.syspath_prepend(record.HERE)
    generalize = importlib.import_module("generalize")
    rows = []
    for recipe, seed, right in (("final", 0, 1), ("final", 1, 0), ("no warps", 0, 0)):
        for speaker in "ab":
            answer = "sad" if right or speaker == "a" else "happy"
            rows.append([f"tess|{recipe}", seed, speaker, "sad", answer])
    names = ["model", "seed", "speaker", "truth", "prediction"]
    answers = pd.DataFrame(rows, columns=names).assign(protocol="unseen speaker")
    table = generalize.compare_recipes(answers, "tess").set_index("voice")
    assert table["difference"].to_dict() == {"all": -0.5, "a": 0, "b": -1}  # seed 1 is not in it
    assert table["behind"].to_dict() == {"all": 1, "a": 0, "b": 1}
    assert table[["low", "high"]].isna().all(axis=None)
