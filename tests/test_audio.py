"""Any file a reader may bring gives the right waveform, or one sentence that helps."""

import pickle
import warnings

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_utils import AudioError, listen, load_audio
from ser_utils.audio import audio_info
from ser_utils.parallel import map_clips


def tone(seconds=0.5, sr=16000, hz=440.0, level=0.5):
    return level * np.sin(2 * np.pi * hz * np.arange(int(seconds * sr)) / sr)


def strongest_frequency(y, sr):
    return np.fft.rfftfreq(len(y), 1 / sr)[np.abs(np.fft.rfft(y)).argmax()]


@pytest.mark.parametrize("native_sr", [8000, 11025, 16000, 24414, 44100, 48000, 96000])
def test_any_rate_arrives_at_the_rate_asked_for(tmp_path, native_sr):
    sf.write(tmp_path / "a.wav", tone(sr=native_sr), native_sr)
    y, sr = load_audio(tmp_path / "a.wav", sr=16000)
    assert sr == 16000
    assert abs(len(y) - 8000) <= 1
    assert y.dtype == np.float32
    assert strongest_frequency(y, sr) == pytest.approx(440, abs=3)
    assert np.abs(y).max() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_any_sample_format_is_scaled_to_one(tmp_path, subtype):
    sf.write(tmp_path / "a.wav", tone(), 16000, subtype=subtype)
    y, _ = load_audio(tmp_path / "a.wav")
    np.testing.assert_allclose(y, tone(), atol=0.02)


@pytest.mark.parametrize("container", ["wav", "flac", "ogg", "mp3"])
def test_containers(tmp_path, container):
    sf.write(tmp_path / f"a.{container}", tone(1.0), 16000)
    y, sr = load_audio(tmp_path / f"a.{container}")
    assert len(y) == pytest.approx(16000, abs=1500)
    assert strongest_frequency(y, sr) == pytest.approx(440, abs=3)


def test_stereo_becomes_the_mean_of_its_channels(tmp_path):
    sf.write(tmp_path / "a.wav", np.stack([tone(), np.zeros(8000)], axis=1), 16000)
    y, _ = load_audio(tmp_path / "a.wav")
    np.testing.assert_allclose(y, tone() / 2, atol=1e-4)


def test_own_rate_is_kept_on_request(tmp_path):
    sf.write(tmp_path / "a.wav", tone(sr=24414), 24414)
    y, sr = load_audio(tmp_path / "a.wav", sr=None)
    assert (len(y), sr) == (12207, 24414)


def test_offset_and_duration_cut_where_they_say(tmp_path):
    y = np.linspace(-0.5, 0.5, 16000)
    sf.write(tmp_path / "a.wav", y, 16000)
    part, _ = load_audio(tmp_path / "a.wav", offset=0.25, duration=0.5)
    np.testing.assert_allclose(part, y[4000:12000], atol=1e-4)


def test_spaces_and_other_alphabets_in_a_path(tmp_path):
    path = tmp_path / "fröhlich 喜び" / "mein Clip é.wav"
    path.parent.mkdir()
    sf.write(path, tone(), 16000)
    assert len(load_audio(path)[0]) == 8000


