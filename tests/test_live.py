"""Speech is told from the sounds of a room, and the shown name changes with reason only."""

import numpy as np
import pytest

from ser_utils.corpora.demo_corpus import SAMPLE_RATE, synthesize
from ser_utils.deploy.live import Steady, is_speech

SECONDS = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE


def tone(hertz):
    """A note of a string: ten partials."""
    return sum(np.sin(2 * np.pi * k * hertz * SECONDS) / k for k in range(1, 11)) / 4


def clicks(rng):
    y = np.zeros(len(SECONDS))
    for at in rng.integers(0, len(y) - 800, 15):
        y[at : at + 800] += rng.normal(size=800) * np.exp(-np.arange(800) / 100)
    return y


def melody(rng):
    """Six notes, two or more semitones apart."""
    steps = np.cumsum(rng.choice([-7, -5, 4, 5, 7], 6))
    hertz = 220 * 2 ** (steps[(2 * SECONDS).astype(int)] / 12)
    turns = np.cumsum(hertz) / SAMPLE_RATE
    return sum(np.sin(2 * np.pi * k * turns) / k for k in range(1, 8)) / 4


@pytest.mark.parametrize("emotion", ["angry", "fear", "happy", "sad"])
@pytest.mark.parametrize("decibels", [-6, -40])
@pytest.mark.parametrize("noise", [0, 0.1])
def test_a_voice_is_speech_loud_or_soft_in_silence_or_noise(emotion, decibels, noise):
    y = synthesize("moon", emotion, "SA")[: 3 * SAMPLE_RATE]
    y = y + noise * np.std(y) * np.random.default_rng(0).normal(size=len(y))
    assert is_speech(10 ** (decibels / 20) * y / np.abs(y).max(), SAMPLE_RATE)


@pytest.mark.parametrize(
    "y",
    [
        np.zeros(len(SECONDS)),
        0.3 * np.random.default_rng(0).normal(size=len(SECONDS)),
        tone(50),
        tone(220),
        tone(110) + 0.1 * np.random.default_rng(0).normal(size=len(SECONDS)),
        clicks(np.random.default_rng(0)),
        melody(np.random.default_rng(0)),
        np.ones(1000),
        1e-4 * synthesize("moon", "happy", "SA"),
    ],
    ids=["silence", "noise", "hum", "note", "noisy note", "clicks", "melody", "short", "far away"],
)
def test_the_sounds_of_a_room_are_no_speech(y):
    assert not is_speech(y, SAMPLE_RATE)


def test_a_name_stays_until_another_leads_clearly():
    steady = Steady(0.5, lead=0.2)
    rows = [[0.6, 0.4], [0.45, 0.55], [0.39, 0.61], [0.5, 0.5], [0.71, 0.29]]
    assert [steady.show(row) for row in rows] == [0, 0, 1, 1, 0]


def test_nothing_is_shown_before_the_threshold_and_after_a_clear_fall():
    steady = Steady(0.5, lead=0.2)
    rows = [[0.4, 0.3, 0.3], [0.5, 0.3, 0.2], [0.31, 0.4, 0.29], [0.29, 0.4, 0.31]]
    assert [steady.show(row) for row in rows] == [None, 0, 0, None]
    steady.show([0, 1, 0])
    assert steady.forget() is None
    assert steady.show([0.4, 0.3, 0.3]) is None
