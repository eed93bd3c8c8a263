"""Whatever bytes a file holds: finite features or `AudioError`, in little time and memory."""

import math
import os
import signal
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

import ser_utils
from benchmarks import fuzz
from ser_utils import AudioError, audio, extract_features, load_audio
from ser_utils.audio import audio_info

SUBTYPES = ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"]
LENGTH, RATE = (0, 36), (44, 20)  # shift and bits of a field, for `forged_flac`
LEVELS = [0.0, 1e-42, 1e-30, 1e-4, 0.3, 1.0, 3e4, 2e9, 1e10, 1e30, 3e38]

# The same examples at every run.
quick = settings(max_examples=40, deadline=None, derandomize=True)


def noise(n_samples, channels=1, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n_samples, channels))


def forged_flac(field, value):
    """Bytes of half a second of FLAC that declares something else."""
    data, (shift, n_bits) = fuzz.encode(noise(8000), 16000, "flac"), field
    mask = (1 << n_bits) - 1 << shift  # rate, channels, bits and length share 8 bytes
    others = int.from_bytes(data[18:26], "big") & ~mask
    return fuzz.put(data, 18, (others | value << shift & mask).to_bytes(8, "big"))


def do_harm(path):
    """Stand in for `fuzz.read`: the name of the file says what happens."""
    match Path(path).stem:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            time.sleep(60)
        case "memory":
            np.ones(5 * 10**7)
    return "fine", ""


def test_300_damaged_files_do_no_harm(demo_corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "SECONDS", 20)  # the benchmark asks for 2, of a quiet machine
    results = fuzz.fuzz(fuzz.clips_of(demo_corpus), 300, 0, tmp_path)
    assert len(results) == 300
    assert not fuzz.bad(results)


