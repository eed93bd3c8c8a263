"""The network is the one described, repeats itself, and treats padding as nothing."""

import numpy as np
import pytest
import scipy
from sklearn.linear_model import LogisticRegression

from ser_utils import build_lstm, clip_batches, import_keras, set_seed
from ser_utils.models import adapt_last_layer, build_crnn

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
    np.testing.assert_allclose(short, long, atol=1e-5)
    np.testing.assert_allclose(short.sum(axis=1), 1, atol=1e-5)


def test_the_saved_model_needs_nothing_beside_it(sequence_model, frames, tmp_path):
    sequence_model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
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
    # Threads may add up in another order, so the last digits are not promised.
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert losses[0] != pytest.approx(losses[2], rel=1e-2)


def test_it_can_learn(frames):
    labels = np.arange(20) % 2
    X = (frames - 3) / 2 + 2 * labels[:, None, None]
    set_seed(0)
    model = build_lstm((30, 5), 2, units=16)
    history = model.fit(X, np.eye(2)[labels], epochs=30, verbose=0).history
    assert history["accuracy"][-1] >= 0.9


LABELS = np.eye(3, dtype=np.float32)[np.arange(20) % 3]


def test_an_epoch_of_batches_has_every_clip_once(frames):
    batches = clip_batches(frames, LABELS, np.arange(1, 20, 2), batch_size=4, seed=0)
    first = [batches[i] for i in range(len(batches))]
    assert [len(X) for X, _ in first] == [4, 4, 2]
    read = np.concatenate([X for X, _ in first])
    rows = [int(np.flatnonzero((frames == clip).all(axis=(1, 2)))[0]) for clip in read]
    assert sorted(rows) == list(range(1, 20, 2))
    np.testing.assert_array_equal(np.concatenate([Y for _, Y in first]), LABELS[rows])
    batches.on_epoch_end()
    assert not np.array_equal(batches[0][0], first[0][0])  # another order


def test_batches_without_a_seed_keep_the_order(frames):
    batches = clip_batches(frames, LABELS, [5, 3, 1], batch_size=2)
    batches.on_epoch_end()
    np.testing.assert_array_equal(batches[0][0], frames[[5, 3]])
    np.testing.assert_array_equal(batches[1][1], LABELS[[1]])


def test_training_from_the_disk_gives_what_training_from_memory_gives(frames, tmp_path):
    np.save(tmp_path / "X.npy", frames)
    on_disk = np.load(tmp_path / "X.npy", mmap_mode="r")
    answers = []
    for X in (frames, on_disk):
        set_seed(0)
        model = build_lstm((None, 5), 3, units=8)
        model.fit(clip_batches(X, LABELS, range(20), batch_size=4, seed=0), epochs=3, verbose=0)
        answers.append(model.predict(frames, verbose=0))
    np.testing.assert_allclose(*answers, atol=1e-3)  # threads may add up in another order


class Counting:
    """An array that notes how many clips are read at once."""

    def __init__(self, X):
        self.X, self.most = X, 0

    def __getitem__(self, rows):
        self.most = max(self.most, len(rows))
        return self.X[rows]


def test_training_never_reads_more_than_a_batch(frames):
    X = Counting(frames)
    model = build_lstm((None, 5), 3, units=8)
    batches = clip_batches(X, LABELS, np.arange(16), batch_size=4, seed=0)
    held_out = clip_batches(X, LABELS, np.arange(16, 20), batch_size=4)
    model.fit(batches, validation_data=held_out, epochs=2, shuffle=False, verbose=0)
    assert X.most == 4


@pytest.fixture(scope="module")
def spectra():
    """20 log-mel spectra of 40 frames, each filled up with 11 frames of zeros."""
    X = np.random.default_rng(0).normal(-40, 10, (20, 40, 16)).astype(np.float32)
    return np.pad(X, ((0, 0), (0, 11), (0, 0)))


@pytest.fixture(scope="module")
def crnn(spectra):
    set_seed(0)
    model = build_crnn(16, 3, n_mfcc=8, width=8, units=4, steps=4)
    Y = np.eye(3, dtype=np.float32)[np.arange(20) % 3]
    model.fit(spectra, Y, verbose=0)  # so that its normalisation has seen something
    return model


def test_filling_changes_nothing_for_the_network_for_new_voices(crnn, spectra):
    short = crnn.predict(spectra[:, :40], verbose=0)
    for n in (1, 2, 3, 50):  # each of the halvings of the frames has its own rest
        padded = np.pad(spectra[:, :40], ((0, 0), (0, n), (0, 0)))
        np.testing.assert_allclose(crnn.predict(padded, verbose=0), short, atol=1e-4)


