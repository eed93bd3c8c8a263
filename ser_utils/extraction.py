"""From a whole corpus to arrays: in parallel, cached, and going on where it stopped.

Notebooks: 03_mfcc, 06_features.
"""

import hashlib
import json
import os
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import librosa
import numpy as np
import pandas as pd
import scipy
import soxr
from filelock import FileLock

from .audio import AudioError, load_audio
from .dataset import CorpusError, output_dir
from .features import FeatureConfig, describe_frames, window_and_filters
from .parallel import map_clips, progress_bar

CACHE_VERSION = 3  # raise it when the same settings would give other figures


class CorpusFeatures(NamedTuple):
    """What `extract_corpus` returns.

    Parameters
    ----------
    X : np.ndarray [shape=(n_clips, n_frames, n_features) or (n_clips, n_features), dtype=float32]
        Features; clips shorter than the longest one are filled up with zeros at the end. From the
        cache it is memory-mapped: only what is used is read, so it may be larger than memory.
    n_frames : np.ndarray [shape=(n_clips,), dtype=int]
        Frames of each clip before filling up.
    clips : pd.DataFrame
        The rows of the corpus that ``X`` stands for, in the same order.
    failures : pd.DataFrame
        ``path`` and ``reason`` of each clip that could not be used.
    """

    X: np.ndarray
    n_frames: np.ndarray
    clips: pd.DataFrame
    failures: pd.DataFrame


def _extract_file(path, *, config, tables):
    """Features of one file, or the reason why there are none."""
    try:
        y, _ = load_audio(path, sr=config.sr, offset=config.offset, duration=config.duration)
        if not y.any():
            raise AudioError(path, "the clip is silent, every sample is zero; leave it out.")
        return np.atleast_2d(describe_frames(y, config, *tables))  # a time average is one row
    except AudioError as error:
        return error.reason


@contextmanager
def cache_folder(paths, settings, *, cache=True):
    """Lend the folder of a cache to one process at a time.

    Parameters
    ----------
    paths : iterable of str
        The files that it is about: another size or time of change of one makes another cache.
    settings : list or dict
        What else decides its content.
    cache : bool
        Whether to keep it; False lends a temporary folder.

    Yields
    ------
    folder : Path
        In ``output/cache``; a temporary one where that cannot be written.
    kept : bool
        Whether it stays.
    """
    if cache:
        key = hashlib.sha256(json.dumps([CACHE_VERSION, settings]).encode())
        for path in paths:
            file = os.stat(path) if os.path.exists(path) else None
            key.update(f"{path} {file and (file.st_size, file.st_mtime_ns)}".encode())
        folder = output_dir() / "cache" / key.hexdigest()[:16]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / "lock").acquire()
        except OSError as error:
            print(f"Nothing is cached: {folder} cannot be written ({error.strerror}).")
        else:
            with lock:
                yield folder, True
            return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder), False


def _read_parts(folder, n_features):
    """Read how far an extraction came, and cut off what a kill left half written."""
    parts = [folder / name for name in ("rows.bin", "failures.txt", "n_frames.bin")]
    for part in parts:
        part.touch()
    n_frames = np.fromfile(parts[2], dtype=np.int32)
    reasons = parts[1].read_text(encoding="utf-8").splitlines()[: (n_frames == 0).sum()]
    parts[1].write_text("".join(f"{reason}\n" for reason in reasons), encoding="utf-8")
    os.truncate(parts[0], 4 * n_frames.sum() * n_features)
    os.truncate(parts[2], 4 * len(n_frames))
    return parts, n_frames


def _extract_into(folder, clips, config, n_jobs):
    """Extract the clips that are not in ``folder`` yet; what is finished outlives a kill.

    Three files grow clip by clip: ``rows.bin`` (features, float32), ``failures.txt`` (a reason a
    line) and, last, ``n_frames.bin`` (int32, 0 for a failure), which says what is finished.
    """
    parts, n_frames = _read_parts(folder, config.n_features)
    tables = window_and_filters(config.sr, config.n_fft, config.n_mels)
    extract = partial(_extract_file, config=config, tables=tables)
    paths = clips["path"].tolist()
    results = map_clips(extract, paths, desc="features", n_jobs=n_jobs, done=len(n_frames))
    with ExitStack() as stack:
        rows, failures, counts = (stack.enter_context(part.open("ab", 0)) for part in parts)
        for result in results:
            failed = isinstance(result, str)
            if failed:
                failures.write(f"{result}\n".encode())
            else:
                rows.write(result.astype("<f4").tobytes())
            counts.write(np.int32(0 if failed else len(result)).tobytes())
    if not np.fromfile(parts[2], dtype=np.int32).any():
        reason = parts[1].read_text(encoding="utf-8").splitlines()[0]
        raise AudioError(None, f"none of the {len(clips)} clips can be used; first: {reason}")
    _fill_up(folder, config.n_features)


