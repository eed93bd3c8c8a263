"""A corpus is extracted whatever it holds, in any number of processes, and never twice."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import joblib
import librosa
import numpy as np
import pytest
import soundfile as sf
from corpora import SR, write_clip, write_folders, write_tess

from ser_utils import (
    REFERENCE_CONFIG,
    AudioError,
    CorpusError,
    FeatureConfig,
    extract_corpus,
    extract_features,
    extraction,
    load_audio,
    scan_corpus,
)
from ser_utils.extraction import normalize
from ser_utils.features import KINDS


@pytest.fixture
def clips(project):
    return scan_corpus(write_tess(project / "corpus"))


def test_the_array_is_padded_with_zeros_and_nothing_else(clips):
    X, n_frames, used, failures = extract_corpus(clips, n_jobs=1)
    assert X.shape == (12, n_frames.max(), 40)
    assert len(set(n_frames)) == 2
    for row, n, path in zip(X, n_frames, used["path"], strict=True):
        np.testing.assert_array_equal(row[:n], extract_features(load_audio(path)[0]))
        assert not row[n:].any()
    assert len(failures) == 0


def test_a_time_average_is_one_row_a_clip(clips):
    X, n_frames, _, _ = extract_corpus(clips, config=REFERENCE_CONFIG, n_jobs=1)
    assert X.shape == (12, 40)
    assert set(n_frames) == {1}


def test_processes_give_what_one_process_gives(clips):
    alone = extract_corpus(clips, n_jobs=1, cache=False)
    with joblib.parallel_config(backend="threading"):
        threads = extract_corpus(clips, n_jobs=2, cache=False)
    together = extract_corpus(clips, n_jobs=2, cache=False)
    np.testing.assert_array_equal(alone.X, together.X)
    np.testing.assert_array_equal(alone.X, threads.X)


def test_a_dask_cluster_gives_the_same_features(clips):
    distributed = pytest.importorskip("distributed")
    alone = extract_corpus(clips, n_jobs=1, cache=False)
    settings = {
        "n_workers": 2,
        "threads_per_worker": 1,
        "dashboard_address": None,
        "memory_limit": None,
    }
    with (
        distributed.LocalCluster(**settings) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        spread = extract_corpus(clips, cache=False)
    np.testing.assert_array_equal(alone.X, spread.X)
    assert alone.clips.equals(spread.clips)


def no_work(*args, **kwargs):
    raise AssertionError("clips were extracted again")


def test_the_second_time_comes_from_the_cache_and_prints_the_same(clips, monkeypatch, capsys):
    first = extract_corpus(clips, n_jobs=1)
    printed = capsys.readouterr().out.splitlines()[-1].split("\r")[-1]
    monkeypatch.setattr(extraction, "map_clips", no_work)
    second = extract_corpus(clips, n_jobs=1)
    np.testing.assert_array_equal(first.X, second.X)
    np.testing.assert_array_equal(first.n_frames, second.n_frames)
    assert first.clips.equals(second.clips)
    assert capsys.readouterr().out.splitlines()[-1].split("\r")[-1] == printed


def change_file(clips):
    write_clip(Path(clips["path"].iloc[0]), seconds=0.9)
    return clips, {}


def touch_file(clips):
    os.utime(clips["path"].iloc[0], (1, 1))
    return clips, {}


@pytest.mark.parametrize(
    "change",
    [
        change_file,
        touch_file,
        lambda clips: (clips.iloc[1:], {}),
        lambda clips: (clips.iloc[::-1], {}),
        lambda clips: (clips, {"config": FeatureConfig(n_mfcc=20)}),
    ],
    ids=["other sound", "other time", "fewer clips", "other order", "other settings"],
)
def test_a_cache_of_something_else_is_not_used(clips, monkeypatch, change):
    extract_corpus(clips, n_jobs=1)
    clips, settings = change(clips)
    monkeypatch.setattr(extraction, "map_clips", no_work)
    with pytest.raises(AssertionError, match="again"):
        extract_corpus(clips, n_jobs=1, **settings)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY broken", b"\x80\x04pickle"])
@pytest.mark.parametrize("name", ["X.npy", "n_frames.bin"])
def test_a_broken_cache_is_made_again(clips, project, name, content):
    before = np.array(extract_corpus(clips, n_jobs=1).X)
    (file,) = (project / "output" / "cache").glob(f"*/{name}")
    file.write_bytes(content)
    np.testing.assert_array_equal(extract_corpus(clips, n_jobs=1).X, before)


def test_features_from_the_cache_stay_on_the_disk(clips):
    assert isinstance(extract_corpus(clips, n_jobs=1).X, np.memmap)
    assert not extract_corpus(clips, n_jobs=1).X.flags.writeable
    assert not isinstance(extract_corpus(clips, n_jobs=1, cache=False).X, np.memmap)


class Killed(BaseException):
    """Stops an extraction in the middle, as a kill would."""


@pytest.mark.parametrize("torn", [0, 1, 3])
def test_an_extraction_goes_on_where_it_stopped(damaged, project, monkeypatch, torn):
    whole = extract_corpus(damaged, n_jobs=1, cache=False)
    worked = []

    def extract_some(path, **settings):
        worked.append(path)
        if len(worked) == 4:
            raise Killed
        return extract_file(path, **settings)

    extract_file = extraction._extract_file
    monkeypatch.setattr(extraction, "_extract_file", extract_some)
    with pytest.raises(Killed):
        extract_corpus(damaged, n_jobs=1)
    (folder,) = (project / "output" / "cache").iterdir()
    for name in ("rows.bin", "failures.txt", "n_frames.bin"):  # half of the next clip is there
        with (folder / name).open("ab") as file:
            file.write(b"x" * torn)
    features = extract_corpus(damaged, n_jobs=1)
    assert len(worked) == len(damaged) + 1  # the one in which it was killed came twice
    np.testing.assert_array_equal(features.X, whole.X)
    np.testing.assert_array_equal(features.n_frames, whole.n_frames)
    assert features.failures.equals(whole.failures)
    assert features.clips.equals(whole.clips)


KILLED = """
import os, signal, sys
from ser_utils import extract_corpus, extraction, scan_corpus
extract_file = extraction._extract_file
def extract_some(path, **settings):
    if "clip 3" in path:
        os.kill(os.getpid(), signal.SIGKILL)
    return extract_file(path, **settings)
