"""Warped, hidden, mixed and cropped spectra are what was promised, and the clips stay untouched."""

import numpy as np
import pytest

from ser_utils import augmentation, clip_batches

LENGTHS = np.array([60, 45, 30, 52])
N_MELS = 40
NOTHING = {"tract": 0, "tempo": 0, "gain": 0, "tilt": 0}
CHANGES = {
    "warp_voices": lambda X, Y, rng: augmentation.warp_voices(X, rng),
    "add_noise": lambda X, Y, rng: augmentation.add_noise(X, rng),
    "mask_spectra": lambda X, Y, rng: augmentation.mask_spectra(X, rng),
    "crop_times": lambda X, Y, rng: augmentation.crop_times(X, rng, frames=20),
    "mix_clips": lambda X, Y, rng: augmentation.mix_clips(X, Y, rng)[0],
    "new_voices": lambda X, Y, rng: augmentation.new_voices(X, Y, rng)[0],
}


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(name="X")
def make_clips():
    """Four clips of noise below 0 dB, so that a zero is nothing but filling."""
    noise = rng().uniform(-60, -10, (len(LENGTHS), LENGTHS.max(), N_MELS)).astype(np.float32)
    return noise * (np.arange(LENGTHS.max()) < LENGTHS[:, None])[..., None]


@pytest.fixture(name="Y")
def make_labels():
    return np.eye(3, dtype=np.float32)[[0, 1, 2, 1]]