def _fill_up(folder, n_features):
    """Copy the rows of all clips into one array, each clip filled up with zeros to the longest."""
    n_frames = np.fromfile(folder / "n_frames.bin", dtype=np.int32)
    used, longest = n_frames[n_frames > 0], int(n_frames.max())
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(used), longest, n_features)}
    with (folder / "rows.bin").open("rb") as rows, (folder / "X.tmp").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for n in used.tolist():  # one by one, so that memory does not grow with the corpus
            file.write(rows.read(4 * n * n_features))
            file.write(bytes(4 * (longest - n) * n_features))
    (folder / "X.tmp").replace(folder / "X.npy")  # nobody ever sees half an array
    (folder / "rows.bin").unlink()


def _load(folder, n_clips, kept):
    """Load finished features, or None where there are none or they are broken."""
    try:
        X = np.load(folder / "X.npy", mmap_mode="r" if kept else None, allow_pickle=False)
        n_frames = np.fromfile(folder / "n_frames.bin", dtype=np.int32)
        reasons = (folder / "failures.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError, EOFError):
        return None
    whole = len(n_frames) == n_clips and len(reasons) == n_clips - len(X)
    return (X, n_frames, reasons) if whole else None


def _features_in(folder, clips, config, n_jobs, kept):
    """Load the features of a folder, computing what is missing."""
    arrays = _load(folder, len(clips), kept)
    if arrays is not None:  # the same line as after computing, so that a notebook repeats
        progress_bar(total=len(clips), initial=len(clips), desc="features").close()
        return arrays
    if (folder / "X.npy").exists():  # it is finished and broken
        for name in ("X.npy", "n_frames.bin", "failures.txt"):
            (folder / name).unlink(missing_ok=True)
    try:
        _extract_into(folder, clips, config, n_jobs)
    except OSError as error:
        problem = f"The features cannot be written to {folder} ({error.strerror})"
        todo = "make room there and run again, it goes on where it stopped"
        raise CorpusError(f"{problem}: {todo}.") from None
    return _load(folder, len(clips), kept)


def extract_corpus(clips, *, config=None, n_jobs=-1, cache=True, on_error="report"):
    """Compute the features of every clip, in parallel, and keep them for the next time.

    Parameters
    ----------
    clips : pd.DataFrame
        From `ser_utils.dataset.scan_corpus`, or any table with a column ``path``.
    config : FeatureConfig, optional
        Settings; the defaults if None.
    n_jobs : int
        Processes; -1 means all cores. ``joblib.parallel_config`` chooses another backend.
    cache : bool
        Whether to look into ``output/cache`` first and to write there. A cache is valid for the
        same clips (path, size, time of change), settings and versions of librosa, NumPy, SciPy and
        soxr. An extraction that was interrupted, even killed, goes on there where it stopped.
    on_error : {"report", "raise"}
        What to do about a clip that cannot be used: list it in ``failures``, or raise its error.

    Returns
    -------
    CorpusFeatures
        Features, number of frames, the clips they belong to, and the failures.

    Raises
    ------
    AudioError
        If no clip can be used, or one cannot and ``on_error="raise"``.
    CorpusError
        If the disk is full.
    ValueError
        If ``on_error`` is neither "report" nor "raise", or ``clips`` is empty.

    Notes
    -----
    Notebooks: 03_mfcc, 06_features.
    """
    config = config or FeatureConfig()
    if on_error not in ("report", "raise"):
        raise ValueError(f'on_error={on_error!r} is not known; use "report" or "raise".')
    if not len(clips):
        raise ValueError("The table of clips is empty; scan a corpus first.")
    settings = [[library.__version__ for library in (librosa, np, scipy, soxr)], asdict(config)]
    with cache_folder(clips["path"], settings, cache=cache) as (folder, kept):
        X, n_frames, reasons = _features_in(folder, clips, config, n_jobs, kept)
    used = n_frames > 0
    failures = clips.loc[~used, ["path"]].assign(reason=reasons).reset_index(drop=True)
    if len(failures) and on_error == "raise":
        raise AudioError(*failures.iloc[0])
    for path, reason in failures.itertuples(index=False):
        print(f"left out: {os.path.basename(path)}: {reason}")
    clips = clips[used].reset_index(drop=True)
    return CorpusFeatures(X[:, 0] if config.time_average else X, n_frames[used], clips, failures)


def normalize(X, n_frames, groups):
    """Bring each feature to mean 0 and deviation 1 over the frames of each group of clips.

    Parameters
    ----------
    X : np.ndarray [shape=(n_clips, n_frames, n_features)]
        From `extract_corpus`.
    n_frames : np.ndarray [shape=(n_clips,)]
        Frames of each clip before filling up; the filling stays 0.
    groups : np.ndarray [shape=(n_clips,)]
        Groups that are alike: ``np.arange(n_clips)`` for each clip on its own, zeros for all clips
        together, or the speakers. Normalising a speaker who is tested is transductive: it needs
        all of the speaker's clips before it names the first emotion.

    Returns
    -------
    np.ndarray [shape=(n_clips, n_frames, n_features), dtype=float32]

    Notes
    -----
    Notebook: 06_features.
    """
    real = np.arange(X.shape[1]) < n_frames[:, None]
    normed = np.zeros_like(X)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        frames = X[rows][real[rows]]
        scaled = (X[rows] - frames.mean(axis=0)) / (frames.std(axis=0) + 1e-6)
        normed[rows] = scaled * real[rows][..., None]
    return normed
