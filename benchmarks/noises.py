"""Sounds in which nobody speaks, from random numbers, for ``live.py``.

The constants of the speech gate were chosen on other ranges than these, and on other seeds.
"""

from functools import partial

import numpy as np
from scipy.signal import butter, sosfilt

SR = 16000


def normal(y):
    """Scale to a root mean square of 1."""
    return y / np.sqrt(np.mean(y**2) + 1e-20)


def coloured(rng, n, power):  # 0: white, 1: pink, 2: brown
    shape = np.maximum(np.fft.rfftfreq(n, 1 / SR), 20) ** (-power / 2)
    return normal(np.fft.irfft(np.fft.rfft(rng.normal(size=n)) * shape, n))


def puff(rng, seconds, low, high):
    bands = butter(2, [low, high], "bandpass", fs=SR, output="sos")
    return sosfilt(bands, rng.normal(size=int(seconds * SR)))


def add(y, at, sound):
    y[int(at * SR) :][: len(sound)] += sound[: max(0, len(y) - int(at * SR))]


def note(rng, hertz, seconds, slope, partials, fall=0.0, depth=0.0, rate=5.5):
    """Partials that fall by 1/k**slope and with time; vibrato of `depth` semitones."""
    t = np.arange(int(seconds * SR)) / SR
    bend = depth * np.sin(2 * np.pi * rate * t) * np.minimum(1, t / 0.3)
    turns = np.cumsum(hertz * 2 ** (bend / 12)) / SR
    k = np.arange(1, min(partials, 7000 // hertz) + 1)[:, None]
    y = (
        np.sin(2 * np.pi * (k * turns + rng.random(k.shape)))
        * np.exp(-fall * k**0.5 * t)
        / k**slope
    )
    return normal(y.sum(axis=0)) * np.minimum(1, np.minimum(t / 0.015, (seconds - t) / 0.03))


def typing(rng, y):
    at, t = 0.3, np.arange(960) / SR
    while at < len(y) / SR:
        for late, gain in ((0, 1), (rng.uniform(0.05, 0.12), 0.4)):  # a key goes down, and up
            click = rng.normal(size=960) * np.exp(-t / rng.uniform(0.002, 0.015))
            thump = np.sin(2 * np.pi * rng.uniform(90, 400) * t) * np.exp(-t / 0.012)
            add(y, at + late, gain * rng.lognormal(0, 0.4) * (click + rng.uniform(0, 0.8) * thump))
        at += 0.05 + rng.gamma(2, 0.08) + (rng.random() < 0.08) * rng.exponential(1.5)


def breathing(rng, y):
    at, pace = 0.0, rng.uniform(0.5, 1.6)
    throat = [(rng.uniform(150, 500), rng.uniform(1200, 4000)) for _ in range(2)]  # in, out
    while at < len(y) / SR:
        for band in throat:
            breath = puff(rng, pace * rng.uniform(0.7, 1.1), *band)
            add(y, at, breath * np.sin(np.linspace(0, np.pi, len(breath))))
            at += len(breath) / SR * rng.uniform(1, 1.3)


def coughing(rng, y):
    at = 0.5
    while at < len(y) / SR:
        for _ in range(rng.integers(1, 4)):
            burst = normal(puff(rng, 0.4, rng.uniform(200, 500), rng.uniform(1500, 5000)))
            burst += rng.choice([0, 1]) * note(rng, rng.uniform(120, 300), 0.4, 1, 15)  # voice
            add(y, at, burst * np.exp(-np.arange(6400) / SR / rng.uniform(0.04, 0.1)))
            at += rng.uniform(0.3, 0.6)
        at += rng.uniform(0.5, 3)


def music(rng, y, parts=("chords", "bass", "melody", "drums")):
    beat = 60 / rng.uniform(60, 160)
    key, third = rng.uniform(100, 200), rng.choice([3, 4])
    scale = np.array([0, 2, third, 5, 7, third + 5, third + 7])

    def hertz(step):
        return key * 2 ** (step // 7 + scale[step % 7] / 12)

    lead, pad = ((rng.uniform(0.5, 2.2), rng.integers(4, 20)) for _ in range(2))
    fall, step = rng.choice([0, 1.5, 4]), 7
    vibrato = rng.choice([0, 0.2, 0.35]), rng.uniform(5, 7)
    for i in range(0, int(len(y) / SR / beat), 2):
        at, root = i * beat, rng.choice([0, 3, 4, 5])
        for step_up in (0, 2, 4) if "chords" in parts else ():
            add(y, at, 0.4 * note(rng, hertz(root + 7 + step_up), 2 * beat, *pad, fall))
        if "bass" in parts:
            add(y, at, 0.6 * note(rng, hertz(root) / 2, 1.8 * beat, 1.5, 6, 1))
        times = [(2,), (1, 1), (1.5, 0.5), (0.5, 0.5, 1)][rng.integers(4)]
        for long in times if "melody" in parts else ():
            step = int(np.clip(step + rng.integers(-2, 3), 3, 16))
            sung = note(rng, hertz(step), long * beat * rng.choice([0.7, 0.95]), *lead, 0, *vibrato)
            add(y, at, (rng.random() < 0.9) * sung)  # else a rest
            at += long * beat
        t = np.arange(4000) / SR
        drum = np.sin(2 * np.pi * (50 * t - 4 * np.exp(-t / 0.03))) * np.exp(-t / 0.06)
        snare = 0.7 * rng.normal(size=4000) * np.exp(-t / 0.05)
        for place, sound in enumerate((drum, snare) if "drums" in parts else ()):
            add(y, (i + place) * beat, sound)


def room(rng, y):
    t = np.arange(len(y)) / SR
    hum = (np.sin(2 * np.pi * 60 * k * t) * rng.random() / k for k in range(1, 12))
    turns = rng.uniform(100, 250) * t + 0.05 * np.sin(2 * np.pi * 0.3 * t)
    fan = normal(sum(np.sin(2 * np.pi * k * turns) / k for k in range(1, 6)))
    fan *= 1 + rng.uniform(0, 0.5) * np.sin(2 * np.pi * rng.uniform(0.5, 3) * t)
    y += coloured(rng, len(y), rng.uniform(0, 2)) + rng.choice([0, 0.3, 1, 2]) * normal(sum(hum))
    y += rng.choice([0, 0.3, 1]) * fan


def noise(kind, seed, seconds=60):
    """One recording, at a level drawn from -50 to -15 dB of full scale (root mean square)."""
    y, rng = np.zeros(seconds * SR), np.random.default_rng([1, seed, list(KINDS).index(kind)])
    KINDS[kind](rng, y)
    level = 10 ** (rng.uniform(-50, -15) / 20)
    y = normal(y) + 10 ** (rng.uniform(-50, -25) / 20) * coloured(rng, len(y), 1)
    if kind == "typing in a room":
        behind = np.zeros_like(y)
        room(rng, behind)
        y += 10 ** (rng.uniform(-15, 0) / 20) * normal(behind)
    if kind == "silence":
        y, level = rng.normal(size=len(y)), 10 ** (-65 / 20)
    return np.clip(normal(y) * level, -1, 1).astype(np.float32)


KINDS = {
    "typing": typing,
    "breathing": breathing,
    "coughing": coughing,
    "room": room,
    "music": music,
    "chords": partial(music, parts=("chords", "bass")),
    "melody": partial(music, parts=("melody",)),
    "typing in a room": typing,
    "silence": lambda rng, y: None,
}
