"""Features of one clip have the promised shape and values."""

import librosa
import numpy as np
import pytest
import scipy
from corpora import SR, write_clip
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ser_utils import REFERENCE_CONFIG, AudioError, FeatureConfig, extract_features, load_audio
from ser_utils.features import KINDS


def noise(n_samples=SR, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, n_samples).astype(np.float32)


@pytest.mark.parametrize("n_samples", [1, 100, 256, 16000, 40001])
def test_time_runs_down_the_rows(n_samples):
    mfcc = extract_features(noise(n_samples))
    assert mfcc.shape == (1 + n_samples // 256, 40)
    assert mfcc.dtype == np.float32


@pytest.mark.parametrize("config", [FeatureConfig(), FeatureConfig(n_mfcc=13, hop_length=160)])
def test_mfccs_equal_librosa(config):
    y = noise()
    expected = librosa.feature.mfcc(
        y=y,
        sr=config.sr,
        n_mfcc=config.n_mfcc,
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        n_mels=config.n_mels,
    )
    np.testing.assert_allclose(extract_features(y, config=config), expected.T, atol=1e-3)


def test_the_reference_features_equal_the_loop_of_public_notebooks(tmp_path):
    path = write_clip(tmp_path / "a.wav", seconds=2.1, sr=24414)
    y, sr = librosa.load(path, duration=3, offset=0.5)
    expected = np.mean(librosa.feature.mfcc(y=y, sr=sr, n_mfcc=40).T, axis=0)
    y, _ = load_audio(path, sr=22050, offset=0.5, duration=3.0)
    average = extract_features(y, config=REFERENCE_CONFIG)
    assert average.shape == (40,)
    np.testing.assert_allclose(average, expected, atol=1e-3)


def test_louder_moves_coefficient_0_only():
    change = extract_features(noise() * 2) - extract_features(noise())
    assert change[:, 0].min() > 40  # 6 dB in each of 64 bands, divided by 8
    np.testing.assert_allclose(change[:, 1:], 0, atol=1e-2)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(arrays(np.float32, st.integers(1, 5000), elements=st.floats(-1, 1, width=32)))
def test_any_finite_waveform_has_finite_features(y):
    assert np.isfinite(extract_features(y)).all()


@pytest.mark.parametrize(
    "y",
    [np.zeros(0), np.array([0.1, np.nan]), np.array([np.inf]), np.array([1e18]), np.zeros((2, 99))],
)
def test_a_waveform_that_cannot_be_used_is_refused(y):
    with pytest.raises(AudioError, match="mono, not empty, finite"):
        extract_features(y)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"hop_length": 0}, "hop_length=0 must be above 0"),
        ({"n_mfcc": 65}, "n_mfcc=65 must be at most n_mels=64"),
        ({"offset": -1.0}, "offset=-1.0"),
        ({"duration": np.nan}, "duration=nan must be above 0"),
    ],
)
def test_a_setting_out_of_range_is_named(setting, says):
    with pytest.raises(ValueError, match=says):
        FeatureConfig(**setting)


def of_kind(kind, y, **settings):
    return extract_features(y, config=FeatureConfig(kinds=(kind,), **settings))


def buzz(hertz, sr=SR):
    """A voice, as far as pitch is concerned: harmonics of F0 (in Hz, one value a sample)."""
    phase = 2 * np.pi * np.cumsum(hertz) / sr
    return sum(np.sin(k * phase) / k for k in range(1, 9)).astype(np.float32) / 4