def broken(tmp_path, name):
    """Make the broken file called ``name``."""
    path = tmp_path / name
    sf.write(tmp_path / "whole.wav", tone(), 16000)
    sf.write(tmp_path / "whole.flac", tone(), 16000)
    whole = (tmp_path / f"whole.{name[-3:] if name.endswith('wav') else 'flac'}").read_bytes()
    if name.startswith("cut"):
        path.write_bytes(whole[: len(whole) // 2])
    elif name == "empty.wav":
        path.write_bytes(b"")
    elif name == "header only.wav":
        sf.write(path, np.zeros(0), 16000)
    elif name == "text.wav":
        path.write_text("This is not sound.")
    elif name == "nan.wav":
        sf.write(path, np.array([0.1, np.nan, 0.1]), 16000, subtype="FLOAT")
    elif name == "infinite.wav":
        sf.write(path, np.array([0.1, np.inf, 0.1]), 16000, subtype="FLOAT")
    elif name == "folder.wav":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cut.wav", "cut short"),
        ("cut.flac", "cannot be decoded"),
        ("empty.wav", "empty"),
        ("header only.wav", "no samples"),
        ("text.wav", "not readable audio"),
        ("nan.wav", "NaN"),
        ("infinite.wav", "infinite"),
        ("missing.wav", "no such file"),
        ("folder.wav", "no such file"),
    ],
)
def test_a_broken_file_is_one_sentence_with_its_path(tmp_path, name, says):
    path = broken(tmp_path, name)
    with pytest.raises(AudioError, match=says) as caught:
        load_audio(path)
    assert caught.value.path == path
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None  # no traceback of a library reaches the reader


def test_a_streamed_wav_of_unknown_length_is_whole(tmp_path):
    sf.write(tmp_path / "a.wav", tone(), 16000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[40:44] = b"\xff\xff\xff\xff"  # what programs write that do not know the length yet
    (tmp_path / "a.wav").write_bytes(data)
    assert len(load_audio(tmp_path / "a.wav")[0]) == 8000


def test_an_offset_behind_the_end_names_both(tmp_path):
    sf.write(tmp_path / "a.wav", tone(0.3), 16000)
    with pytest.raises(AudioError, match=r"offset=0.5 s.*lasts 0.30 s"):
        load_audio(tmp_path / "a.wav", offset=0.5)


def test_a_silent_clip_is_zeros(tmp_path):
    sf.write(tmp_path / "a.wav", np.zeros(8000), 16000)
    assert not load_audio(tmp_path / "a.wav")[0].any()


def test_the_header_tells_the_format(tmp_path):
    sf.write(tmp_path / "a.wav", np.zeros((24414, 2)), 24414, subtype="PCM_24")
    assert audio_info(tmp_path / "a.wav") == {
        "sr": 24414,
        "channels": 2,
        "subtype": "PCM_24",
        "seconds": 1.0,
    }


def test_the_error_survives_a_trip_between_processes():
    error = pickle.loads(pickle.dumps(AudioError("a.wav", "is broken.")))
    assert (error.path, error.reason) == ("a.wav", "is broken.")


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    native_sr=st.integers(8000, 96000),
    channels=st.integers(1, 4),
    n_samples=st.integers(1, 20000),
    level=st.floats(0, 1),
)
def test_whatever_is_written_is_read(tmp_path_factory, native_sr, channels, n_samples, level):
    path = tmp_path_factory.mktemp("any") / "a.wav"
    sound = np.random.default_rng(n_samples).uniform(-level, level, (n_samples, channels))
    sf.write(path, sound, native_sr)
    y, sr = load_audio(path)
    assert y.ndim == 1
    assert np.isfinite(y).all()
    assert len(y) == pytest.approx(n_samples * sr / native_sr, abs=1)


@pytest.mark.parametrize("sr", [16000, 24414])
def test_a_player_holds_the_sound_as_mp3(tmp_path, sr):
    player = listen(tone(1.0, sr), sr)
    (tmp_path / "a.mp3").write_bytes(player.data)
    y, played_sr = load_audio(tmp_path / "a.mp3", sr=None)
    assert len(y) / played_sr == pytest.approx(1.0, abs=0.1)
    assert np.abs(y).max() == pytest.approx(0.5, abs=0.05)  # the level is kept
    assert "audio/mpeg" in player._repr_html_()


def test_a_player_clips_what_is_too_loud():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        listen(tone(level=3.0), 16000)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_clips_are_mapped_in_order_with_progress(capsys, n_jobs):
    assert list(map_clips(abs, [-3, -2, -1], desc="counting", n_jobs=n_jobs)) == [3, 2, 1]
    assert "counting: 3/3 clips" in capsys.readouterr().out
