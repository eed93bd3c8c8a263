"""From waveforms to arrays: MFCCs and their relatives, of one clip and of a whole corpus.

Notebooks: 03_mfcc, 06_features.
"""

import hashlib
import json
import os
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import librosa
import numpy as np
import pandas as pd
import scipy
from filelock import FileLock
from numpy.lib.stride_tricks import sliding_window_view

from .audio import LOUDEST, AudioError, load_audio, map_clips, progress_bar
from .dataset import CorpusError, output_dir

KINDS = {  # columns of each kind of features, or the setting that tells them
    **dict.fromkeys(("mfcc", "delta", "delta2"), "n_mfcc"),
    **{"mel": "n_mels", "chroma": 12, "energy": 1, "pitch": 2, "shape": 4},
}
PITCH_RANGE = 65, 600  # Hz, from a low man to a frightened woman
CACHE_VERSION = 2  # raise it when the same settings would give other figures


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
    kinds : tuple of str
        What a frame is described by, one kind's columns after the other's:

        - ``"mfcc"``: mel-frequency cepstral coefficients, ``n_mfcc`` columns
        - ``"delta"``, ``"delta2"``: how fast the MFCCs change (a frame), and that change changes
        - ``"mel"``: energy in the mel bands (dB, at most 80 below the loudest), ``n_mels`` columns
        - ``"chroma"``: share of each of the 12 notes of the octave, 0 to 1
        - ``"energy"``: root mean square of the windowed frame (dB; a sine at full scale has -7.3)
        - ``"pitch"``: F0 in semitones from the clip's own median, 0 where there is none; and how
          probable it is that there is one, 0 to 1 (pYIN, Mauch and Dixon, 2014)
        - ``"shape"``: centroid, bandwidth, roll-off (kHz) and flatness (0 to 1) of the spectrum
    trim : float, optional
        What is so many decibels below the loudest frame is cut off at either end.

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
    kinds: tuple = ("mfcc",)
    trim: float | None = None

    def __post_init__(self):
        object.__setattr__(self, "kinds", tuple(self.kinds))  # JSON has lists only
        if not self.kinds or set(self.kinds) - set(KINDS):
            raise ValueError(f"kinds={self.kinds} must name some of {', '.join(KINDS)}.")
        for name in ("sr", "n_fft", "hop_length", "n_mels", "n_mfcc", "duration"):
            if not getattr(self, name) > 0:  # so that NaN is refused, too
                raise ValueError(f"{name}={getattr(self, name)} must be above 0.")
        if self.n_mfcc > self.n_mels:
            raise ValueError(f"n_mfcc={self.n_mfcc} must be at most n_mels={self.n_mels}.")
        if self.trim is not None and not self.trim > 0:
            raise ValueError(f"trim={self.trim} must be above 0 dB, or None to cut nothing off.")
        if not self.offset >= 0:
            raise ValueError(f"offset={self.offset} must be 0 s or more.")

    @property
    def n_features(self):
        """Columns of all kinds together."""
        return sum(getattr(self, str(KINDS[kind]), KINDS[kind]) for kind in self.kinds)


# What the many public notebooks with this model use: librosa's defaults, 3 s from 0.5 s on.
REFERENCE_CONFIG = FeatureConfig(
    sr=22050, n_fft=2048, hop_length=512, n_mels=128, offset=0.5, duration=3.0, time_average=True
)
# What the network for new voices reads: log-mel spectra without the silence at either end.
CRNN_CONFIG = FeatureConfig(kinds=("mel",), trim=40.0)


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


@lru_cache
def window_and_filters(sr, n_fft, n_mels):
    """Hann window and mel filters of `FeatureConfig`, made once: librosa does so for each clip."""
    filters = librosa.filters.mel(sr=sr, n_fft=n_fft, n_mels=n_mels)
    return np.hanning(n_fft + 1)[:-1].astype(np.float32), filters


def extract_features(y, *, config=None):
    """Compute the MFCCs of one clip, or whatever ``config.kinds`` names, time first.

    Parameters
    ----------
    y : np.ndarray [shape=(n_samples,)]
        Mono waveform at ``config.sr``, full scale +-1.
    config : FeatureConfig, optional
        Settings; the defaults if None.

    Returns
    -------
    np.ndarray [shape=(n_frames, n_features) or, averaged, (n_features,), dtype=float32]
        Time runs down the rows, as Keras wants it; librosa returns the transpose.
        ``n_frames = 1 + n_samples // hop_length``.

    Raises
    ------
    AudioError
        If ``y`` is empty, not finite or not mono.

    Notes
    -----
    MFCCs after Davis and Mermelstein (1980): power spectrum, mel bands, decibels, discrete cosine
    transform. They equal ``librosa.feature.mfcc``. Own code, because these lines are what notebook
    03_mfcc builds up by hand, and because frames in rows are transformed three times faster than in
    columns. The other kinds are librosa's; notebook 06_features shows them.
    """
    config = config or FeatureConfig()
    return _features(y, config, *window_and_filters(config.sr, config.n_fft, config.n_mels))


