"""A recogniser as one LiteRT file for a phone: raw samples go in, probabilities come out.

A module of its own though one notebook uses it, because an app needs it without a notebook.

Notebook: 10_deploy.
"""

import tempfile
from pathlib import Path

import numpy as np
import scipy

from ..audio import write_whole
from ..features import window_and_filters
from ..models import import_keras, quiet


def _front_end(config):
    """Make the layer that turns samples into MFCCs or log-mels, of operations that a phone has.

    A converter to 8 bits rounds constant weights only, and with them what they are multiplied by.
    A power spectrum does not survive that, so the matrices here are multiplied by a 1 that the
    converter cannot foresee, and stay as they are.
    """
    keras, ops = import_keras(), import_keras().ops
    window, filters = window_and_filters(config.sr, config.n_fft, config.n_mels)
    filters = filters.toarray().T
    cosines = scipy.fft.dct(np.eye(config.n_mels, dtype=np.float32), norm="ortho")

    class FrontEnd(keras.layers.Layer):
        def call(self, y):
            one = ops.sign(ops.abs(y[0, 0]) + 1)
            padded = ops.pad(y, [[0, 0], [config.n_fft // 2] * 2])
            frames = ops.extract_sequences(padded, config.n_fft, config.hop_length)
            real, imaginary = ops.rfft(frames * window)
            power = ops.matmul(real**2 + imaginary**2, one * filters)
            decibels = ops.log(ops.maximum(power, 1e-10)) * (10 / np.log(10))
            loudest = ops.max(decibels, axis=(1, 2), keepdims=True)
            decibels = ops.maximum(decibels, loudest - 80)
            if config.kinds == ("mel",):
                return decibels
            return ops.matmul(decibels, one * cosines[:, : config.n_mfcc])

    return FrontEnd()


def export_phone(recognizer, path, *, precision="float32"):
    """Write a recogniser, features included, as a ``.tflite`` file of built-in operations.

    Parameters
    ----------
    recognizer : EmotionRecognizer
    path : str or Path
        The file to write.
    precision : {"float32", "float16", "int8"}
        Of the network's weights; int8 also rounds what they are multiplied by. The features are
        computed with 32 bits in any case.

    Returns
    -------
    Path
        The file. Its input is ``(1, duration * sr)`` float32 samples, always a full window;
        its output ``(1, n_emotions)``, in the order of ``emotions``.

    Raises
    ------
    ValueError
        If ``precision`` is none of the three, or the features are neither MFCCs nor log-mel spectra
        of the whole clip, or ``n_fft`` is no power of 2.

    Notes
    -----
    Notebook: 10_deploy.
    """
    if precision not in ("float32", "float16", "int8"):
        raise ValueError(f'precision={precision!r} is unknown; use "float32", "float16" or "int8".')
    config = recognizer.config
    if config.kinds not in (("mfcc",), ("mel",)) or config.trim:
        settings = f"kinds={config.kinds} and trim={config.trim} do not work on a phone"
        raise ValueError(f'{settings}; use kinds=("mfcc",) or ("mel",), and trim=None.')
    if config.n_fft & (config.n_fft - 1):
        raise ValueError(f"n_fft={config.n_fft} does not work on a phone; use a power of 2.")
    keras = import_keras()
    import tensorflow as tf

    shape = (1, int(config.duration * config.sr))
    samples = keras.Input(batch_shape=shape)
    outputs = recognizer.model(_front_end(config)(samples))
    with tempfile.TemporaryDirectory() as folder, quiet():
        signature = [tf.TensorSpec(shape, tf.float32)]
        keras.Model(samples, outputs).export(
            folder, format="tf_saved_model", input_signature=signature, verbose=False
        )
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        content = converter.convert()
    path = Path(path)
    write_whole(path, content)
    return path
