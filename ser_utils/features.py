"""What one clip becomes: its frames described by MFCCs and their relatives.

Notebooks: 03_mfcc, 06_features.
"""

from dataclasses import dataclass
from functools import lru_cache

import librosa
import numpy as np
import scipy  # loads scipy.fft and scipy.sparse when they are first used
from numpy.lib.stride_tricks import sliding_window_view

from .audio import LOUDEST, AudioError

# Columns of each kind of features, or the setting that tells them.
KINDS = dict.fromkeys(("mfcc", "delta", "delta2"), "n_mfcc")
KINDS |= {"mel": "n_mels", "chroma": 12, "energy": 1, "pitch": 2, "shape": 4}
PITCH_RANGE = 65, 600  # Hz, from a low man to a frightened woman


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


@lru_cache
def window_and_filters(sr, n_fft, n_mels):
    """Hann window and mel filters of `FeatureConfig`, made once: librosa does so for each clip.

    Parameters
    ----------
    sr, n_fft, n_mels : int
        As in `FeatureConfig`.

    Returns
    -------
    window : np.ndarray [shape=(n_fft,), dtype=float32]
    filters : scipy.sparse.csr_array [shape=(n_mels, 1 + n_fft // 2), dtype=float32]
        Triangles, so 97 of 100 weights are zero.
    """
    filters = librosa.filters.mel(sr=sr, n_fft=n_fft, n_mels=n_mels)
    return np.hanning(n_fft + 1)[:-1].astype(np.float32), scipy.sparse.csr_array(filters)


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

    On one machine the same samples give the same bits of ``mfcc``, ``mel``, ``energy`` and
    ``shape`` in every process. A matrix product by BLAS would not: with another number of threads
    it adds up in another order. The mel product is sparse and does without. The Fourier and cosine
    transforms (pocketfft) and the resampler (soxr) run in one thread, so their order is fixed.
    librosa's deltas, chroma and pitch use BLAS and promise no last digits. Nor does another
    processor.
    """
    config = config or FeatureConfig()
    return describe_frames(y, config, *window_and_filters(config.sr, config.n_fft, config.n_mels))


def describe_frames(y, config, window, filters):
    """Do the work of `extract_features` with tables made beforehand by `window_and_filters`."""
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
    mel = (filters @ power.T).T  # sparse: no BLAS, and four times faster than with the zeros
    decibels = 10 * np.log10(np.maximum(mel, 1e-10))
    decibels = np.maximum(decibels, decibels.max() - 80)
    mfcc = scipy.fft.dct(decibels, norm="ortho")[:, : config.n_mfcc]
    columns = [_columns(kind, y, power, decibels, mfcc, config) for kind in config.kinds]
    features = np.ascontiguousarray(np.hstack(columns), dtype=np.float32)
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
    S, of = np.sqrt(power.T), librosa.feature
    measures = (of.spectral_centroid, of.spectral_bandwidth, of.spectral_rolloff)
    hertz = [measure(S=S, sr=config.sr) for measure in measures]
    return np.vstack([*hertz, 1000 * of.spectral_flatness(S=S)]).T / 1000


def _pitch(y, n_frames, config):
    """F0 in semitones from the clip's median, and the probability that there is one."""
    lowest, highest = PITCH_RANGE
    frame_length = 2 ** int(np.ceil(np.log2(2.5 * config.sr / lowest)))  # periods
    frames = {"sr": config.sr, "frame_length": frame_length, "hop_length": config.hop_length}
    # A quarter of a semitone, and few thresholds: four times faster.
    quick = {"resolution": 0.25, "n_thresholds": 20}
    f0, voiced, probability = librosa.pyin(y, fmin=lowest, fmax=highest, **frames, **quick)
    middle = np.median(f0[voiced]) if voiced.any() else 1.0
    semitones = 12 * np.log2(np.where(voiced, f0, middle) / middle)
    return np.stack([semitones, probability], axis=1)[:n_frames]