def _features(y, config, window, filters):
    """Do the work of `extract_features` with tables made beforehand."""
    y = np.asarray(y, dtype=np.float32)
    if y.ndim != 1 or not len(y) or not np.abs(y).max() <= LOUDEST:  # NaN is refused, too
        problem = f"a waveform of shape {y.shape} is of no use; it must be mono, not empty, finite"
        raise AudioError(None, f"{problem} and within +-{LOUDEST:.0e} (full scale is 1).")
    if config.trim:
        frame = {"frame_length": config.n_fft, "hop_length": config.hop_length}
        y, _ = librosa.effects.trim(y, top_db=config.trim, **frame)
    padded = np.pad(y, config.n_fft // 2)  # so that the first frame is centred on sample 0
    frames = sliding_window_view(padded, config.n_fft)[:: config.hop_length]
    spectrum = scipy.fft.rfft(frames * window)
    power = spectrum.real**2 + spectrum.imag**2  # a third of the time of abs(spectrum)**2
    decibels = 10 * np.log10(np.maximum(power @ filters.T, 1e-10))
    decibels = np.maximum(decibels, decibels.max() - 80)
    mfcc = scipy.fft.dct(decibels, norm="ortho")[:, : config.n_mfcc]
    columns = [_columns(kind, y, power, decibels, mfcc, config) for kind in config.kinds]
    features = np.hstack(columns).astype(np.float32, copy=False)
    return features.mean(axis=0) if config.time_average else features


def _columns(kind, y, power, decibels, mfcc, config):
    """One kind of features, [shape=(n_frames, columns)]."""
    match kind:
        case "mfcc":
            return mfcc
        case "mel":
            return decibels
        case "delta" | "delta2":
            order = 1 if kind == "delta" else 2
            return librosa.feature.delta(mfcc, order=order, axis=0, mode="nearest")
        case "chroma":
            return librosa.feature.chroma_stft(S=power.T, sr=config.sr, tuning=0).T
        case "energy":
            rms = librosa.feature.rms(S=np.sqrt(power.T), frame_length=config.n_fft)
            return librosa.amplitude_to_db(rms, top_db=None).T
        case "pitch":
            return _pitch(y, len(power), config)
    magnitudes = {"S": np.sqrt(power.T), "sr": config.sr}
    hertz = [
        librosa.feature.spectral_centroid(**magnitudes),
        librosa.feature.spectral_bandwidth(**magnitudes),
        librosa.feature.spectral_rolloff(**magnitudes),
    ]
    return np.vstack([*hertz, 1000 * librosa.feature.spectral_flatness(S=magnitudes["S"])]).T / 1000


def _pitch(y, n_frames, config):
    """F0 in semitones from the clip's median, and the probability that there is one."""
    f0, voiced, probability = librosa.pyin(
        y,
        **dict(zip(("fmin", "fmax"), PITCH_RANGE, strict=True)),
        sr=config.sr,
        frame_length=2 ** int(np.ceil(np.log2(2.5 * config.sr / PITCH_RANGE[0]))),  # periods
        hop_length=config.hop_length,
        resolution=0.25,  # a quarter of a semitone, and few thresholds: four times faster
        n_thresholds=20,
    )
    middle = np.median(f0[voiced]) if voiced.any() else 1.0
    semitones = 12 * np.log2(np.where(voiced, f0, middle) / middle)
    return np.stack([semitones, probability], axis=1)[:n_frames]


def _extract_file(path, *, config, tables):
    """Features of one file, or the reason why there are none."""
    try:
        y, _ = load_audio(path, sr=config.sr, offset=config.offset, duration=config.duration)
        if not y.any():
            raise AudioError(path, "the clip is silent, every sample is zero; leave it out.")
        return np.atleast_2d(_features(y, config, *tables))  # a time average is one row
    except AudioError as error:
        return error.reason


def _cache_key(clips, config):
    """Name a cache by clips (path, size, time of change), settings and library version."""
    key = hashlib.sha256(json.dumps([CACHE_VERSION, librosa.__version__, asdict(config)]).encode())
    for path in clips["path"]:
        file = os.stat(path) if os.path.exists(path) else None
        key.update(f"{path} {file and (file.st_size, file.st_mtime_ns)}".encode())
    return key.hexdigest()[:16]


@contextmanager
def _cache_folder(clips, config, cache):
    """Lend the folder of a cache to one process at a time, or a temporary one without cache."""
    if cache:
        folder = output_dir() / "cache" / _cache_key(clips, config)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / "lock")
            lock.acquire()
        except OSError as error:
            print(f"Features are not cached, {folder} cannot be written ({error.strerror}).")
        else:
            with lock:
                yield folder, "r"
            return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder), None


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


def _load(folder, n_clips, mmap_mode):
    """Load finished features, or None where there are none or they are broken."""
    try:
        X = np.load(folder / "X.npy", mmap_mode=mmap_mode, allow_pickle=False)
        n_frames = np.fromfile(folder / "n_frames.bin", dtype=np.int32)
        reasons = (folder / "failures.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError, EOFError):
        return None
    whole = len(n_frames) == n_clips and len(reasons) == n_clips - len(X)
    return (X, n_frames, reasons) if whole else None


def _features_in(folder, clips, config, n_jobs, mmap_mode):
    """Load the features of a folder, computing what is missing."""
    arrays = _load(folder, len(clips), mmap_mode)
    if arrays is not None:  # the same line as after computing, so that a notebook repeats
        progress_bar(total=len(clips), initial=len(clips), desc="features").close()
        return arrays
    if (folder / "X.npy").exists():  # it is finished and broken
        for name in ("X.npy", "n_frames.bin", "failures.txt"):
            (folder / name).unlink(missing_ok=True)
    try:
        _extract_into(folder, clips, config, n_jobs)
    except OSError as error:
        raise CorpusError(
            f"The features cannot be written to {folder} ({error.strerror}): make room there and "
            "run again, it goes on where it stopped."
        ) from None
    return _load(folder, len(clips), mmap_mode)


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
        same clips (path, size, time of change), settings and librosa version. An extraction that
        was interrupted, even killed, goes on there where it stopped.
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
    with _cache_folder(clips, config, cache) as (folder, mmap_mode):
        X, n_frames, reasons = _features_in(folder, clips, config, n_jobs, mmap_mode)
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
