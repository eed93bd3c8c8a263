"""The file for the phone says of raw samples what the recogniser says."""

import numpy as np
import pytest

from ser_utils import EmotionRecognizer, FeatureConfig, load_audio, scan_corpus, set_seed
from ser_utils.deploy.phone import export_phone
from ser_utils.models import build_crnn


def interpreter_of(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    return interpreter


def ask(interpreter, y):
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], y[None])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]


@pytest.fixture(scope="module")
def mel_recognizer(tiny_recognizer):
    set_seed(0)
    model, config = build_crnn(64, 3, width=16, units=8), FeatureConfig(kinds=("mel",))
    names = tiny_recognizer.emotions
    return EmotionRecognizer(model, names, config=config, about=tiny_recognizer.about)


def waves_of(demo_corpus, n, step):
    clips = scan_corpus(demo_corpus)["path"].iloc[::step][:n]
    return [np.resize(load_audio(clip)[0], 64000) for clip in clips]


@pytest.mark.parametrize(("precision", "most"), [("float32", 1e-3), ("float16", 0.02)])
def test_probabilities_agree_on_200_clips(tiny_recognizer, demo_corpus, tmp_path, precision, most):
    path = export_phone(tiny_recognizer, tmp_path / "a.tflite", precision=precision)
    interpreter = interpreter_of(path)
    shape = interpreter.get_input_details()[0]["shape"]
    assert shape.tolist() == [1, 64000]
    waves = waves_of(demo_corpus, 200, step=2)
    expected = tiny_recognizer.probabilities(waves)
    got = np.array([ask(interpreter, y) for y in waves])
    assert len(got) == 200
    assert np.abs(got - expected).max() < most


def test_the_network_of_notebook_7_agrees_as_well(mel_recognizer, demo_corpus, tmp_path):
    interpreter = interpreter_of(export_phone(mel_recognizer, tmp_path / "a.tflite"))
    waves = waves_of(demo_corpus, 28, step=20)
    expected = mel_recognizer.probabilities(waves)
    assert np.ptp(expected, axis=0).max() > 0.01  # its answers do differ
    assert np.abs([ask(interpreter, y) for y in waves] - expected).max() < 1e-3


@pytest.mark.parametrize("settings", [{"kinds": ("chroma",)}, {"trim": 40.0}])
def test_features_that_a_phone_does_not_have_are_refused(
    mel_recognizer, monkeypatch, tmp_path, settings
):
    monkeypatch.setattr(mel_recognizer, "config", FeatureConfig(**settings))
    with pytest.raises(ValueError, match="do not work on a phone; use kinds="):
        export_phone(mel_recognizer, tmp_path / "a.tflite")


def test_smaller_numbers_make_a_smaller_file(tiny_recognizer, tmp_path):
    sizes = [
        export_phone(tiny_recognizer, tmp_path / name, precision=name).stat().st_size
        for name in ("int8", "float16", "float32")
    ]
    assert sizes == sorted(sizes)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["float16", "float32", "int8"]


def test_another_precision_is_refused(tiny_recognizer, tmp_path):
    with pytest.raises(ValueError, match="precision='int4' is unknown; use"):
        export_phone(tiny_recognizer, tmp_path / "a.tflite", precision="int4")