extraction._extract_file = extract_some
extract_corpus(scan_corpus(sys.argv[1]), n_jobs=1)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_what_is_finished_outlives_a_kill(project, monkeypatch, capsys):
    root = write_folders(project / "corpus", emotions=("sad",), clips=6)
    clips = scan_corpus(root)
    command = [sys.executable, "-c", KILLED, str(root)]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    worked = []
    extract_file = extraction._extract_file

    def count(path, **settings):
        worked.append(Path(path).stem)
        return extract_file(path, **settings)

    monkeypatch.setattr(extraction, "_extract_file", count)
    X = extract_corpus(clips, n_jobs=1).X
    assert worked == ["clip 3", "clip 4", "clip 5"]
    np.testing.assert_array_equal(X, extract_corpus(clips, n_jobs=1, cache=False).X)


def test_a_full_disk_is_one_sentence(clips, monkeypatch):
    def full(folder, n_features):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(extraction, "_fill_up", full)
    with pytest.raises(CorpusError, match=r"No space left on device.*goes on where it stopped"):
        extract_corpus(clips, n_jobs=1)


def test_a_cache_that_cannot_be_written_does_not_lose_the_work(clips, monkeypatch, capsys):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(extraction.FileLock, "acquire", refuse)
    assert len(extract_corpus(clips, n_jobs=1).X) == 12
    assert "Nothing is cached" in capsys.readouterr().out


