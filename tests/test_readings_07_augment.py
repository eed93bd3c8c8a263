"""What notebook 07 says about the demo corpus and about the records is true: see `lessons`."""

from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import scipy
from lessons import check_every_sentence, reading, run

from ser_utils import load_audio

NOTEBOOK = "07_augment"
BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def augment(demo_corpus):
    return run(NOTEBOOK, until="def show_mels")


def test_every_sentence_about_the_demo_corpus_is_tested():
    check_every_sentence(NOTEBOOK)


def find_hills(path):
    """The first hills of the envelope of a clip (Hz), as its curve shows them."""
    y, sr = load_audio(path)
    a = librosa.lpc(librosa.effects.preemphasis(y), order=16)
    hertz, response = scipy.signal.freqz(1, a, worN=4096, fs=sr)
    return hertz[scipy.signal.find_peaks(np.abs(response))[0][:4]]


@reading(
    NOTEBOOK,
    "F0 differs by 85%, but the first four hills differ by only 10 to 14%.",
    "every dot of the higher voice lies a little to the right of its partner.",
)
def test_the_two_voices(augment):
    assert augment.pair["speaker"].tolist() == ["SB", "SC"]
    high, low = (augment.median_pitch(*load_audio(path)) for path in augment.pair["path"])
    assert round(100 * (high / low - 1)) == 85
    factors = np.divide(*map(find_hills, augment.pair["path"]))
    assert len(factors) == 4
    assert (factors > 1.05).all()
    assert [round(100 * (f - 1)) for f in (factors.min(), factors.max())] == [10, 14]


@reading(
    NOTEBOOK,
    "the tract leaves F0 at 194 Hz, four semitones raise it to 245 Hz, and the octave doubles it "
    "to 389 Hz.",
)
def test_the_pitch_of_the_copies(augment):
    f0 = {caption.split()[0]: caption.split(": ")[1] for caption in augment.shown}
    assert [f0[name] for name in ("as", "tract", "pitch", "octave")] == [
        f"{hertz} Hz" for hertz in (194, 194, 245, 389)
    ]


def test_each_change_does_what_its_formula_says(augment):
    names = ["as it is", *augment.names]
    y, shown = augment.y, dict(zip(names, augment.shown.values(), strict=True))
    level = {name: 10 * np.log10(np.mean(wave**2)) for name, wave in shown.items()}
    noise = shown["noise"] - y
    assert 10 * np.log10(np.mean(y**2) / np.mean(noise**2)) == pytest.approx(10, abs=0.01)
    assert level["gain"] - level["as it is"] == pytest.approx(-12, abs=0.01)
    for name in ("tempo", "pitch", "tract", "room", "octave"):
        assert level[name] == pytest.approx(level["as it is"], abs=0.01), name
    assert len(shown["tempo"]) == pytest.approx(len(y) / 1.25, abs=1)


def test_the_tract_moves_a_formant_and_leaves_the_pitch(augment):
    """A buzz of 100 Hz with one formant at 2,000 Hz: both are known."""
    buzz = np.zeros(16000)
    buzz[:: 16000 // 100] = 1
    buzz = scipy.signal.lfilter([0.1], [1, -1.8 * np.cos(2 * np.pi / 8), 0.81], buzz)

    def formant(wave):
        hertz, power = scipy.signal.welch(wave, fs=16000, nperseg=4096)
        smooth = np.convolve(power, np.ones(52), "same")  # two harmonics wide
        return hertz[smooth.argmax()]

    tract = augment.change_tract(buzz, 1.15, None)
    pitch = augment.shift_pitch(buzz, 4, None)
    assert augment.median_pitch(tract, 16000) == pytest.approx(100, rel=0.02)
    assert augment.median_pitch(pitch, 16000) == pytest.approx(126, rel=0.02)
    assert formant(tract) == pytest.approx(2300, rel=0.06)
    assert formant(pitch) == pytest.approx(2520, rel=0.06)


@pytest.fixture(scope="module")
def paired():
    """Each recipe against the full one, in percentage points."""
    table = pd.read_csv(BENCHMARKS / "generalize_paired.csv")
    table[["difference", "low", "high"]] *= 100
    return table.set_index(["tested", "voice", "recipe"])


@reading(
    NOTEBOOK,
    "by 7 points on RAVDESS, with an interval that leaves out 0, by 5 points on EmoDB, with an "
    "interval that just reaches 0, and by more than 10 points on each voice of TESS.",
    "On RAVDESS, dropping the views alone costs less than one point (one seed, interval -2 to 2)",
    "On RAVDESS, the intervals of views, masks and mixup contain 0.",
)
def test_what_each_part_of_the_recipe_is_worth(paired):
    actors, germans = (paired.loc[c, "all", "no warps"] for c in ("ravdess", "emodb"))
    assert (round(actors["difference"]), round(germans["difference"])) == (-7, -5)
    assert actors["high"] < 0 < germans["high"] < 0.1
    views = paired.loc["ravdess", "all", "no views of tested clips"]
    assert (round(views["low"]), round(views["high"])) == (-2, 2)
    for voice in ("OAF", "YAF"):
        assert paired.loc["tess", voice, "no warps"]["difference"] < -10
    assert abs(paired.loc["ravdess", "all", "no views of tested clips"]["difference"]) < 1
    for recipe in ("no views of tested clips", "no masks", "no mixup"):
        row = paired.loc["ravdess", "all", recipe]
        assert row["low"] < 0 < row["high"]


@reading(
    NOTEBOOK,
    "On EmoDB and on both voices of TESS, the network without warps is within five points of the "
    "SVM.",
    "With warps it is more than eight points above it.",
    "On RAVDESS it is ahead of the SVM even without warps.",
)
def test_the_network_beside_the_svm(paired):
    single = pd.read_csv(BENCHMARKS / "protocols_speakers.csv", dtype={"speaker": str})
    svm = single.query("protocol == 'unseen speaker' and model == 'SVM'")
    svm = pd.concat([svm, svm.assign(speaker="all")])
    svm = svm.groupby(["corpus", "speaker"])["uar"].mean()
    for corpus, voice in (("emodb", "all"), ("tess", "OAF"), ("tess", "YAF")):
        row = paired.loc[corpus, voice, "no warps"]
        assert abs(row["uar"] - svm[corpus, voice]) < 0.05
        assert row["uar_final"] - svm[corpus, voice] > 0.08
    assert paired.loc["ravdess", "all", "no warps"]["uar"] > svm["ravdess", "all"]
