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
    """Make the function from samples to MFCCs or log-mels, of operations that a phone has.

    A converter to 8 bits rounds constant weights only, and with them what they are multiplied by.
    A power spectrum does not survive that, so the matrices here are multiplied by a 1 that the
    converter cannot foresee, and stay as they are.
    """
    import tensorflow as tf

    window, filters = window_and_filters(config.sr, config.n_fft, config.n_mels)
    filters = filters.toarray().T
    cosines = scipy.fft.dct(np.eye(config.n_mels, dtype=np.float32), norm="ortho")

    def front_end(samples, n_samples):
        one = tf.sign(tf.abs(samples[0, 0]) + 1)
        padded = tf.pad(samples, [[0, 0], [config.n_fft // 2] * 2])
        frames = tf.signal.frame(padded, config.n_fft, config.hop_length)
        power = tf.abs(tf.signal.rfft(frames * window)) ** 2
        decibels = tf.math.log(power @ (one * filters)) * (10 / np.log(10))
        decibels = tf.maximum(decibels, -100)  # not the power: 16 bits would make 0 of 1e-10
        heard = (tf.range(frames.shape[1]) <= n_samples // config.hop_length)[:, None]
        loudest = tf.reduce_max(tf.where(heard, decibels, -100.0))
        features = tf.maximum(decibels, loudest - 80)
        if config.kinds == ("mfcc",):
            features = features @ (one * cosines[:, : config.n_mfcc])
        return tf.where(heard, features, 0), decibels

    return front_end


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
        The file. Into its signature "serve" go

        - ``samples``, ``(1, duration * sr)`` of float32, full scale +-1, filled up with zeros,
        - ``n_samples``, ``(1,)`` of int32: how many of them are sound.

        Out of it come

        - ``probabilities``, ``(1, n_emotions)``, in the order of ``emotions``,
        - ``embedding``, ``(1, n_numbers)``, as from `EmotionRecognizer.embed`,
        - ``decibels``, ``(1, n_frames, n_mels)``, log-mel spectra to draw: the first
          ``1 + n_samples // hop_length`` frames are those of the sound.

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
    import tensorflow as tf

    keras, front_end = import_keras(), _front_end(config)
    layers = recognizer.model.layers
    model = keras.Model(recognizer.model.inputs, [layers[-1].output, layers[-1].input])

    def answer(samples, n_samples):
        features, decibels = front_end(samples, n_samples)
        probabilities, embedding = model(features, training=False)
        return {"probabilities": probabilities, "embedding": embedding, "decibels": decibels}

    samples = tf.TensorSpec((1, int(config.duration * config.sr)), tf.float32, "samples")
    n_samples = tf.TensorSpec((1,), tf.int32, "n_samples")
    with tempfile.TemporaryDirectory() as folder, quiet():
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint("serve", answer, input_signature=[samples, n_samples])
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        content = converter.convert()
    path = Path(path)
    write_whole(path, content)
    return path
