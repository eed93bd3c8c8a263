"""From waveforms to arrays: MFCCs of one clip and of a whole corpus.

Notebook: 03_mfcc.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from typing import NamedTuple
from zipfile import BadZipFile

import librosa
import numpy as np
import pandas as pd
import scipy
from numpy.lib.stride_tricks import sliding_window_view

from .audio import AudioError, load_audio, map_clips, progress_bar
from .dataset import output_dir

CACHE_VERSION = 1  # raise it when the same settings would give other figures


@dataclass(frozen=True)
class FeatureConfig:
    """Settings of the features; every length in samples counts at rate ``sr``.

    Parameters
    ----------
    sr : int
        Sample rate the clips are resampled to (in Hz).
    n_fft, hop_length : int
        Length of a frame and step from frame to frame (in samples): 32 and 16 ms by default.
    n_mels, n_mfcc : int
        Mel bands, and how many cepstral coefficients to keep of them (``n_mfcc <= n_mels``).
    offset, duration : float
        Start, and most that is read of a clip (in seconds).
    time_average : bool
        Whether the frames are averaged to one row.

    Raises
    ------
    ValueError
        If a setting is out of its range.
    """

    sr: int = 16000
    n_fft: int = 512
    hop_length: int = 256
    n_mels: int = 64
    n_mfcc: int = 40
    offset: float = 0.0
    duration: float = 4.0
    time_average: bool = False

    def __post_init__(self):
        for name in ("sr", "n_fft", "hop_length", "n_mels", "n_mfcc", "duration"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be above 0.")
        if self.n_mfcc > self.n_mels:
            raise ValueError(f"n_mfcc={self.n_mfcc} must be at most n_mels={self.n_mels}.")
        if self.offset < 0:
            raise ValueError(f"offset={self.offset} must be 0 s or more.")


# What the many public notebooks with this model use: librosa's defaults, 3 s from 0.5 s on.
REFERENCE_CONFIG = FeatureConfig(
    sr=22050, n_fft=2048, hop_length=512, n_mels=128, offset=0.5, duration=3.0, time_average=True
)


class CorpusFeatures(NamedTuple):
    """What `extract_corpus` returns.

    Parameters
    ----------
    X : np.ndarray [shape=(n_clips, n_frames, n_mfcc) or (n_clips, n_mfcc), dtype=float32]
        Features; clips shorter than the longest one are filled up with zeros at the end.
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


@lru_cache
def _window_and_filters(sr, n_fft, n_mels):
    """Hann window and mel filters, made once: librosa makes them anew for each clip."""
    filters = librosa.filters.mel(sr=sr, n_fft=n_fft, n_mels=n_mels)
    return np.hanning(n_fft + 1)[:-1].astype(np.float32), filters


def extract_features(y, *, config=None):
    """Compute the MFCCs of one clip, time first.

    Parameters
    ----------
    y : np.ndarray [shape=(n_samples,)]
        Mono waveform at ``config.sr``, full scale +-1.
    config : FeatureConfig, optional
        Settings; the defaults if None.

    Returns
    -------
    np.ndarray [shape=(n_frames, n_mfcc) or, averaged, (n_mfcc,), dtype=float32]
        Time runs down the rows, as Keras wants it; librosa returns the transpose.
        ``n_frames = 1 + n_samples // hop_length``.

    Raises
    ------
    AudioError
        If ``y`` is empty, not finite or not mono.

    Notes
    -----
    Davis and Mermelstein (1980): power spectrum, mel bands, decibels, discrete cosine transform.
    Equals ``librosa.feature.mfcc``. Own code, because these lines are what notebook 03_mfcc builds
    up by hand, and because frames in rows are transformed three times faster than in columns.
    """
    config = config or FeatureConfig()
    y = np.asarray(y, dtype=np.float32)
    if y.ndim != 1 or not len(y) or not np.isfinite(y).all():
        raise AudioError(
            None,
            f"a waveform of shape {y.shape} cannot be used; it must be mono, not empty and finite.",
        )
    window, filters = _window_and_filters(config.sr, config.n_fft, config.n_mels)
    padded = np.pad(y, config.n_fft // 2)  # so that the first frame is centred on sample 0
    frames = sliding_window_view(padded, config.n_fft)[:: config.hop_length]
    spectrum = scipy.fft.rfft(frames * window)
    power = spectrum.real**2 + spectrum.imag**2  # a third of the time of abs(spectrum)**2
    decibels = 10 * np.log10(np.maximum(power @ filters.T, 1e-10))
    decibels = np.maximum(decibels, decibels.max() - 80)
    mfcc = scipy.fft.dct(decibels, norm="ortho")[:, : config.n_mfcc]
    return mfcc.mean(axis=0) if config.time_average else mfcc


def _extract_file(path, *, config):
    """Features of one file, or the reason why there are none."""
    try:
        y, _ = load_audio(path, sr=config.sr, offset=config.offset, duration=config.duration)
        if not y.any():
            raise AudioError(path, "the clip is silent, every sample is zero; leave it out.")
        return extract_features(y, config=config)
    except AudioError as error:
        return error


def _cache_key(clips, config):
    """Name a cache by clips (path, size, time of change), settings and library version."""
    files = [(path, os.stat(path) if os.path.exists(path) else None) for path in clips["path"]]
    stamps = [(path, file and (file.st_size, file.st_mtime_ns)) for path, file in files]
    key = [CACHE_VERSION, librosa.__version__, asdict(config), stamps]
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]