def test_its_first_layer_makes_mfccs(crnn, spectra):
    mfcc = keras.Model(crnn.input, crnn.get_layer("mfcc").output).predict(spectra, verbose=0)
    expected = scipy.fft.dct(spectra, norm="ortho")[..., :8]
    np.testing.assert_allclose(mfcc, expected, rtol=1e-4, atol=1e-3)
    assert not crnn.get_layer("mfcc").trainable


def test_the_view_by_clip_does_not_hear_level_and_tilt(spectra):
    change = (6 + np.linspace(-4, 4, 16, dtype=np.float32)) * (spectra != 0)
    differ = {}
    for views in (("clip",), ("clip", "training")):
        set_seed(0)
        model = build_crnn(16, 3, n_mfcc=8, width=8, units=4, views=views)
        answers = (model.predict(X, verbose=0) for X in (spectra, spectra + change))
        differ[views] = np.abs(np.subtract(*answers)).max()
    assert differ["clip",] < 1e-4 < differ["clip", "training"]


def test_attention_is_on_frames_that_are_there(crnn, spectra):
    weights = keras.Model(crnn.input, crnn.get_layer("attention").output).predict(
        spectra, verbose=0
    )
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    assert np.all(weights[:, :10] > 0)  # 40 frames are 10 fours
    assert np.all(weights[:, 10:] == 0)


def test_the_network_for_new_voices_is_saved_whole(crnn, spectra, tmp_path):
    crnn.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    answers = (model.predict(spectra, verbose=0) for model in (loaded, crnn))
    np.testing.assert_allclose(*answers, atol=1e-6)


def test_batches_are_augmented_anew_in_every_pass(frames):
    Y = np.eye(3)[np.arange(20) % 3]
    louder = lambda X, Y, rng: (X + rng.uniform(), Y)  # noqa: E731
    batches = clip_batches(frames, Y, np.arange(8), batch_size=4, augment=louder)
    first, ahead = batches[0][0], batches[0][0]
    np.testing.assert_array_equal(first, ahead)  # Keras may read a batch twice
    batches.on_epoch_end()
    second = batches[0][0]
    assert not np.allclose(first, second)
    np.testing.assert_allclose(np.ptp(first - frames[:4]), 0, atol=1e-5)
    again = clip_batches(frames, Y, np.arange(8), batch_size=4, augment=louder)
    np.testing.assert_array_equal(again[0][0], first)


@pytest.fixture
def voice():
    """A layer for three classes that lie around corners, and clips of a voice that is shifted."""
    rng, corners = np.random.default_rng(0), 3 * np.eye(3, 5)
    labels = np.repeat(np.arange(3), 40)
    clips = corners[labels] + [0, 3.5, 0, 0, 0] + rng.normal(0, 1, (120, 5))
    return corners, (corners.T, np.array([0.0, -1.0, 0.5])), clips, labels


def accuracy(layer, clips, labels):
    return np.mean((clips @ layer[0] + layer[1]).argmax(axis=1) == labels)


def test_a_few_clips_adapt_the_last_layer_and_more_clips_more(voice):
    corners, layer, clips, labels = voice
    right = [accuracy(layer, clips, labels)]
    for k in (1, 5, 20):
        chosen = np.concatenate([np.flatnonzero(labels == c)[:k] for c in range(3)])
        adapted = adapt_last_layer(clips[chosen], labels[chosen], *layer, prototypes=corners)
        right.append(accuracy(adapted, clips, labels))
    assert right[0] < 0.8
    assert right[0] < right[1] < right[3] > 0.95


def test_without_anything_known_it_is_logistic_regression(voice):
    _, (kernel, bias), clips, labels = voice
    adapted = adapt_last_layer(clips, labels, 0 * kernel, 0 * bias, pull=0.5)
    ones = np.ones((len(clips), 1))
    same = LogisticRegression(C=1 / 0.5, fit_intercept=False, tol=1e-8, max_iter=1000)
    same.fit(np.hstack([clips, ones]), labels)
    np.testing.assert_allclose(np.vstack(adapted), same.coef_.T, atol=1e-2)


def test_a_layer_that_is_held_fast_stays(voice):
    _, layer, clips, labels = voice
    for adapted, part in zip(adapt_last_layer(clips, labels, *layer, pull=1e9), layer, strict=True):
        np.testing.assert_allclose(adapted, part, atol=1e-6)


def test_clips_of_one_class_alone_do_not_make_everything_this_class(voice):
    corners, layer, clips, labels = voice
    lone, others = clips[:8], clips[labels != 0]
    without = adapt_last_layer(lone, labels[:8], *layer, pull=0.1)
    with_means = adapt_last_layer(lone, labels[:8], *layer, prototypes=corners, pull=0.1)
    before, tilted, kept = (
        scipy.special.softmax(others @ kernel + bias, axis=1)[:, 0].mean()
        for kernel, bias in (layer, without, with_means)
    )
    assert tilted > kept + 0.01
    assert kept == pytest.approx(before, abs=0.05)
