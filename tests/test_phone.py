"""The file for the phone says of raw samples what the recogniser says."""

import numpy as np
import pytest

from ser_utils import (
    EmotionRecognizer,
    FeatureConfig,
    extract_features,
    load_audio,
    scan_corpus,
    set_seed,
)
from ser_utils.deploy.phone import export_phone
from ser_utils.models import build_crnn


def phone_of(path):
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(str(path)).get_signature_runner()


def answers(phone, y):
    samples = np.zeros(phone.get_input_details()["samples"]["shape"], np.float32)
    samples[0, : len(y)] = y
    return phone(samples=samples, n_samples=np.array([len(y)], np.int32))


def ask(phone, y):
    return answers(phone, y)["probabilities"][0]


@pytest.fixture(scope="module")
def mel_recognizer(tiny_recognizer):
    set_seed(0)
    model, config = build_crnn(64, 3, width=16, units=8), FeatureConfig(kinds=("mel",))
    names = tiny_recognizer.emotions
    return EmotionRecognizer(model, names, config=config, about=tiny_recognizer.about)


@pytest.fixture(scope="module")
def acted6_files(acted6, tmp_path_factory):
    folder = tmp_path_factory.mktemp("phone")
    return {
        precision: export_phone(acted6, folder / precision, precision=precision)
        for precision in ("float32", "float16", "int8")
    }


def waves_of(demo_corpus, n, step, n_samples=64000):
    clips = scan_corpus(demo_corpus)["path"].iloc[::step][:n]
    return [np.resize(load_audio(clip)[0], n_samples) for clip in clips]


@pytest.mark.parametrize(("precision", "most"), [("float32", 1e-3), ("float16", 0.02)])
def test_probabilities_agree_on_200_clips(tiny_recognizer, demo_corpus, tmp_path, precision, most):
    path = export_phone(tiny_recognizer, tmp_path / "a.tflite", precision=precision)
    phone = phone_of(path)
    assert phone.get_input_details()["samples"]["shape"].tolist() == [1, 64000]
    waves = waves_of(demo_corpus, 200, step=2)
    expected = tiny_recognizer.probabilities(waves)
    got = np.array([ask(phone, y) for y in waves])
    assert len(got) == 200
    assert np.abs(got - expected).max() < most


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_digital_silence_is_heard_as_such(mel_recognizer, tmp_path, precision):
    """With 16 bits, 1e-10 is 0, and its logarithm would spoil the answer."""
    phone = phone_of(export_phone(mel_recognizer, tmp_path / "a.tflite", precision=precision))
    rng = np.random.default_rng(0)
    y = np.r_[np.zeros(32000), 0.01 * rng.normal(size=32000)].astype(np.float32)
    answer = answers(phone, y)
    assert answer["decibels"].min() == pytest.approx(-100, abs=1e-3)
    expected = mel_recognizer.probabilities([y])
    assert np.abs(answer["probabilities"] - expected).max() < 0.02


def test_the_network_for_new_voices_agrees_as_well(mel_recognizer, demo_corpus, tmp_path):
    phone = phone_of(export_phone(mel_recognizer, tmp_path / "a.tflite"))
    waves = waves_of(demo_corpus, 28, step=20)
    expected = mel_recognizer.probabilities(waves)
    assert np.ptp(expected, axis=0).max() > 0.01  # its answers do differ
    assert np.abs([ask(phone, y) for y in waves] - expected).max() < 1e-3


@pytest.mark.parametrize("settings", [{"kinds": ("chroma",)}, {"trim": 40.0}])
def test_features_that_a_phone_does_not_have_are_refused(
    mel_recognizer, monkeypatch, tmp_path, settings
):
    monkeypatch.setattr(mel_recognizer, "config", FeatureConfig(**settings))
    with pytest.raises(ValueError, match="do not work on a phone; use kinds="):
        export_phone(mel_recognizer, tmp_path / "a.tflite")


@pytest.mark.parametrize(
    ("precision", "most"), [("float32", 1e-3), ("float16", 0.03), ("int8", 0.1)]
)
def test_a_trained_network_answers_alike_in_every_precision(
    acted6, acted6_files, demo_corpus, precision, most
):
    phone = phone_of(acted6_files[precision])
    waves = waves_of(demo_corpus, 56, step=10, n_samples=48000)
    expected = acted6.probabilities(waves)
    got = np.array([ask(phone, y) for y in waves])
    assert len(set(expected.argmax(axis=1))) > 3  # its answers do differ
    assert np.abs(got - expected).max() < most
    assert np.mean(got.argmax(axis=1) == expected.argmax(axis=1)) > 0.9


@pytest.mark.parametrize("seconds", [0.3, 1.0, 1.75, 2.999])
def test_what_is_shorter_than_a_window_is_answered_alike(
    acted6, acted6_files, demo_corpus, seconds
):
    phone = phone_of(acted6_files["float32"])
    for y in waves_of(demo_corpus, 7, step=80, n_samples=int(seconds * 16000)):
        answer = answers(phone, y)
        assert np.abs(answer["probabilities"][0] - acted6.probabilities([y])[0]).max() < 1e-3
        assert np.abs(answer["embedding"][0] - acted6.embed([y])[0]).max() < 1e-3
        decibels = answer["decibels"][0, : 1 + len(y) // 256]
        mel = extract_features(y, config=acted6.config)
        assert np.abs(np.maximum(decibels, decibels.max() - 80) - mel).max() < 0.01


def test_8_bits_answer_alike_for_mfccs(tiny_recognizer, demo_corpus, tmp_path):
    phone = phone_of(export_phone(tiny_recognizer, tmp_path / "a.tflite", precision="int8"))
    waves = waves_of(demo_corpus, 28, step=20)
    expected = tiny_recognizer.probabilities(waves)
    difference = np.abs([ask(phone, y) for y in waves] - expected).max()
    assert difference < 0.2 * np.ptp(expected, axis=0).max()


def test_smaller_numbers_make_a_smaller_file(acted6_files):
    sizes = [acted6_files[name].stat().st_size for name in ("int8", "float16", "float32")]
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.4 * sizes[2]


def test_a_file_is_written_and_nothing_beside_it(acted6_files):
    folder = acted6_files["int8"].parent
    assert sorted(file.name for file in folder.iterdir()) == ["float16", "float32", "int8"]


def test_a_frame_that_a_phone_cannot_transform_is_refused(mel_recognizer, monkeypatch, tmp_path):
    monkeypatch.setattr(mel_recognizer, "config", FeatureConfig(n_fft=400))
    with pytest.raises(ValueError, match="n_fft=400 does not work on a phone; use a power of 2"):
        export_phone(mel_recognizer, tmp_path / "a.tflite")


def test_frames_may_leave_gaps(tiny_recognizer, demo_corpus, monkeypatch, tmp_path):
    monkeypatch.setattr(tiny_recognizer, "config", FeatureConfig(hop_length=768))
    monkeypatch.setattr(tiny_recognizer, "_compiled", {})
    phone = phone_of(export_phone(tiny_recognizer, tmp_path / "a.tflite"))
    waves = waves_of(demo_corpus, 7, step=80)
    expected = tiny_recognizer.probabilities(waves)
    assert np.abs([ask(phone, y) for y in waves] - expected).max() < 1e-3


def test_another_precision_is_refused(tiny_recognizer, tmp_path):
    with pytest.raises(ValueError, match="precision='int4' is unknown; use"):
        export_phone(tiny_recognizer, tmp_path / "a.tflite", precision="int4")