@pytest.mark.parametrize("n_samples", [1, 100, SR])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_columns_in_each_layout(kind, n_samples):
    config = FeatureConfig(kinds=(kind,), n_mfcc=13, n_mels=40)
    sequence = extract_features(noise(n_samples), config=config)
    assert sequence.shape == (1 + n_samples // 256, config.n_features)
    assert sequence.dtype == np.float32
    assert np.isfinite(sequence).all()
    average = of_kind(kind, noise(n_samples), n_mfcc=13, n_mels=40, time_average=True)
    np.testing.assert_allclose(average, sequence.mean(axis=0), rtol=1e-4, atol=1e-4)
    small = {"n_fft": 400, "hop_length": 160, "sr": 8000}
    assert len(of_kind(kind, noise(n_samples), **small)) == 1 + n_samples // 160


def test_kinds_stand_beside_each_other_in_the_order_asked_for():
    kinds = ("shape", "mfcc", "energy")
    together = extract_features(noise(), config=FeatureConfig(kinds=list(kinds)))
    np.testing.assert_array_equal(together, np.hstack([of_kind(kind, noise()) for kind in kinds]))
    assert FeatureConfig(kinds=list(kinds)) == FeatureConfig(kinds=kinds)  # as JSON gives it back


@pytest.mark.parametrize("kinds", [(), ("mfcc", "formants")])
def test_an_unknown_kind_is_named_with_those_there_are(kinds):
    with pytest.raises(ValueError, match=r"kinds=.*must name some of mfcc, delta,.* shape"):
        FeatureConfig(kinds=kinds)


@pytest.mark.parametrize(("kind", "order"), [("delta", 1), ("delta2", 2)])
def test_deltas_are_slopes_of_parabolas_over_nine_frames(kind, order):
    mfcc = extract_features(noise()).astype(float)
    t = np.arange(-4, 5)
    for frame in (4, 30, len(mfcc) - 5):
        fitted = np.polyfit(t, mfcc[frame - 4 : frame + 5], order)[0] * order
        np.testing.assert_allclose(of_kind(kind, noise())[frame], fitted, atol=1e-3)


def test_mel_bands_are_what_mfccs_are_made_of():
    mel = of_kind("mel", noise())
    assert mel.max() - mel.min() <= 80
    mfcc = scipy.fft.dct(mel, norm="ortho")[:, :40]
    np.testing.assert_allclose(mfcc, extract_features(noise()), atol=1e-2)


def test_the_energy_is_a_level_in_decibels():
    sine = np.sin(2 * np.pi * 1000 * np.arange(SR) / SR)
    assert of_kind("energy", sine)[5:-5].mean() == pytest.approx(-7.27, abs=0.05)
    change = of_kind("energy", sine / 2) - of_kind("energy", sine)
    np.testing.assert_allclose(change, -6.02, atol=0.01)
    quieter = of_kind("energy", np.concatenate([sine, sine / 1000]))
    assert quieter[90] - quieter[30] == pytest.approx(
        -60, abs=0.1
    )  # no floor under the loudest frame


def test_pitch_counts_semitones_from_the_median_of_the_clip():
    f0 = np.repeat([150.0, 200.0, 300.0], [SR, SR, SR // 2])
    semitones, voiced = of_kind("pitch", buzz(f0)).T
    places = semitones[30], semitones[90], semitones[140]  # half a second, 1.4 s, 2.2 s
    np.testing.assert_allclose(places, 12 * np.log2([150 / 200, 1, 300 / 200]), atol=0.3)
    higher, _ = of_kind("pitch", buzz(f0 * 1.3)).T
    assert np.median(np.abs(higher - semitones)) < 0.3
    assert voiced[30] > 5 * of_kind("pitch", noise())[:, 1].mean()


def test_where_there_is_no_voice_pitch_is_zero():
    pitch = of_kind("pitch", np.concatenate([buzz(np.full(SR, 220.0)), np.zeros(SR)]))
    np.testing.assert_array_equal(pitch[75:, 0], 0)
    assert not of_kind("pitch", np.zeros(SR))[:, 0].any()


def test_chroma_forgets_the_octave():
    time = np.arange(SR) / SR
    for hertz in (440, 880):
        chroma = of_kind("chroma", np.sin(2 * np.pi * hertz * time), n_fft=2048)
        assert (chroma[5:-5].argmax(axis=1) == 9).all()  # C is 0, so A is 9
        assert chroma.max() <= 1


def test_the_shape_tells_bright_from_dull_and_tone_from_noise():
    tone = np.sin(2 * np.pi * 2000 * np.arange(SR) / SR)
    centroid, bandwidth, rolloff, flatness = of_kind("shape", tone)[5:-5].mean(axis=0)
    assert (centroid, rolloff) == pytest.approx((2, 2), abs=0.05)  # kHz
    hiss = of_kind("shape", noise()).mean(axis=0)
    assert hiss[0] == pytest.approx(4, abs=0.2)  # the middle of 0 to 8 kHz
    assert hiss[1] > 20 * bandwidth
    assert 1 >= hiss[3] > 0.3 > flatness
    np.testing.assert_allclose(of_kind("shape", noise() / 2), of_kind("shape", noise()), atol=1e-3)
