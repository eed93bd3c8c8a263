"""The server: what it answers, what it refuses in a sentence, and that nothing brings it down."""

import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import librosa
import numpy as np
import pytest
import requests
import soundfile as sf
import websocket

from benchmarks import fuzz
from ser_utils import FeatureConfig, build_app
from ser_utils.corpora.demo_corpus import SAMPLE_RATE, synthesize
from ser_utils.deploy import server as server_module
from ser_utils.deploy.recognizer import SHORTEST
from ser_utils.deploy.server import EVERY, LIMITS, Server
from ser_utils.plotting import EMOTION_COLOURS

CLIP = synthesize("moon", "happy", "SA")
PAGE = Path(server_module.__file__).parent / "page"


def encoded(y, sr, container="WAV", **settings):
    content = io.BytesIO()
    sf.write(content, y, sr, format=container, **settings)
    return content.getvalue()


def predict(server, content, **settings):
    return requests.post(f"{server.url}/api/predict", data=content, timeout=60, **settings)


def microphone(server, sr=16000, **settings):
    address = f"{server.url.replace('http', 'ws')}/api/stream?sr={sr}"
    return websocket.create_connection(address, timeout=60, **settings)


def is_well(server):
    return predict(server, encoded(CLIP, SAMPLE_RATE)).status_code == 200


def closing_words(stream):
    """Code and reason that the server closes a stream with."""
    while True:
        opcode, data = stream.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return int.from_bytes(data[:2], "big"), data[2:].decode()


@pytest.fixture
def limits(monkeypatch):
    """Set limits for one test."""
    return lambda **changes: [monkeypatch.setitem(LIMITS, *item) for item in changes.items()]


# What it answers


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3"])
def test_an_upload_gets_what_the_recognizer_says(server, tiny_recognizer, container):
    content = encoded(CLIP, SAMPLE_RATE, container)
    answer = predict(server, content).json()
    said = tiny_recognizer.predict(io.BytesIO(content))
    assert answer["emotion"] == said.emotion
    assert answer["probabilities"] == pytest.approx(said.probabilities, abs=0.01)
    assert answer["seconds"] == pytest.approx(len(CLIP) / SAMPLE_RATE, abs=0.1)
    assert set(answer) == {"emotion", "probabilities", "timeline", "seconds"}


def test_a_longer_upload_has_a_timeline_and_a_picture(server):
    content = encoded(np.tile(CLIP, 12), SAMPLE_RATE)
    answer = predict(server, content, params={"picture": 1}).json()
    assert [row["start"] for row in answer["timeline"]] == list(range(len(answer["timeline"])))
    mel, level, picture = decoded(answer["picture"])
    assert 300 < len(mel) <= server_module.COLUMNS
    assert len(level) == len(mel)
    assert picture["seconds"] == pytest.approx(12 * len(CLIP) / SAMPLE_RATE, abs=0.01)


