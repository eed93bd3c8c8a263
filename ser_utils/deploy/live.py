"""What a stream needs beside a model: whether somebody speaks, and names that change less often.

What both are worth is in ``benchmarks/live.csv``. Notebook: 10_deploy.
"""

from functools import lru_cache

import numpy as np
import scipy

from ..features import PITCH_RANGE

QUIET = 1e-3  # root mean square (full scale is 1, so -60 dB) below which nobody speaks
HEARD = 1.75  # s of a stream that the model is asked about
LEAD = 0.4  # of probability; see `Steady`
TOP = 1000  # Hz, up to which the spectrum is looked at for a pitch
GRID = 5  # pitches a semitone that are tried
VOICED = 0.6  # of a frame's power that must repeat with the pitch
LOUDER = 4  # times the power of the quietest tenth of the frames, so 6 dB: not the room itself
GLIDE = 3, 15  # steps of the grid from frame to frame: more than a held note, less than a leap
GLIDING = 0.05  # share of the frames that glide, at least


@lru_cache
def _pitch_tables(sr):
    """Hann window, bins of 65 Hz to `TOP`, and how a period of each pitch fits each bin."""
    n = int(0.064 * sr)
    bins = np.arange(np.ceil(PITCH_RANGE[0] * n / sr), TOP * n // sr + 1).astype(int)
    semitones = np.arange(0, 12 * np.log2(PITCH_RANGE[1] / PITCH_RANGE[0]), 1 / GRID)
    pitches = PITCH_RANGE[0] * 2 ** (semitones / 12)
    return np.hanning(n + 1)[:-1], bins, np.cos(2 * np.pi * sr / n * bins[:, None] / pitches)


def is_loud(y):
    """Whether there is any sound."""
    return np.sqrt(np.mean(np.square(y))) >= QUIET


def is_speech(y, sr):
    """Tell whether somebody speaks: a voice glides, and the sounds of a room do not.

    Parameters
    ----------
    y : np.ndarray [shape=(n_samples,)]
        Mono waveform, full scale +-1. It should last some seconds; of 3 s of clean speech, 99 %
        pass (``benchmarks/live.csv``), and fewer of shorter windows.
    sr : int
        Its sample rate (in Hz).

    Returns
    -------
    bool
        False for silence, and for everything under 0.13 s.

    Notes
    -----
    The pitch of a frame (64 ms, every 32 ms) is the peak of its autocorrelation, computed from the
    spectrum of 65 to 1000 Hz. In speech it hardly ever rests. A note, a hum or a fan holds it, a
    melody leaps, and clicks and breath have none. So it is enough to count the steps that glide.
    A whisper has no pitch and is not heard; singing glides and is. Own code, so that no further
    package is needed and a browser can do the same.
    """
    window, bins, cosines = _pitch_tables(sr)
    if len(y) < 2 * len(window) or not is_loud(y):
        return False
    frames = np.lib.stride_tricks.sliding_window_view(y, len(window))[:: len(window) // 2]
    power = np.abs(scipy.fft.rfft(frames * window)[:, bins]) ** 2
    fit = power @ cosines  # autocorrelation at the period of each pitch
    power = power.sum(axis=1)
    voiced = (fit.max(axis=1) > VOICED * power) & (power > LOUDER * np.quantile(power, 0.1))
    steps = np.abs(np.diff(fit.argmax(axis=1)))
    glides = voiced[1:] & voiced[:-1] & (steps >= GLIDE[0]) & (steps <= GLIDE[1])
    return bool(glides.mean() >= GLIDING)


class Steady:
    """The name that a page shows of a stream: it changes only when there is clear reason to.

    Parameters
    ----------
    threshold : float
        How probable an emotion must be to be named, as in `EmotionRecognizer`.
    lead : float
        How much more probable than the shown emotion another one must be to replace it, and how far
        the shown one may fall below the threshold before nothing is named any more.

    Notes
    -----
    Windows overlap, so their probabilities are a moving average already. A mean of three decisions
    changes names less often, names half as much, and comes half a second later
    (``benchmarks/live.csv``).
    """

    def __init__(self, threshold, *, lead=LEAD):
        self.threshold, self.lead = threshold, lead
        self.forget()

    def forget(self):
        """Show nothing: nobody speaks."""
        self.shown = None

    def show(self, probabilities):
        """Take the latest probabilities; return the column to show, or None for "not sure"."""
        best = int(np.argmax(probabilities))
        if self.shown is not None and probabilities[self.shown] < self.threshold - self.lead:
            self.shown = None
        leads = self.shown is None or probabilities[best] - probabilities[self.shown] >= self.lead
        if leads and probabilities[best] >= self.threshold:
            self.shown = best
        return self.shown
