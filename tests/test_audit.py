"""Planted damage is found, each kind by its name, and a clean corpus raises no alarm."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pooch
import pytest
import soundfile as sf
from corpora import SR, write_clip, write_folders, write_tess

from ser_utils import audio, audit_corpus, extract_corpus, scan_corpus
from ser_utils.corpora import audit
from ser_utils.corpora.audit import drop_flagged, official_checksums

pytestmark = pytest.mark.usefixtures("project")  # so that caches go nowhere else


@pytest.fixture
def corpus(tmp_path):
    """A clean corpus of 2 speakers x 3 emotions x 6 words."""
    return write_tess(tmp_path / "tess", words="abcdef")


CLIP = "OAF_angry/OAF_a_angry.wav"


def findings(root, **options):
    found = audit_corpus(scan_corpus(root), n_jobs=1, **options)
    return found[["clip", "what", "severity"]].fillna("").values.tolist()


def test_a_clean_corpus_is_said_to_be_clean(corpus, capsys):
    assert findings(corpus) == []
    assert "36 clips audited: nothing found" in capsys.readouterr().out


def test_the_demo_corpus_is_clean(demo_corpus):
    assert len(audit_corpus(scan_corpus(demo_corpus))) == 0


def change(path, make):
    y, sr = sf.read(path)
    sf.write(path, make(y), sr)


def cut(path):
    path.write_bytes(path.read_bytes()[:9000])


def write_float(path, value):
    y, sr = sf.read(path)
    y[100] = value
    sf.write(path, y, sr, subtype="FLOAT")


def rename_flac(path):
    sf.write(path.with_suffix(".flac"), np.random.default_rng(5).normal(0, 0.1, SR), SR)
    path.with_suffix(".flac").rename(path)


DAMAGE = {
    "empty": (lambda path: path.write_bytes(b""), ["unreadable"], "error"),
    "text": (lambda path: path.write_text("no sound"), ["unreadable"], "error"),
    "cut": (cut, ["unreadable"], "error"),
    "not a number": (lambda path: write_float(path, np.nan), ["unreadable"], "error"),
    "container": (rename_flac, ["container"], "error"),
    "silence": (lambda path: change(path, np.zeros_like), ["silence"], "error"),
    "short": (lambda path: change(path, lambda y: y[:3000]), ["length"], "warning"),
    "long": (lambda path: change(path, lambda y: np.tile(y, 4)), ["length"], "warning"),
    "clipped": (
        lambda path: change(path, lambda y: np.clip(y, -0.1, 0.1)),
        ["clipping"],
        "warning",
    ),
    "shifted": (lambda path: change(path, lambda y: y + 0.05), ["DC offset"], "warning"),
    "rate": (lambda path: write_clip(path, sr=48000, seconds=0.6), ["sample rate"], "warning"),
    "stereo": (
        lambda path: change(path, lambda y: np.stack([y, y[::-1]], axis=1)),
        ["channels"],
        "warning",
    ),
    "format": (lambda path: write_float(path, 0.0), ["sample format"], "warning"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_nothing_else(corpus, damage):
    make, what, severity = DAMAGE[damage]
    make(corpus / CLIP)
    assert findings(corpus) == [[CLIP, name, severity] for name in what]


def test_a_text_said_once_is_compared_with_the_whole_corpus(corpus):
    write_clip(corpus / "OAF_angry" / "OAF_once_angry.wav", seconds=0.2, seed=3)
    assert ["OAF_angry/OAF_once_angry.wav", "length", "warning"] in findings(corpus)


def test_a_missing_file_is_a_finding(corpus):
    clips = scan_corpus(corpus)
    (corpus / CLIP).unlink()
    found = audit_corpus(clips, n_jobs=1)
    assert found[["clip", "what", "severity"]].values.tolist() == [[CLIP, "unreadable", "error"]]


def test_the_same_recording_under_two_names_is_kept_once(corpus):
    shutil.copy(corpus / CLIP, corpus / "OAF_angry" / "OAF_b_angry.wav")
    assert findings(corpus) == [["OAF_angry/OAF_b_angry.wav", "duplicate", "error"]]


def test_the_same_recording_under_two_emotions_is_kept_in_neither(corpus):
    shutil.copy(corpus / CLIP, corpus / "OAF_sad" / "OAF_a_sad.wav")
    assert findings(corpus) == [
        [CLIP, "duplicate", "error"],
        ["OAF_sad/OAF_a_sad.wav", "duplicate", "error"],
    ]


def test_a_clip_in_the_wrong_folder_is_found(corpus):
    (corpus / CLIP).rename(corpus / "OAF_sad" / "OAF_a_angry.wav")
    found = findings(corpus)
    assert ["OAF_sad/OAF_a_angry.wav", "left out", "note"] in found
    found = audit_corpus(scan_corpus(corpus, trust="name"), n_jobs=1)
    assert found["what"].tolist() == ["label"]
    found = audit_corpus(scan_corpus(corpus, trust="folder"), n_jobs=1)
    assert "label" in found["what"].tolist()


def test_a_missing_cell_of_the_design_is_named(corpus):
    (corpus / CLIP).unlink()
    found = audit_corpus(scan_corpus(corpus), n_jobs=1)
    assert found[["what", "value"]].values.tolist() == [["missing", "OAF angry a"]]


def test_a_corpus_without_a_design_has_no_missing_cells(tmp_path):
    write_tess(tmp_path, words="abcd")
    for name in ("OAF_angry/OAF_a_angry", "OAF_sad/OAF_b_sad", "YAF_Sad/YAF_c_sad"):
        next(tmp_path.rglob(f"{name.split('/')[1]}.wav")).unlink()
    assert findings(tmp_path) == []  # 21 of 24 are fewer than nine tenths
    assert len(findings(tmp_path, design=0.8)) == 3


@pytest.mark.parametrize(
    ("option", "value", "what"),
    [
        ("silence", 2.0, "silence"),
        ("clipping", 0.0, "clipping"),
        ("dc_offset", 0.0, "DC offset"),
        ("length", (1.5, 3), "length"),
    ],
)
def test_thresholds_are_arguments(corpus, option, value, what):
    assert [name for _, name, _ in findings(corpus, **{option: value})] == [what] * 36


def test_emotion_folders_are_audited_without_speakers(tmp_path):
    write_folders(tmp_path, emotions=["sad", "angry"], clips=3)
    write_clip(tmp_path / "sad" / "clip 0.flac", seed=8)
    write_clip(tmp_path / "sad" / "clip 1.flac", seed=9)
    write_clip(tmp_path / "sad" / "clip 2.flac", seed=10)
    assert findings(tmp_path) == []


@pytest.fixture
def release(corpus, monkeypatch):
    """The clean corpus, known to the package as an official release."""
    checksums = {path.name: f"sha256:{pooch.file_hash(path)}" for path in corpus.rglob("*.wav")}
    monkeypatch.setattr(
        audit, "official_checksums", lambda name: checksums if name == "tess" else {}
    )
    return corpus


def test_an_official_release_is_clean(release):
    assert findings(release) == []


def test_an_official_wav_with_a_suffix_in_capitals_is_checked_too(release):
    (release / CLIP).rename((release / CLIP).with_suffix(".WAV"))
    assert findings(release) == []


def test_a_clip_that_is_not_the_official_one_is_found(release):
    write_clip(release / CLIP, seconds=0.6, seed=99)  # overwritten by another recording
    assert findings(release) == [[CLIP, "checksum", "error"]]


def test_two_swapped_clips_are_found(release):
    other = release / "OAF_sad" / "OAF_a_sad.wav"
    (release / CLIP).rename(release / "aside")
    other.rename(release / CLIP)
    (release / "aside").rename(other)
    assert findings(release) == [
        [CLIP, "checksum", "error"],
        ["OAF_sad/OAF_a_sad.wav", "checksum", "error"],
    ]


def test_another_edition_is_one_finding_and_no_clip_is_lost(release, capsys):
    for path in release.rglob("*.wav"):
        change(path, lambda y: y / 2)
    assert findings(release) == [["", "checksum", "warning"]]


def test_other_containers_are_not_checked_and_that_is_said_once(release):
    for path in release.rglob("*.wav"):
        sf.write(path.with_suffix(".flac"), *sf.read(path))
        path.unlink()
    assert findings(release) == [["", "checksum", "note"]]


@pytest.mark.parametrize(("corpus", "n"), [("tess", 2800), ("ravdess", 1440), ("emodb", 535)])
def test_registries_hold_the_official_releases_in_poochs_form(corpus, n):
    registry = pooch.create(path="unused", base_url="")
    registry.load_registry(audit.REGISTRIES / f"{corpus}.txt")
    assert registry.registry == official_checksums(corpus)
    assert len(registry.registry) == n
    assert all(len(checksum) == 71 for checksum in registry.registry.values())


def test_errors_are_dropped_and_warnings_kept(corpus):
    cut(corpus / CLIP)
    change(corpus / "OAF_sad" / "OAF_a_sad.wav", lambda y: y + 0.05)
    clips = scan_corpus(corpus)
    kept = drop_flagged(clips)
    assert len(kept) == len(clips) - 1
    assert CLIP not in "".join(kept["path"])
    ((path, reason),) = kept.attrs["skipped"]
    assert path == CLIP
    assert reason.startswith("unreadable: the file is cut short")
    assert len(clips.attrs["skipped"]) == 0  # the table given is not changed
    assert len(extract_corpus(kept, cache=False, n_jobs=1).failures) == 0


def test_each_file_is_opened_once(release, monkeypatch):
    for path in list(release.rglob("YAF*.wav")):  # half of them are not in the registry
        path.rename(path.with_stem(f"{path.stem}".replace("YAF", "XAF")))
    opened, stream, read_bytes = [], audio._Stream, Path.read_bytes

    def note_stream(file):
        opened.extend([] if hasattr(file, "read") else [str(file)])
        return stream(file)

    monkeypatch.setattr(audio, "_Stream", note_stream)
    note_bytes = lambda path: opened.append(str(path)) or read_bytes(path)  # noqa: E731
    monkeypatch.setattr(Path, "read_bytes", note_bytes)
    clips = scan_corpus(release)
    audit_corpus(clips, n_jobs=1, cache=False)
    assert sorted(opened) == clips["path"].tolist()


def no_work(clip):
    raise AssertionError("a clip was measured again")


def test_the_second_audit_reads_no_clip_and_says_the_same(corpus, monkeypatch, capsys):
    change(corpus / CLIP, np.zeros_like)
    first = audit_corpus(scan_corpus(corpus), n_jobs=1)
    printed = capsys.readouterr().out.splitlines()[-1]
    with monkeypatch.context() as patch:
        patch.setattr(audit, "_measure", no_work)
        again = audit_corpus(scan_corpus(corpus), n_jobs=1)
    pd.testing.assert_frame_equal(again, first)
    assert capsys.readouterr().out.splitlines()[-1] == printed
    other_limits = audit_corpus(scan_corpus(corpus), n_jobs=1, silence=0)
    assert other_limits["what"].tolist() == ["clipping"]  # all samples are at the peak, 0


@pytest.mark.parametrize("how", ["content", "time"])
def test_a_clip_that_changed_is_measured_again(corpus, monkeypatch, how):
    audit_corpus(scan_corpus(corpus), n_jobs=1)
    if how == "content":
        change(corpus / CLIP, lambda y: y[:-1])
    else:
        os.utime(corpus / CLIP, (1, 1))
    monkeypatch.setattr(audit, "_measure", no_work)
    with pytest.raises(AssertionError, match="again"):
        audit_corpus(scan_corpus(corpus), n_jobs=1)


class Killed(BaseException):
    """Stops an audit in the middle, as a kill would."""


@pytest.mark.parametrize("torn", [b"", b'{"sr": 16', b"\xff\xfe"])
def test_an_audit_goes_on_where_it_stopped(corpus, project, monkeypatch, torn):
    change(corpus / CLIP, np.zeros_like)
    whole = audit_corpus(scan_corpus(corpus), n_jobs=1, cache=False)
    measure, worked = audit._measure, []

    def measure_some(clip):
        worked.append(clip)
        if len(worked) == 10:
            raise Killed
        return measure(clip)

    monkeypatch.setattr(audit, "_measure", measure_some)
    with pytest.raises(Killed):
        audit_corpus(scan_corpus(corpus), n_jobs=1)
    (file,) = (project / "output" / "cache").glob("*/audit.jsonl")
    with file.open("ab") as lines:
        lines.write(torn)
    pd.testing.assert_frame_equal(audit_corpus(scan_corpus(corpus), n_jobs=1), whole)
    again = 36 + 1 if torn != b"\xff\xfe" else 36 + 10  # what is no text is not believed at all
    assert len(worked) == again


@pytest.mark.real_data
def test_rebuilt_wavs_of_tess_are_checked_against_the_release(real_corpus, tmp_path):
    official = official_checksums("tess")
    rebuilt = []
    for path in sorted(real_corpus.rglob("YAF_*_happy.*"))[:20]:
        y, sr = sf.read(path, dtype="int16")
        wav = tmp_path / "YAF_happy" / f"{path.stem}.wav"
        wav.parent.mkdir(exist_ok=True)
        sf.write(wav, y, sr)
        if official.get(wav.name) == f"sha256:{pooch.file_hash(wav)}":
            rebuilt.append(wav)
        else:
            wav.unlink()
    if len(rebuilt) < 10:
        pytest.skip("SER_DATA_DIR is not TESS")
    assert findings(tmp_path) == []
    altered = rebuilt[:5]
    change(altered[0], lambda y: y * 0.999)  # encoded again
    shutil.copy(rebuilt[-1], altered[1])  # overwritten by another recording
    change(altered[2], lambda y: y[: len(y) // 3])  # cut and saved again
    y, sr = sf.read(altered[3])
    sf.write(altered[3], y[::2], sr // 2)  # resampled
    cut(altered[4])
    found = audit_corpus(scan_corpus(tmp_path), n_jobs=1)
    errors = found[found["severity"] == "error"]
    assert set(errors["clip"]) >= {f"YAF_happy/{path.name}" for path in altered}
    assert {"checksum", "duplicate", "unreadable"} == set(errors["what"])
    assert {"length", "sample rate"} == set(found.loc[found["severity"] == "warning", "what"])
    assert Path(found["clip"].iloc[0]).suffix == ".wav"