def decoded(picture):
    """Shades of the mel bands (time down the rows) and levels, 0 to 1, and the picture itself."""
    mel, level = (
        np.frombuffer(base64.b64decode(picture[name]), np.uint8) / 255 for name in ("mel", "level")
    )
    return mel.reshape(-1, picture["bands"]), level, picture


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_mfcc": 13},
        {"kinds": ("mel",)},
        {"kinds": ("mel",), "trim": 40.0},
        {"kinds": ("delta", "pitch")},
        {"sr": 8000, "n_fft": 256, "hop_length": 128, "n_mels": 40},
    ],
    ids=str,
)
def test_the_picture_is_that_of_the_sound_whatever_the_features(settings):
    config = FeatureConfig(**settings)
    seconds, sr = 2.0, config.sr
    t = np.arange(int(seconds * sr)) / sr
    y = 0.5 * np.sin(2 * np.pi * 1000 * t) * (t >= 1)  # a second of silence, then a tone
    y[: sr // 2] += 0.1 * CLIP[: sr // 2] / np.abs(CLIP).max()  # and a quiet voice at first
    mel, level, picture = decoded(server_module._picture(y.astype(np.float32), config))
    settings = {"sr": sr, "n_fft": config.n_fft, "hop_length": config.hop_length}
    expected = librosa.feature.melspectrogram(y=y, n_mels=config.n_mels, **settings)
    expected = librosa.power_to_db(expected, ref=np.max, top_db=80).T
    assert mel.shape == expected.shape
    assert np.corrcoef(mel.ravel(), expected.ravel())[0, 1] > 0.95
    np.testing.assert_allclose(mel, expected / 80 + 1, atol=0.01)
    assert picture["hertz"] == sr / 2
    centres = librosa.mel_frequencies(config.n_mels + 2, fmax=sr / 2)[1:-1]
    loudest = centres[mel[int(0.8 * len(mel))].argmax()]
    assert loudest == pytest.approx(1000, rel=0.06)  # Hz: the bands stand where they should
    assert picture["seconds"] == pytest.approx(seconds)
    assert len(level) == len(mel)
    begins = np.flatnonzero(level > 0.3)[0] * config.hop_length / sr
    assert begins == pytest.approx(1, abs=0.02)  # s
    assert level.max() == pytest.approx(0.5, abs=0.01)  # of full scale


def test_a_stream_gets_one_decision_after_the_other(server):
    stream = microphone(server, sr=SAMPLE_RATE)
    samples, answers = (CLIP * 32767).astype("<i2"), []
    while len(answers) < 3:  # how fast they come is for benchmarks/load.py
        stream.send_binary(samples[: int(SAMPLE_RATE * (SHORTEST + EVERY))].tobytes())
        answers.append(json.loads(stream.recv()))
    stream.close()
    for answer in answers:
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert set(answer) == {"emotion", "probabilities", "picture", "ms"}


def test_it_tells_what_it_is(server, tiny_recognizer):
    about = requests.get(f"{server.url}/api").json()
    assert about["emotions"] == tiny_recognizer.emotions
    assert about["about"] == tiny_recognizer.about
    assert about["limits"]["bytes"] == LIMITS["bytes"]
    for emotion in about["examples"]:
        example = requests.get(f"{server.url}/examples/{emotion}.wav").content
        assert sf.read(io.BytesIO(example))[1] == SAMPLE_RATE


@pytest.mark.parametrize("name", sorted(file.name for file in PAGE.iterdir()))
def test_the_page_is_served_and_loads_nothing_from_elsewhere(server, name):
    answer = requests.get(f"{server.url}/{'' if name == 'index.html' else name}")
    assert answer.content == (PAGE / name).read_bytes()
    text = answer.content.decode(errors="ignore")
    addresses = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+", text))
    assert addresses <= {"http://www.w3.org"}  # the name of a namespace
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


def test_the_page_has_the_colours_of_the_series():
    script = (PAGE / "draw.js").read_text(encoding="utf-8")
    assert dict(re.findall(r"(\w+): \"(#[0-9A-F]{6})\"", script)) == EMOTION_COLOURS


# A voice


def voice_clips(*emotions):
    """Parts of a form: one word of the demo corpus for each emotion."""
    words = ["moon", "boat", "fish"]
    return [
        (emotion, encoded(synthesize(words[i], emotion, "SA"), SAMPLE_RATE))
        for i, emotion in enumerate(emotions)
    ]


def enrol(server, *parts):
    return requests.post(f"{server.url}/api/enrol", files=parts, timeout=60)


def forget(server, token):
    return requests.delete(f"{server.url}/api/enrol", params={"voice": token}, timeout=60)


def test_a_voice_is_answered_as_the_recognizer_would_that_met_it(server, tiny_recognizer):
    parts = voice_clips("angry", "sad", "sad")
    answer = enrol(server, *parts).json()
    assert answer["clips"] == {"angry": 1, "happy": 0, "sad": 2}
    contents = [io.BytesIO(content) for _, content in parts]
    met = tiny_recognizer.enrol(contents, [emotion for emotion, _ in parts])
    asked = encoded(CLIP, SAMPLE_RATE)
    mine = predict(server, asked, params={"voice": answer["voice"]}).json()["probabilities"]
    anybody = predict(server, asked).json()["probabilities"]
    assert mine == pytest.approx(met.predict(io.BytesIO(asked)).probabilities, abs=0.01)
    assert anybody == pytest.approx(
        tiny_recognizer.predict(io.BytesIO(asked)).probabilities, abs=0.01
    )
    assert mine != pytest.approx(anybody, abs=0.02)
    stream = microphone(server, sr=f"{SAMPLE_RATE}&voice={answer['voice']}")
    stream.send_binary((CLIP * 32767).astype("<i2")[: 2 * SAMPLE_RATE].tobytes())
    said = json.loads(stream.recv())["probabilities"]
    stream.close()
    assert said == pytest.approx(met.predict(CLIP, SAMPLE_RATE).probabilities, abs=0.05)
    assert forget(server, answer["voice"]).json() == {"forgotten": True}
    gone = predict(server, asked, params={"voice": answer["voice"]})
    assert (gone.status_code, gone.json()["error"][:23]) == (404, "This voice is not known")
    assert forget(server, answer["voice"]).status_code == 404
    code, reason = closing_words(microphone(server, sr=f"16000&voice={answer['voice']}"))
    assert (code, reason[:23]) == (1008, "This voice is not known")


@pytest.mark.parametrize(
    ("parts", "status", "says"),
    [
        ([], 400, "Name each part of the form by an emotion: angry, happy, sad."),
        ([("joy", encoded(CLIP, SAMPLE_RATE))], 400, "Name each part"),
        ([("sad", b"no sound")], 415, "This is not readable audio"),
        ([("sad", encoded(np.zeros(32000), 16000))], 415, "Nobody speaks in it"),
        ([("sad", encoded(CLIP[:2000], SAMPLE_RATE))], 415, "It lasts 0.09 s and must last"),
        ([("sad", encoded(np.tile(CLIP, 12), SAMPLE_RATE))], 413, "at most 10 s are taken"),
        ([("sad", encoded(CLIP, SAMPLE_RATE))] * 4, 413, "At most 3 clips of each emotion"),
        (
            [(name, encoded(CLIP, SAMPLE_RATE)) for name in ("sad", "angry")],
            400,
            "One clip is given",
        ),
    ],
)
def test_a_voice_that_cannot_be_met_is_refused_in_a_sentence(server, parts, status, says):
    answer = enrol(server, *parts)
    assert answer.status_code == status
    assert says in answer.json()["error"]
    assert not server.app.settings["voices"]


def test_voices_are_few_and_those_that_nobody_asks_for_are_forgotten(server, limits):
    limits(voices=1)
    token = enrol(server, *voice_clips("sad")).json()["voice"]
    assert enrol(server, *voice_clips("sad")).status_code == 503
    assert predict(server, encoded(CLIP, SAMPLE_RATE), params={"voice": token}).ok
    limits(idle=0)
    assert predict(server, encoded(CLIP, SAMPLE_RATE), params={"voice": token}).status_code == 404
    assert not server.app.settings["voices"]


def test_in_a_quiet_or_humming_room_nothing_is_named(server):
    t = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    hum = 0.2 * np.sin(2 * np.pi * 150 * t) + 0.1 * np.sin(2 * np.pi * 300 * t)
    for y, named in ((hum, False), (np.tile(CLIP, 2), True)):
        stream = microphone(server, sr=SAMPLE_RATE)
        stream.send_binary((y[: 2 * SAMPLE_RATE] * 32767).astype("<i2").tobytes())
        assert (json.loads(stream.recv())["emotion"] != "not sure") == named
        stream.close()


# What it refuses


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (b"", 415, "The file is empty (0 bytes)"),
        (b"no sound", 415, "This is not readable audio"),
        (encoded(CLIP[:2000], SAMPLE_RATE), 415, "It lasts 0.09 s and must last at least 0.3 s"),
        (encoded(CLIP, SAMPLE_RATE)[:20000], 415, "cut short"),
        (encoded(np.zeros(301 * 8000), 8000, "FLAC"), 413, "lasts 301 s, at most 300 s are taken"),
        (encoded(np.zeros((4500000, 8)), 16000, "FLAC"), 413, "too many samples"),
        (encoded(np.full(8000, np.nan), 8000, subtype="FLOAT"), 415, "A sample is nan"),
        (bytes(LIMITS["bytes"] + 1), 413, "over 10000000 bytes"),
    ],
)
def test_a_bad_upload_is_refused_in_one_sentence(server, content, status, says):
    answer = predict(server, content)
    assert answer.status_code == status
    assert says in answer.json()["error"]
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/nothing", {}, 404),
        ("GET", "/page.py", {}, 404),
        ("GET", "/..%2fapp.py", {}, 404),
        ("GET", "/examples/../page.js", {}, 200),  # normalised by the client
        ("GET", "/examples/..%2f..%2fREADME.txt", {}, 404),
        ("GET", "/api/predict", {}, 405),
        ("DELETE", "/api", {}, 405),
        ("POST", "/api/predict", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("GET", "/api", {"Host": "example.org"}, 404),
        ("GET", "/api/stream?sr=16000", {}, 400),
    ],
)
def test_nothing_else_is_there(server, method, path, headers, status):
    answer = requests.request(method, server.url + path, headers=headers)
    assert answer.status_code == status
    assert "Server" not in answer.headers
    assert not re.search(r"Traceback|/ser_utils|\.py\b|ornado", answer.text)


