"""The network is the one described, repeats itself, and treats padding as nothing."""

import numpy as np
import pytest

from ser_utils import build_lstm, import_keras, set_seed

keras = import_keras()


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).normal(3, 2, (20, 30, 5)).astype(np.float32)


@pytest.fixture
def sequence_model(frames):
    normalization = keras.layers.Normalization()
    normalization.adapt(frames.reshape(-1, 5))
    set_seed(0)
    return build_lstm((None, 5), 3, units=8, normalization=normalization)


def test_the_reference_model_has_the_parameters_of_the_original():
    model = build_lstm((40, 1), 7)
    assert model.count_params() == 305_799
    assert model.loss == "categorical_crossentropy"
    assert isinstance(model.optimizer, keras.optimizers.Adam)


def test_layers_are_in_the_order_described(sequence_model):
    kinds = [type(layer).__name__ for layer in sequence_model.layers]
    assert kinds[:3] == ["Masking", "Normalization", "LSTM"]
    assert kinds[3:] == ["Dropout", "Dense", "Dropout", "Dense", "Dropout", "Dense"]
    assert [layer.units for layer in sequence_model.layers[4::2]] == [128, 64, 3]


def test_dropout_is_the_share_asked_for():
    model = build_lstm((40, 1), 7, dropout=0.35)
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.35] * 3


def test_a_padded_clip_and_its_short_form_give_the_same_probabilities(sequence_model, frames):
    padded = np.pad(frames, ((0, 0), (0, 50), (0, 0)))
    short, long = (sequence_model.predict(X, verbose=0) for X in (frames, padded))
    np.testing.assert_allclose(short, long, atol=1e-6)
    np.testing.assert_allclose(short.sum(axis=1), 1, atol=1e-5)


def test_the_saved_model_needs_nothing_beside_it(sequence_model, frames, tmp_path):
    sequence_model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.predict(frames, verbose=0), sequence_model.predict(frames, verbose=0), atol=1e-6
    )


def test_normalization_makes_the_model_blind_to_units(frames):
    answers = []
    for scale in (1, 100):
        normalization = keras.layers.Normalization()
        normalization.adapt(frames.reshape(-1, 5) * scale)
        set_seed(0)
        model = build_lstm((None, 5), 3, units=8, normalization=normalization)
        answers.append(model.predict(frames * scale, verbose=0))
    np.testing.assert_allclose(*answers, atol=1e-4)


def test_one_seed_gives_one_training(frames):
    labels = np.eye(3)[np.arange(20) % 3]
    losses = []
    for seed in (1, 1, 2):
        set_seed(seed)
        model = build_lstm((30, 5), 3, units=8)
        losses.append(model.fit(frames, labels, epochs=2, verbose=0).history["loss"])
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_it_can_learn(frames):
    labels = np.arange(20) % 2
    X = (frames - 3) / 2 + 2 * labels[:, None, None]
    set_seed(0)
    model = build_lstm((30, 5), 2, units=16)
    history = model.fit(X, np.eye(2)[labels], epochs=30, verbose=0).history
    assert history["accuracy"][-1] >= 0.9
