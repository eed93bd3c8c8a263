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

    The spectrum is a convolution of the samples with windowed cosines and sines, in steps of one
    hop; mel bands and cosine transform are products with matrices.
    """
    keras, ops = import_keras(), import_keras().ops
    angles = 2 * np.pi * np.outer(np.arange(config.n_fft), np.arange(config.n_fft // 2 + 1))
    waves = np.hstack([np.cos(angles / config.n_fft), np.sin(angles / config.n_fft)])
    window, filters = window_and_filters(config.sr, config.n_fft, config.n_mels)
    filters = filters.toarray()
    kernels = (window[:, None] * waves)[:, None].astype(np.float32)
    cosines = scipy.fft.dct(np.eye(config.n_mels, dtype=np.float32), norm="ortho")

    class FrontEnd(keras.layers.Layer):
        def call(self, y):
            padded = ops.pad(y, [[0, 0], [config.n_fft // 2] * 2])[..., None]
            real, imaginary = ops.split(ops.conv(padded, kernels, config.hop_length), 2, axis=2)
            power = ops.matmul(real**2 + imaginary**2, filters.T)
            decibels = ops.log(ops.maximum(power, 1e-10)) * (10 / np.log(10))
            loudest = ops.max(decibels, axis=(1, 2), keepdims=True)
            decibels = ops.maximum(decibels, loudest - 80)
            if config.kinds == ("mel",):
                return decibels
            return ops.matmul(decibels, cosines[:, : config.n_mfcc])

    return FrontEnd()


def export_phone(recognizer, path, *, precision="float32"):
    """Write a recogniser, features included, as a ``.tflite`` file of built-in operations.

    Parameters
    ----------
    recognizer : EmotionRecognizer
    path : str or Path
        The file to write.
    precision : {"float32", "float16", "int8"}
        Of the weights. Half precision halves the file; int8 quarters it and also rounds the waves
        that the spectrum is made with, which may cost most of the accuracy: measure.

    Returns
    -------
    Path
        The file. Its input is ``(1, duration * sr)`` float32 samples, always a full window;
        its output ``(1, n_emotions)``, in the order of ``emotions``.

    Raises
    ------
    ValueError
        If ``precision`` is none of the three, or the features are neither MFCCs nor log-mel spectra
        of the whole clip.

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