def test_an_error_of_ours_leaks_nothing(server, tiny_recognizer, monkeypatch, caplog):
    monkeypatch.setattr(tiny_recognizer, "predict", lambda *_: 1 / 0)
    answer = predict(server, encoded(CLIP, SAMPLE_RATE))
    assert answer.status_code == 500
    assert answer.json() == {"error": "Internal Server Error."}
    assert "ZeroDivisionError" in caplog.text  # the log does have it


def test_chunks_without_end_are_cut(server):
    def endless():
        while True:
            yield bytes(10**6)

    with pytest.raises((requests.RequestException, AssertionError)):
        assert predict(server, endless()).status_code == 200
    assert is_well(server)


@pytest.mark.parametrize(
    ("sr", "message", "code"),
    [("16000", "text", 1007), ("16000", b"odd", 1007), ("0", b"", 1008), ("many", b"", 1008)],
)
def test_a_bad_stream_is_closed_with_a_reason(server, sr, message, code):
    stream = microphone(server, sr=sr)
    send = stream.send if isinstance(message, str) else stream.send_binary
    send(message)
    assert closing_words(stream)[0] == code


def test_a_stream_from_another_site_is_refused(server):
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        microphone(server, origin="http://example.org")


def test_a_message_that_is_too_long_ends_the_stream(server):
    stream = microphone(server)
    stream.send_binary(bytes(LIMITS["message"] + 2))
    # The rest of the message finds the door shut.
    with suppress(ConnectionError, websocket.WebSocketException):
        assert closing_words(stream)[0] == 1009
    assert is_well(server)


