"""The file for the phone says of raw samples what the recogniser says."""

import numpy as np
import pytest

from ser_utils import load_audio, scan_corpus
from ser_utils.phone import export_phone


def interpreter_of(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    return interpreter


def ask(interpreter, y):
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], y[None])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]


@pytest.mark.parametrize(("precision", "most"), [("float32", 1e-3), ("float16", 0.02)])
def test_probabilities_agree_on_200_clips(tiny_recognizer, demo_corpus, tmp_path, precision, most):
    path = export_phone(tiny_recognizer, tmp_path / "a.tflite", precision=precision)
    interpreter = interpreter_of(path)
    shape = interpreter.get_input_details()[0]["shape"]
    assert shape.tolist() == [1, 64000]
    clips = scan_corpus(demo_corpus)["path"].iloc[::2].tolist()[:200]
    waves = [np.resize(load_audio(clip)[0], 64000) for clip in clips]
    expected = tiny_recognizer.probabilities(waves)
    got = np.array([ask(interpreter, y) for y in waves])
    assert len(got) == 200
    assert np.abs(got - expected).max() < most


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
