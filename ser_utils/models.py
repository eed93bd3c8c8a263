"""From arrays to a trained model: the networks, seeds, a quiet import of Keras, and enrolment.

Notebooks: 04_lstm_train, 09_new_voices.
"""

import logging
import os
from contextlib import contextmanager

import numpy as np
import scipy


@contextmanager
def quiet():
    """Silence what TensorFlow tells of itself, errors in Python excepted.

    Notes
    -----
    It writes its log straight to file descriptor 2, whatever the log level, so that descriptor
    points elsewhere for a while; the rest is logged as INFO.
    """
    kept, nowhere, level = os.dup(2), os.open(os.devnull, os.O_WRONLY), logging.root.manager.disable
    os.dup2(nowhere, 2)
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(level)
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def import_keras():
    """Import Keras on TensorFlow without the pages of log lines that come with it.

    Returns
    -------
    module
        ``keras``.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet():
        import keras

        keras.ops.zeros(1)  # the devices are listed, and logged, at the first tensor
    return keras


def set_seed(seed):
    """Make what follows repeatable: seeds Python, NumPy and TensorFlow.

    Parameters
    ----------
    seed : int
        Any number from 0 to 2**32 - 1.

    Notes
    -----
    On the same processor and versions a training then repeats, but for the last digits: threads
    may add up in another order.
    Notebook: 04_lstm_train.
    """
    import_keras().utils.set_random_seed(seed)


def clip_batches(X, Y, rows, *, batch_size=64, seed=None, augment=None):
    """Read batches of clips from an array as they are needed.

    Parameters
    ----------
    X : np.ndarray [shape=(n_clips, ...)]
        Features, memory-mapped if they are larger than memory.
    Y : np.ndarray [shape=(n_clips, n_classes)]
        One-hot labels.
    rows : np.ndarray [shape=(n,)]
        The clips to read, such as those of the training part.
    batch_size : int
        Clips a batch; the last batch of an epoch has what is left.
    seed : int, optional
        Draws another order of the clips for each epoch; None keeps the order of ``rows``.
    augment : callable, optional
        ``augment(X, Y, rng)`` changes each batch, in every pass anew; `ser_utils.augmentation` has
        `new_voices` for a training part.

    Returns
    -------
    keras.utils.PyDataset
        For ``fit(..., shuffle=False)``, ``evaluate`` and ``predict``.

    Notes
    -----
    Own code because ``fit(X[rows])`` copies all of these clips into memory.
    Notebook: 04_lstm_train.
    """

    rng = np.random.default_rng(seed)

    class ClipBatches(import_keras().utils.PyDataset):
        def __init__(self):
            super().__init__()
            self.passes, self.order = 0, np.asarray(rows)
            self.on_epoch_end()

        def __len__(self):
            return -(-len(self.order) // batch_size)

        def __getitem__(self, i):
            batch = self.order[i * batch_size : (i + 1) * batch_size]
            if augment is None:
                return X[batch], Y[batch]
            # Keras reads ahead: what a batch draws must not hang on how often one was read.
            return augment(X[batch], Y[batch], np.random.default_rng([seed or 0, self.passes, i]))

        def on_epoch_end(self):
            self.passes += 1
            if seed is not None:
                self.order = rng.permutation(self.order)

    return ClipBatches()


def build_lstm(input_shape, n_classes, *, units=256, dropout=0.2, normalization=None):
    """Build and compile the LSTM of this series.

    Parameters
    ----------
    input_shape : tuple of int or None
        Shape of one clip, time first: ``(40, 1)`` for the reference model, ``(None, 40)`` for
        sequences of any length.
    n_classes : int
        Number of emotions.
    units : int
        Size of the LSTM's state.
    dropout : float
        Share of the values set to zero in training after the LSTM and each dense layer, 0 to 1.
    normalization : keras.layers.Normalization, optional
        Already adapted on the *unpadded* training frames. Given one, frames of zeros are masked
        first and the rest is normalised inside the model, which then needs nothing beside it.

    Returns
    -------
    keras.Sequential
        Input, LSTM, Dense 128, Dense 64, softmax; compiled with Adam and categorical
        cross-entropy.

    Notes
    -----
    Hochreiter and Schmidhuber (1997). On input ``(40, 1)`` and 7 emotions it has 305,799
    parameters, as in the project that this series started from. Notebook: 04_lstm_train.
    """
    layers = import_keras().layers
    before = [] if normalization is None else [layers.Masking(mask_value=0.0), normalization]
    model = import_keras().Sequential(
        [
            layers.Input(shape=input_shape),
            *before,
            layers.LSTM(units),
            layers.Dropout(dropout),
            layers.Dense(128, activation="relu"),
            layers.Dropout(dropout),
            layers.Dense(64, activation="relu"),
            layers.Dropout(dropout),
            layers.Dense(n_classes, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    return model


CRNN_STEPS = 1500  # batches of 32 that `build_crnn` is trained on


def build_crnn(
    n_mels,
    n_classes,
    *,
    n_mfcc=40,
    views=("clip", "training"),
    width=128,
    units=64,
    masked=0.1,
    dropout=0.3,
    steps=CRNN_STEPS,
):
    """Build and compile the network that is made for voices it has not heard.

    Parameters
    ----------
    n_mels : int
        Mel bands of the input: log-mel spectra (dB) of any length, filled up with zeros, as
        ``FeatureConfig(kinds=("mel",))`` gives them. They are what `ser_utils.augmentation` warps.
    n_classes : int
        Number of emotions.
    n_mfcc : int
        MFCCs that the first layer makes of them.
    views : tuple of {"clip", "training"}
        What they are normalised by, one view beside the other.
    width, units : int
        Filters of each convolution, and size of the LSTM's state in each direction.
    masked : float
        Share of the coefficients, and of the frames, that are hidden in training, 0 to 1: the idea
        of SpecAugment (Park et al., 2019), after the normalisation instead of before it.
    dropout : float
        Share of the values set to zero in training after each part, 0 to 1.
    steps : int
        Batches that it will be trained on: over them the learning rate falls from 0.001 to 0 along
        a cosine (Loshchilov and Hutter, 2017).

    Returns
    -------
    keras.Model
        Compiled with Adam and cross-entropy, labels smoothed by 0.1 (Szegedy et al., 2016). The
        layer "attention" holds the weight of each fourth frame, [shape=(n_clips, n_frames / 4, 1)].

    Notes
    -----
    Each MFCC is seen twice: normalised by its clip, which takes the voice and the microphone away,
    and by the training part, which keeps level and tilt. Two convolutions halve the frames each, a
    bidirectional LSTM reads them, and attention pools them by learned weights (Mirsamadi et al.,
    2017). What each part is worth is in ``benchmarks/generalize.csv``. Notebook: 09_new_voices.
    """
    keras = import_keras()
    layers, ops = keras.layers, keras.ops
    X = layers.Input((None, n_mels))
    real = ops.cast(ops.any(ops.not_equal(X, 0), axis=2, keepdims=True), "float32")
    cosines = scipy.fft.dct(np.eye(n_mels, dtype=np.float32), norm="ortho")[:, :n_mfcc]
    mfcc = layers.Dense(n_mfcc, use_bias=False, trainable=False, name="mfcc")
    frames = mfcc(X)
    mfcc.set_weights([cosines])

    n_frames = ops.maximum(ops.sum(real, axis=1, keepdims=True), 1)
    mean = ops.sum(frames * real, axis=1, keepdims=True) / n_frames
    variance = ops.sum(ops.square(frames - mean) * real, axis=1, keepdims=True) / n_frames
    seen = {"clip": (frames - mean) / ops.sqrt(variance + 1e-3)}
    seen["training"] = layers.BatchNormalization()(frames, mask=ops.squeeze(real, 2))
    x = ops.concatenate([seen[view] for view in views], axis=2) * real
    x = layers.SpatialDropout1D(masked)(x)
    x = layers.Dropout(masked, noise_shape=(None, None, 1))(x)

    for _ in range(2):
        x = layers.ZeroPadding1D(2)(x)  # "same" would depend on how far a clip is filled up
        x = layers.Conv1D(width, 5, strides=2, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        real = layers.MaxPooling1D(2, padding="same")(real)
        x = layers.Dropout(dropout)(x * real)
    heard = ops.squeeze(real, 2) > 0
    x = layers.Bidirectional(layers.LSTM(units, return_sequences=True))(x, mask=heard)
    importance = layers.Dense(1)(layers.Dense(units, activation="tanh")(x))
    weights = layers.Softmax(axis=1, name="attention")(importance - 1e9 * (1 - real))
    x = layers.Dropout(dropout)(ops.sum(weights * x, axis=1))
    model = keras.Model(X, layers.Dense(n_classes, activation="softmax")(x))
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps)),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        metrics=["accuracy"],
    )
    return model


def adapt_last_layer(embeddings, labels, kernel, bias, *, prototypes=None, pull=1.0):
    r"""Fit the last layer to a few clips of one voice, and keep it near where it was.

    Parameters
    ----------
    embeddings : np.ndarray [shape=(n_clips, n_numbers)]
        What goes into the last layer for each clip.
    labels : np.ndarray of int [shape=(n_clips,)]
        Their classes. Some classes may be missing.
    kernel, bias : np.ndarray [shape=(n_numbers, n_classes)] and [shape=(n_classes,)]
        The layer as it was trained.
    prototypes : np.ndarray [shape=(n_classes, n_numbers)], optional
        Mean embedding of each class in training. It stands in for a class without clips and weighs
        as much as those that the other classes have on average, so that one neutral clip does not
        make everything neutral.
    pull : float
        How strongly the layer is held, above 0. What it knew counts less the more clips there are.

    Returns
    -------
    kernel, bias : np.ndarray
        Of the same shapes.

    Notes
    -----
    It finds the weights :math:`W` with the least

    .. math:: -\sum_i w_i \log p_W(y_i \mid x_i) + \frac{\lambda}{2} \lVert W - W_0 \rVert^2,

    logistic regression with a Gaussian prior around the trained weights :math:`W_0` (Chelba and
    Acero, 2006); :math:`\lambda` is ``pull``, chosen on the folds of RAVDESS and EmoDB;
    ``benchmarks/enrol_scores.csv`` has the scores with it. Own code because scikit-learn's prior is
    always around zero.
    """
    start = np.vstack([kernel, bias])
    weights = np.ones(len(labels))
    if prototypes is not None:
        missing = np.setdiff1d(np.arange(len(bias)), labels)
        weights = np.r_[weights, np.full(len(missing), len(labels) / len(np.unique(labels)))]
        embeddings, labels = np.vstack([embeddings, prototypes[missing]]), np.r_[labels, missing]
    X, Y = np.c_[embeddings, np.ones(len(embeddings))], np.eye(len(bias))[labels]

    def loss_and_gradient(change):
        change = change.reshape(start.shape)
        scores = X @ (start + change)
        log_p = scores - scipy.special.logsumexp(scores, axis=1, keepdims=True)
        loss = -np.sum(weights * (log_p * Y).sum(axis=1)) + pull / 2 * np.sum(change**2)
        gradient = X.T @ (weights[:, None] * (np.exp(log_p) - Y)) + pull * change
        return loss, gradient.ravel()

    least = scipy.optimize.minimize(
        loss_and_gradient, 0 * start.ravel(), jac=True, method="L-BFGS-B"
    )
    adapted = start + least.x.reshape(start.shape)
    return adapted[:-1], adapted[-1]
