"""More voices from few: changes of log-mel spectra that leave the emotion as it was.

All of them take a batch of clips as `ser_utils.extract_corpus` returns them with
``kinds=("mel",)``, in dB, filled up with zeros, and draw from a generator that is handed over:
the same seed makes the same clips. They are for training parts only. What works on waveforms
(noise, pitch, reverberation) is a few lines of librosa and SciPy in notebook 07_augment.

Notebooks: 07_augment, 08_imbalance.
"""

import numpy as np


def count_frames(X):
    """Count the frames of each clip that are not filling, [shape=(n_clips,)]."""
    return (X != 0).any(axis=2).sum(axis=1)


def warp_voices(X, rng, *, tract=0.18, tempo=0.2, gain=6.0, tilt=4.0):
    """Let other people say it: another vocal tract and pitch, tempo, level and tilt.

    Parameters
    ----------
    X : np.ndarray [shape=(n_clips, n_frames, n_mels)]
        Log-mel spectra (dB).
    rng : np.random.Generator
        Draws a value for each clip, evenly between minus and plus each limit.
    tract : float
        Limit of the logarithm by which the mel axis is stretched (vocal tract length
        perturbation, Jaitly and Hinton, 2013; on a mel axis it moves the pitch, too).
    tempo : float
        Limit of the logarithm by which the time axis is; what then ends too late is cut off.
    gain, tilt : float
        Limits of the level, and of its change at either end of the mel axis (dB).

    Returns
    -------
    np.ndarray [shape=(n_clips, n_frames, n_mels)]
    """
    n_frames, (n_clips, longest, n_mels) = count_frames(X)[:, None], X.shape
    tract, tempo, gain, tilt = (
        rng.uniform(-limit, limit, (n_clips, 1)) for limit in (tract, tempo, gain, tilt)
    )
    times = np.arange(longest) * np.exp(tempo)
    before = np.minimum(times, n_frames - 1).astype(int)
    after = np.minimum(before + 1, n_frames - 1)
    clip, share = np.arange(n_clips)[:, None], (times - before)[..., None].astype(np.float32)
    warped = X[clip, before] + share * (X[clip, after] - X[clip, before])
    bands = np.minimum(np.arange(n_mels) * np.exp(tract), n_mels - 1)[:, None]
    bands = np.maximum(0, 1 - np.abs(bands - np.arange(n_mels)[:, None])).astype(np.float32)
    level = gain + tilt * np.linspace(-1, 1, n_mels)
    warped = warped @ bands + level[:, None].astype(np.float32)
    return warped * (times < n_frames)[..., None]


def mask_spectra(X, rng, *, times=2, bands=2, share=0.15):
    """SpecAugment (Park et al., 2019): hide stretches of time and bands under the clip's mean.

    Parameters
    ----------
    X : np.ndarray [shape=(n_clips, n_frames, n_mels)]
        Log-mel spectra (dB).
    rng : np.random.Generator
        Draws where, and how wide, for each clip.
    times, bands : int
        Stretches of either kind.
    share : float
        Widest stretch, as a share of the clip or of the bands.

    Returns
    -------
    np.ndarray [shape=(n_clips, n_frames, n_mels)]
    """
    n_frames, n_mels = count_frames(X)[:, None], X.shape[2]
    kept = (X != 0).any(axis=2, keepdims=True)
    mean = X.sum(axis=(1, 2), keepdims=True) / (n_frames[..., None] * n_mels).astype(np.float32)
    for axis, stretches, size in ((1, times, n_frames), (2, bands, n_mels)):
        for _ in range(stretches):
            width = rng.uniform(0, share, (len(X), 1)) * size
            start = rng.uniform(0, 1, (len(X), 1)) * (size - width)
            places = np.arange(X.shape[axis])
            hidden = (places >= np.ceil(start)) & (places < start + width)
            X = np.where(np.expand_dims(hidden, 3 - axis), mean, X)
    return X * kept


def mix_clips(X, Y, rng, *, alpha=0.2):
    """Mixup (Zhang et al., 2018): lay each clip over another one, and their labels likewise.

    Parameters
    ----------
    X : np.ndarray [shape=(n_clips, n_frames, n_features)]
        Features, filled up with zeros.
    Y : np.ndarray [shape=(n_clips, n_classes)]
        Labels, one-hot.
    rng : np.random.Generator
        Draws the partners, and the shares from a beta distribution.
    alpha : float
        Its shape: the smaller, the more of the clip itself is left.

    Returns
    -------
    X, Y : np.ndarray
        Of the same shapes.
    """
    share, partner = rng.beta(alpha, alpha, len(X)), rng.permutation(len(X))
    share = np.maximum(share, 1 - share).astype(np.float32)
    other, rest = X[partner], 1 - share[:, None]
    both = (X != 0).any(axis=2, keepdims=True) & (other != 0).any(axis=2, keepdims=True)
    mixed = np.where(both, X + rest[..., None] * (other - X), X + other)  # one of them is filling
    return mixed, Y + rest * (Y[partner] - Y)


def add_noise(X, rng, *, low=0.0, high=50.0, tilt=10.0):
    """Add noise, as if the clips had been recorded in a noisy room.

    Parameters
    ----------
    X : np.ndarray [shape=(n_clips, n_frames, n_mels)]
        Log-mel spectra (dB).
    rng : np.random.Generator
        Draws a level for each clip, evenly, and the noise.
    low, high : float
        Limits of the clip's mean power over that of the noise (dB).
    tilt : float
        Most that the noise rises at one end of the mel axis and falls at the other (dB).

    Returns
    -------
    np.ndarray [shape=(n_clips, n_frames, n_mels)]
        Again at most 80 dB below the loudest.

    Notes
    -----
    Powers of speech and noise add up, though not exactly: a phase is no part of a mel spectrum.
    """
    real = (X != 0).any(axis=2, keepdims=True)
    power = 10 ** (X / 10) * real
    n_values = X.shape[2] * real.sum(axis=(1, 2), keepdims=True, dtype=np.float32)
    mean = power.sum(axis=(1, 2), keepdims=True) / n_values
    level = -rng.uniform(low, high, (len(X), 1, 1))
    level = level + rng.uniform(-tilt, tilt, (len(X), 1, 1)) * np.linspace(-1, 1, X.shape[2])
    noise = mean * (10 ** (level / 10)).astype(np.float32)
    noise = noise * rng.standard_gamma(4, X.shape, dtype=np.float32) / 4  # it is never even
    noisy = 10 * np.log10(power + noise + np.float32(1e-10))
    return np.maximum(noisy, noisy.max(axis=(1, 2), keepdims=True) - 80) * real


def crop_times(X, rng, *, frames=128):
    """Keep a stretch of so many frames of each clip, drawn from those that it has."""
    start = rng.integers(0, np.maximum(count_frames(X) - frames, 0) + 1)[:, None, None]
    return np.take_along_axis(X, start + np.arange(min(frames, X.shape[1]))[:, None], axis=1)


def new_voices(X, Y, rng):
    """Make other clips of a batch for training, as the final recipe does."""
    return mix_clips(warp_voices(crop_times(X, rng), rng), Y, rng)


def other_views(X, Y, rng):
    """Make other clips of a batch that is tested: warped only, labels as they were."""
    return warp_voices(X, rng), Y