@quick
@given(
    native_sr=st.integers(1000, 192000),
    channels=st.integers(1, 8),
    n_samples=st.integers(0, 30000),
    level=st.sampled_from(LEVELS),
    subtype=st.sampled_from(SUBTYPES),
)
def test_any_sound_has_finite_features_or_is_refused(
    tmp_path_factory, native_sr, channels, n_samples, level, subtype
):
    path = tmp_path_factory.mktemp("any") / "a.wav"
    if subtype not in ("FLOAT", "DOUBLE"):
        level = min(level, 1)  # libsndfile 1.2.2 crashes when it writes louder ones as u-law
    sf.write(path, level * noise(n_samples, channels), native_sr, subtype=subtype)
    written, _ = sf.read(path, dtype="float32", always_2d=True)
    if n_samples == 0 or np.abs(written).max() > audio.LOUDEST:
        with pytest.raises(AudioError, match="no samples" if n_samples == 0 else "a sample is"):
            load_audio(path)
        return
    np.testing.assert_array_equal(load_audio(path, sr=None)[0], written.mean(axis=1))
    y, sr = load_audio(path)
    assert y.shape == (math.ceil(n_samples * sr / native_sr),)
    features = extract_features(y)
    assert features.shape == (1 + len(y) // 256, 40)
    assert np.isfinite(features).all()


@quick
@given(offset=st.floats(width=32), duration=st.none() | st.floats(width=32))
def test_any_offset_and_duration_cut_or_are_refused(tmp_path_factory, offset, duration):
    path = tmp_path_factory.mktemp("any") / "a.wav"
    sound = noise(8000)
    sf.write(path, sound, 16000, subtype="DOUBLE")
    if not offset >= 0 or (duration is not None and not duration > 0):
        with pytest.raises(ValueError, match="must be 0 s or more"):
            load_audio(path, offset=offset, duration=duration)
    elif offset * 16000 >= 8000 or (duration is not None and duration * 16000 < 1):
        with pytest.raises(AudioError, match="no sound"):
            load_audio(path, offset=offset, duration=duration)
    else:
        start = int(offset * 16000)
        stop = 8000 if duration is None else int(min(start + duration * 16000, 8000))
        y, _ = load_audio(path, offset=offset, duration=duration)
        np.testing.assert_array_equal(y, sound[start:stop, 0].astype(np.float32))


@pytest.mark.parametrize("container", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("channels", [1, 2])
def test_blocks_are_joined_without_a_seam(tmp_path, monkeypatch, container, channels):
    path = tmp_path / f"a.{container}"
    sf.write(path, noise(40000, channels), 16000)
    whole, _ = load_audio(path, offset=0.5)
    monkeypatch.setattr(audio, "BLOCK", 2001)
    np.testing.assert_array_equal(load_audio(path, offset=0.5)[0], whole)


def test_many_channels_take_little_memory(tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, np.full((20000, 1000), 0.5), 16000, subtype="PCM_U8")
    tracemalloc.start()
    y, _ = load_audio(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(y, np.full(20000, 0.5))
    assert peak < 40e6  # two blocks; 80 MB is the whole


@pytest.mark.parametrize("sample", [np.nan, np.inf, -np.inf, 1e10, -1e10, 3e38, -3e38])
def test_one_sample_that_is_no_sound_is_enough(tmp_path, sample):
    sound = noise(8000, channels=2)
    sound[4000, 1] = sample
    sf.write(tmp_path / "a.wav", sound, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match=f"a sample is {np.abs(sample):g}".replace("+", ".")):
        load_audio(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (forged_flac(LENGTH, 0), "does not say how many"),
        (forged_flac(LENGTH, 2**36 - 1), "over 16777 s are too long"),
        (forged_flac(LENGTH, 2**20), "cut short: only 8000 of 1048576"),
        (forged_flac(RATE, 1), "sample rate, 1 Hz, is not 1000 to 768000 Hz"),
        (fuzz.encode(noise(100), 2**31 - 1, "wav", "PCM_16"), "2147483647 Hz"),
    ],
)
def test_a_forged_header_is_one_sentence(tmp_path, data, says):
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(AudioError, match=says) as caught:
        load_audio(tmp_path / "a.wav")
    assert "\n" not in str(caught.value)


def test_a_length_of_days_is_read_in_parts(tmp_path):
    (tmp_path / "a.flac").write_bytes(forged_flac(LENGTH, 2**36 - 1))
    assert audio_info(tmp_path / "a.flac")["seconds"] == (2**36 - 1) / 16000
    assert len(load_audio(tmp_path / "a.flac", duration=0.25)[0]) == 4000


def test_raw_samples_without_a_header_are_refused(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(1000))
    with pytest.raises(AudioError, match="not readable audio"):
        load_audio(tmp_path / "a.raw")


@pytest.mark.parametrize("harm", ["fine", "crash", "hang", "memory"])
def test_the_watchdog_sees_harm_and_goes_on(tmp_path, monkeypatch, harm):
    if harm == "memory" and not fuzz.peak_megabytes():
        pytest.skip("memory is watched on Linux only")
    monkeypatch.setattr(fuzz, "SECONDS", 1 if harm == "hang" else 20)
    monkeypatch.setattr(fuzz, "MEGABYTES", 300)
    watchdog = fuzz.Watchdog(tmp_path / "warm-up", do_harm)
    assert watchdog.read(tmp_path / harm).outcome == harm
    assert watchdog.read(tmp_path / "fine").outcome == "fine"
    watchdog.stop()


def test_what_is_neither_features_nor_a_reason_is_seen(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    sf.write(path, noise(8000), 16000)
    monkeypatch.setattr(ser_utils, "extract_features", lambda y: np.full((32, 40), np.nan))
    assert fuzz.read(path)[0] == "not finite"
    monkeypatch.setattr(ser_utils, "extract_features", lambda y: np.zeros((3, 40)))
    assert fuzz.read(path)[0] == "wrong shape"
    monkeypatch.setattr(ser_utils, "load_audio", lambda path, **part: 1 / 0)
    assert fuzz.read(path)[0] == "exception"