@pytest.fixture
def damaged(project):
    root = write_folders(project / "corpus", emotions=("sad", "happy"), clips=3)
    (root / "sad" / "clip 0.flac").write_text("not sound")
    sf.write(root / "sad" / "clip 1.flac", np.zeros(SR), SR)
    data = (root / "happy" / "clip 2.flac").read_bytes()
    (root / "happy" / "clip 2.flac").write_bytes(data[: len(data) // 2])
    return scan_corpus(root)


def test_clips_that_cannot_be_used_are_listed_and_the_rest_goes_on(damaged, capsys):
    for _ in range(2):  # computed, then from the cache
        X, n_frames, used, failures = extract_corpus(damaged, n_jobs=1)
        assert len(X) == len(n_frames) == len(used) == 3
        names = [f"{Path(path).parent.name} {Path(path).stem}" for path in failures["path"]]
        reasons = dict(zip(names, failures["reason"], strict=True))
        assert "not readable audio" in reasons["sad clip 0"]
        assert "silent" in reasons["sad clip 1"]
        assert "decoded" in reasons["happy clip 2"]
        assert capsys.readouterr().out.count("left out:") == 3
        for row, n, path in zip(X, n_frames, used["path"], strict=True):
            np.testing.assert_array_equal(row[:n], extract_features(load_audio(path)[0]))


def test_a_strict_extraction_stops(damaged):
    with pytest.raises(AudioError, match=r"clip 2\.flac.*decoded"):
        extract_corpus(damaged, n_jobs=1, on_error="raise")


def test_a_corpus_without_one_good_clip_says_so(damaged):
    with pytest.raises(AudioError, match="none of the 1 clips"):
        extract_corpus(damaged[damaged["path"].str.endswith("clip 1.flac")].tail(1), n_jobs=1)


def test_wrong_arguments_are_named(clips):
    with pytest.raises(ValueError, match="on_error='ignore'"):
        extract_corpus(clips, on_error="ignore")
    with pytest.raises(ValueError, match="empty"):
        extract_corpus(clips.iloc[:0])


@pytest.mark.real_data
def test_real_clips_give_the_figures_of_public_notebooks(real_corpus, project):
    clips = scan_corpus(real_corpus).sample(20, random_state=0)
    expected = []
    for path in clips["path"]:
        y, sr = librosa.load(path, duration=3, offset=0.5)
        expected.append(np.mean(librosa.feature.mfcc(y=y, sr=sr, n_mfcc=40).T, axis=0))
    X = extract_corpus(clips, config=REFERENCE_CONFIG, n_jobs=1).X
    np.testing.assert_allclose(X, expected, atol=1e-3)


@pytest.mark.parametrize("average", [False, True])
def test_all_kinds_come_back_from_the_cache(project, monkeypatch, average):
    clips = scan_corpus(write_folders(project / "corpus", clips=1))
    config = FeatureConfig(kinds=tuple(KINDS), time_average=average)
    first = extract_corpus(clips, config=config, n_jobs=1)
    mfcc = extract_corpus(clips, config=FeatureConfig(time_average=average), n_jobs=1)
    monkeypatch.setattr(extraction, "map_clips", no_work)
    again = extract_corpus(clips, config=config, n_jobs=1)
    assert first.X.shape[-1] == config.n_features == 203
    np.testing.assert_array_equal(again.X, first.X)
    np.testing.assert_array_equal(first.X[..., :40], mfcc.X)
    y, _ = load_audio(clips["path"].iloc[0])
    # Chroma and pitch go through BLAS inside of librosa.
    np.testing.assert_allclose(first.X[0], extract_features(y, config=config), atol=1e-3)


def test_normalising_brings_each_group_to_mean_0_and_deviation_1():
    rng = np.random.default_rng(0)
    n_frames, groups = np.array([5, 9, 7, 9]), np.array(["a", "b", "a", "b"])
    X = rng.normal([3, -100], [2, 0.1], (4, 9, 2)).astype(np.float32) + 10 * (groups == "b")[
        :, None, None
    ].astype(np.float32)
    for x, n in zip(X, n_frames, strict=True):
        x[n:] = 0
    normed = normalize(X, n_frames, groups)
    for group in "ab":
        rows = np.flatnonzero(groups == group)
        frames = np.vstack([normed[i, : n_frames[i]] for i in rows])
        np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-3)
        np.testing.assert_allclose(frames.std(axis=0), 1, atol=1e-2)
    assert not any(x[n:].any() for x, n in zip(normed, n_frames, strict=True))
    by_clip = normalize(X, n_frames, np.arange(4))
    assert (
        np.abs(by_clip[0, :5].mean(axis=0)).max() < 1e-3 < np.abs(normed[0, :5].mean(axis=0)).min()
    )


def test_a_feature_that_never_changes_is_normalised_to_zero():
    X = np.full((2, 3, 1), 7, dtype=np.float32)
    assert not normalize(X, np.array([3, 3]), np.zeros(2)).any()