def _read_cache(file):
    """Load cached features, or None where there is no whole cache file."""
    try:
        with np.load(file, allow_pickle=False) as cache:
            return {name: cache[name] for name in ("X", "n_frames", "used", "reasons")}
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        return None


def _write_cache(file, arrays):
    """Save features under a temporary name, then rename: no reader ever sees half a file."""
    try:
        file.parent.mkdir(exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("wb") as stream:
            np.savez(stream, **arrays)
        temporary.replace(file)
    except OSError as error:
        print(f"Features are not cached, {file.parent} cannot be written ({error.strerror}).")


def _compute(clips, config, n_jobs):
    """Extract every clip and stack the results, padded with zeros to the longest."""
    extract = partial(_extract_file, config=config)
    results = map_clips(extract, list(clips["path"]), desc="features", n_jobs=n_jobs)
    used = np.array([not isinstance(result, AudioError) for result in results])
    arrays = [result for result, use in zip(results, used, strict=True) if use]
    reasons = [result.reason for result, use in zip(results, used, strict=True) if not use]
    if not arrays:
        raise AudioError(None, f"none of the {len(clips)} clips can be used; first: {results[0]}")
    rows = [np.atleast_2d(array) for array in arrays]  # a time average is one row
    n_frames = np.array([len(row) for row in rows])
    X = np.zeros((len(rows), n_frames.max(), config.n_mfcc), dtype=np.float32)
    for padded, row in zip(X, rows, strict=True):
        padded[: len(row)] = row
    if config.time_average:
        X = X[:, 0]
    return {"X": X, "n_frames": n_frames, "used": used, "reasons": np.array(reasons, dtype=str)}


def extract_corpus(clips, *, config=None, n_jobs=-1, cache=True, on_error="report"):
    """Compute the MFCCs of every clip, in parallel, and keep them for the next time.

    Parameters
    ----------
    clips : pd.DataFrame
        From `ser_utils.dataset.scan_corpus`, or any table with a column ``path``.
    config : FeatureConfig, optional
        Settings; the defaults if None.
    n_jobs : int
        Processes; -1 means all cores. ``joblib.parallel_config`` chooses another backend.
    cache : bool
        Whether to look into ``output/cache`` first and to write there afterwards. A cache is valid
        for the same clips (path, size, time of change), settings and librosa version.
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
    ValueError
        If ``on_error`` is neither "report" nor "raise", or ``clips`` is empty.

    Notes
    -----
    Notebook: 03_mfcc.
    """
    config = config or FeatureConfig()
    if on_error not in ("report", "raise"):
        raise ValueError(f'on_error={on_error!r} is not known; use "report" or "raise".')
    if not len(clips):
        raise ValueError("The table of clips is empty; scan a corpus first.")
    file = output_dir() / "cache" / f"{_cache_key(clips, config)}.npz" if cache else None
    arrays = _read_cache(file) if cache else None
    if arrays is not None:  # the same line as after computing, so that a notebook repeats
        progress_bar(total=len(clips), initial=len(clips), desc="features").close()
    else:
        arrays = _compute(clips, config, n_jobs)
        if cache:
            _write_cache(file, arrays)
    used = arrays["used"]
    failures = clips.loc[~used, ["path"]].assign(reason=arrays["reasons"]).reset_index(drop=True)
    if len(failures) and on_error == "raise":
        raise AudioError(*failures.iloc[0])
    for path, reason in failures.itertuples(index=False):
        print(f"left out: {os.path.basename(path)}: {reason}")
    clips = clips[used].reset_index(drop=True)
    return CorpusFeatures(arrays["X"], arrays["n_frames"], clips, failures)