# What it survives


def test_too_many_uploads_are_told_to_wait(server, limits):
    limits(waiting=0)
    answer = predict(server, encoded(CLIP, SAMPLE_RATE))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert "busy" in answer.json()["error"]


def test_too_many_streams_are_told_to_wait(server, limits):
    limits(streams=2)
    streams = [microphone(server) for _ in range(3)]
    code, reason = closing_words(streams[2])
    assert (code, "busy" in reason) == (1013, True)
    for stream in streams:
        stream.close()


def connected(server):
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


BEGINNING = b"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nRIFF"


def test_clients_that_vanish_leave_no_trace(server, wait_until):
    for _ in range(2 * LIMITS["waiting"]):
        client = connected(server)
        client.sendall(BEGINNING)
        client.close()
    for _ in range(2 * LIMITS["streams"]):
        microphone(server).sock.close()
    settings = server.app.settings
    wait_until(lambda: not settings["queue"] and not settings["streams"])
    assert is_well(server)


def test_a_slow_client_is_let_go(tiny_recognizer, limits):
    limits(timeout=1)
    server = Server(build_app(tiny_recognizer))
    for beginning in (b"", b"POST /api/pre", BEGINNING):
        client = connected(server)
        client.sendall(beginning)
        start = time.monotonic()
        assert client.recv(100) == b""
        assert time.monotonic() - start < 10  # s; unless told it would be 20
    assert closing_words(microphone(server)) == (1000, "No sound came.")
    assert not server.app.settings["queue"]
    assert is_well(server)
    server.stop()


def test_damaged_audio_does_no_harm(server, demo_corpus):
    clips = fuzz.clips_of(demo_corpus)
    for _, content in fuzz.mutations(clips, 300, 1):
        answer = predict(server, content)
        assert answer.status_code in (200, 413, 415)
        assert answer.status_code == 200 or str(demo_corpus) not in answer.text
    assert is_well(server)


def test_uploads_touch_no_disk(server, monkeypatch):
    monkeypatch.setattr("tempfile.mkstemp", None)
    monkeypatch.setattr("tempfile.mkdtemp", None)
    assert is_well(server)


# Starting and stopping


def test_it_listens_on_this_machine_alone(server):
    assert server.url.startswith("http://127.0.0.1:")


def test_a_taken_port_is_an_error_and_a_stopped_server_is_gone(tiny_recognizer):
    server = Server(build_app(tiny_recognizer))
    with pytest.raises(OSError, match="in use"):
        Server(server.app, port=int(server.url.rsplit(":")[-1]))
    stream = microphone(server)
    server.stop()
    assert closing_words(stream)[0] == 1001
    assert not server.thread.is_alive()
    with pytest.raises(requests.ConnectionError):
        requests.get(server.url)
    server.stop()  # twice does no harm


SERVE = """
import signal, sys
from ser_utils.deploy import server
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it otherwise
server.main(["--port", "0", "--bundle", sys.argv[1]])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_the_command_serves_a_bundle_until_interrupted(tiny_recognizer, tmp_path):
    command = [sys.executable, "-c", SERVE, tiny_recognizer.save(tmp_path / "r")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().split()[0]
            assert requests.get(url, timeout=60).status_code == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()  # or a failure would wait for ever


def test_without_a_bundle_the_command_says_where_to_get_one(tmp_path):
    command = [sys.executable, "-m", "ser_utils.deploy.server", "--bundle", tmp_path]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert "notebook 10_deploy makes one" in result.stderr