@pytest.mark.parametrize("name", CHANGES)
def test_the_seed_alone_decides_and_the_clips_stay_as_they_were(name, X, Y):
    before = X.copy(), Y.copy()
    first, again, other = (CHANGES[name](X, Y, rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_allclose(first, again, atol=1e-4)  # dB; the warp is a product by BLAS
    assert np.abs(first - other).max() > 0.1
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(Y, before[1])


@pytest.mark.parametrize("name", CHANGES)
def test_a_memory_mapped_array_is_read_and_float32_comes_back(name, X, Y, tmp_path):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    changed = CHANGES[name](mapped, Y, rng())
    assert changed.dtype == np.float32
    assert np.isfinite(changed).all()


def test_frames_are_counted_without_the_filling(X):
    assert augmentation.count_frames(X).tolist() == LENGTHS.tolist()


def test_noise_is_as_loud_as_asked_for_and_the_filling_stays_empty(X):
    noisy = augmentation.add_noise(X, rng(), low=10, high=10, tilt=0)
    power, before = ((10 ** (part / 10) * (X != 0)).sum(axis=(1, 2)) for part in (noisy, X))
    np.testing.assert_allclose(before / (power - before), 10, rtol=0.1)  # 10 dB is ten times
    np.testing.assert_array_equal(noisy == 0, X == 0)
    silent = augmentation.add_noise(X, rng(), low=90, high=90, tilt=0)
    np.testing.assert_allclose(silent, X, atol=0.1)
    deep = X - 200 * (X < -55) * (X != 0)
    noisy = augmentation.add_noise(deep, rng(), low=90, high=90, tilt=0)
    low = np.where(X != 0, noisy, np.inf).min(axis=(1, 2))
    high = np.where(X != 0, noisy, -np.inf).max(axis=(1, 2))
    assert (high - low).max() == pytest.approx(80)


def test_a_warp_with_limits_of_zero_changes_nothing(X):
    np.testing.assert_allclose(augmentation.warp_voices(X, rng(), **NOTHING), X, atol=1e-4)


def test_tempo_changes_the_number_of_frames_as_drawn_and_nothing_else_is_filled(X):
    X = np.pad(X, ((0, 0), (0, 30), (0, 0)))  # room for slower clips
    warped = augmentation.warp_voices(X, rng(6), **{**NOTHING, "tempo": 0.3})
    draws = rng(6)
    draws.uniform(0, 0, (4, 1))  # the vocal tract comes first
    expected = np.ceil(LENGTHS * np.exp(-draws.uniform(-0.3, 0.3, (4, 1))[:, 0]))
    found = augmentation.count_frames(warped)
    assert found.tolist() == expected.tolist()
    assert len(set(np.sign(found - LENGTHS))) == 2  # some slower, some faster
    for clip, n in zip(warped, found, strict=True):
        assert clip[:n].any(axis=1).all()
        assert not clip[n:].any()


def test_a_slower_clip_that_does_not_fit_is_cut_off(X):
    warped = augmentation.warp_voices(X, rng(3), tempo=0.3)
    assert warped.shape == X.shape
    assert (augmentation.count_frames(warped) <= LENGTHS.max()).all()


def test_tempo_moves_a_moment_to_where_it_belongs():
    X = np.full((1, 100, 8), -50, np.float32)
    X[0, 40:] = -20  # a step
    warped = augmentation.warp_voices(X, rng(5), **{**NOTHING, "tempo": 0.3})
    draws = rng(5)
    draws.uniform(0, 0, (1, 1))
    faster = np.exp(draws.uniform(-0.3, 0.3, (1, 1))[0, 0])
    assert abs(np.argmax(warped[0, :, 0] > -35) - 40 / faster) <= 1


@pytest.mark.parametrize("seed", range(4))
def test_a_tone_moves_to_the_band_that_the_stretch_says(seed):
    band, X = 20, np.full((1, 10, N_MELS), -80, np.float32)
    X[..., band - 1 : band + 2] = -20, -10, -20
    warped = augmentation.warp_voices(X, rng(seed), **{**NOTHING, "tract": 0.4})
    stretch = np.exp(rng(seed).uniform(-0.4, 0.4, (1, 1))[0, 0])
    assert abs(warped[0, 0].argmax() - band / stretch) <= 0.51
    by_hand = np.minimum(np.arange(N_MELS) * stretch, N_MELS - 1)
    by_hand = np.interp(by_hand, np.arange(N_MELS), X[0, 0])
    np.testing.assert_allclose(warped[0, 0], by_hand, atol=1e-3)


def test_gain_moves_all_bands_and_tilt_the_ends_against_each_other(X):
    louder = augmentation.warp_voices(X, rng(), **{**NOTHING, "gain": 6}) - X
    for change, n in zip(louder, LENGTHS, strict=True):
        np.testing.assert_allclose(change[:n], change[0, 0], atol=1e-3)
        assert 0 < abs(change[0, 0]) <= 6
    tilted = augmentation.warp_voices(X, rng(), **{**NOTHING, "tilt": 4}) - X
    ends = tilted[:, 0, [0, -1]]
    np.testing.assert_allclose(ends.sum(axis=1), 0, atol=1e-3)
    assert (np.abs(ends) <= 4).all()
    assert (np.abs(ends) > 0.01).all()


def test_no_voice_goes_beyond_the_limits():
    X = np.full((500, 2, 3), -30, np.float32)
    gains = augmentation.warp_voices(X, rng(), **{**NOTHING, "gain": 6})[:, 0, 0] + 30
    assert -6 <= gains.min() < -5
    assert 5 < gains.max() <= 6


def test_at_most_the_share_is_hidden_under_the_mean(X):
    settings = {"times": 1, "bands": 0, "share": 0.2}
    for seed in range(20):
        for clip, masked, n in zip(
            X, augmentation.mask_spectra(X, rng(seed), **settings), LENGTHS, strict=True
        ):
            hidden = (clip != masked).all(axis=1)
            assert hidden.sum() <= np.ceil(0.2 * n)
            assert not hidden[n:].any()
            np.testing.assert_allclose(masked[hidden], clip[:n].mean(), rtol=1e-4)
            np.testing.assert_array_equal(masked[~hidden], clip[~hidden])


def test_whole_bands_are_hidden_and_something_is(X):
    settings = {"times": 0, "bands": 1, "share": 0.5}
    masked = [augmentation.mask_spectra(X, rng(seed), **settings) for seed in range(5)]
    hidden = [(X[i, :n] != m[i, :n]).all(axis=0) for m in masked for i, n in enumerate(LENGTHS)]
    assert max(bands.sum() for bands in hidden) <= N_MELS / 2
    assert np.mean([bands.sum() for bands in hidden]) > N_MELS / 8


@pytest.mark.parametrize("name", ["warp_voices", "mask_spectra", "mix_clips"])
def test_filling_stays_filling(name, X, Y):
    for seed in range(5):
        longest = LENGTHS.max() if name == "mix_clips" else LENGTHS * np.exp(0.2) + 1
        changed = CHANGES[name](X, Y, rng(seed))
        filling = np.arange(X.shape[1]) >= np.broadcast_to(longest, len(X))[:, None]
        assert not changed[filling].any()
    assert not augmentation.mask_spectra(X, rng())[X == 0].any()


def test_mixed_labels_add_up_to_one_and_the_clip_itself_prevails(X, Y):
    for seed in range(20):
        _, mixed = augmentation.mix_clips(X, Y, rng(seed), alpha=1)
        np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-6)
        assert mixed.min() >= 0
        assert (mixed[Y == 1] >= 0.5).all()


def test_mixed_clips_lie_between_the_two_with_the_share_of_their_labels(Y):
    X = np.full((4, 10, 5), 1, np.float32) * np.array([-10, -20, -30, -20])[:, None, None]
    mixed, shares = augmentation.mix_clips(X.astype(np.float32), Y, rng(1), alpha=1)
    np.testing.assert_allclose(mixed[:, 0, 0], shares @ [-10, -20, -30], atol=1e-4)
    assert len(np.unique(mixed)) > 1


def test_where_one_of_the_two_has_ended_the_other_goes_on_alone():
    X = np.full((2, 10, 3), -20, np.float32)
    X[1, 6:] = 0
    X[1, :6] = -40
    mixed, _ = augmentation.mix_clips(X, np.eye(2, dtype=np.float32), rng(4), alpha=1)
    seeds = [augmentation.mix_clips(X, np.eye(2, dtype=np.float32), rng(s))[0] for s in range(9)]
    for clips in (mixed, *seeds):
        tails = clips[:, 6:]
        assert np.isin(tails, (-20, 0)).all()
        assert ((clips[:, :6] >= -40) & (clips[:, :6] <= -20)).all()


def test_a_crop_has_the_frames_asked_for_all_of_them_real():
    numbers = np.arange(1, 61, dtype=np.float32)[None, :, None] * np.ones((4, 1, 3), np.float32)
    X = numbers * (np.arange(60) < LENGTHS[:, None])[..., None]
    starts = set()
    for seed in range(30):
        cropped = augmentation.crop_times(X, rng(seed), frames=25)
        assert cropped.shape == (4, 25, 3)
        assert (np.diff(cropped[..., 0], axis=1) == 1).all()  # in a row, none of them filling
        starts |= set(cropped[:, 0, 0])
    assert min(starts) == 1
    assert max(starts) > 20


def test_a_clip_shorter_than_the_crop_is_kept_whole(X):
    cropped = augmentation.crop_times(X, rng(), frames=50)
    short = LENGTHS <= 50
    np.testing.assert_array_equal(cropped[short], X[short, :50])
    np.testing.assert_array_equal(augmentation.crop_times(X, rng(), frames=500), X)


def test_batches_of_new_voices_differ_from_epoch_to_epoch_and_repeat_with_the_seed(X, Y):
    def epochs(seed):
        settings = {"batch_size": 4, "seed": seed, "augment": augmentation.new_voices}
        batches = clip_batches(X, Y, np.arange(4), **settings)
        first = batches[0]
        batches.on_epoch_end()
        return first, batches[0]

    (first, labels), (second, _) = epochs(0)
    assert not np.array_equal(first, second)
    np.testing.assert_allclose(first, epochs(0)[0][0], atol=1e-4)  # dB, by BLAS
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-5)
