"""A trained recogniser as a web page and an HTTP endpoint, for this machine alone unless told.

    make serve                                     # or: python -m ser_utils.deploy.server
    curl --data-binary @clip.wav http://127.0.0.1:8000/api/predict

- ``POST /api/predict``, the content of a WAV, FLAC, OGG or MP3 file: ``emotion`` (or "not sure"),
  ``probabilities``, ``seconds`` and a ``timeline`` of windows; with ``?picture=1`` also the level
  and the mel bands to draw.
- ``POST /api/enrol``, a form whose parts are named by emotions and hold such files, all of one
  voice (``curl -F angry=@a.wav -F neutral=@b.wav``): ``voice``, a token, and ``clips``, the number
  of each emotion. With ``voice=TOKEN``, predict and stream answer for this voice;
  ``DELETE /api/enrol?voice=TOKEN`` forgets it.
- ``GET /api``: emotions, threshold, limits, what the model was trained with, its card as HTML.
- ``WS /api/stream?sr=48000``, binary messages of 16-bit samples (mono, little-endian): four times
  a second the ``probabilities`` of the past 1.75 s; ``emotion``, "not sure" while nobody speaks and
  held as `Steady` says, so it may not be the most probable one; and a picture of these 1.75 s.

A refusal is ``{"error": "one sentence"}`` with status 400, 403, 404, 405, 413, 415 or 503
(busy).
Tornado, which Jupyter brings along, has the limits on slow clients and large bodies built in.
Nothing is written: sound is decoded in memory and forgotten with the answer, and a voice lives in
memory until it is forgotten, unused for an hour, or the server stops.

Notebook: 10_deploy.
"""

import argparse
import asyncio
import base64
import io
import logging
import math
import secrets
import sys
import threading
import time
import webbrowser
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import mistune
import numpy as np
import soundfile as sf
import soxr
from tornado import httpserver, httputil, ioloop, netutil, web, websocket

from ..audio import RATES, AudioError, audio_info, load_audio
from ..corpora.demo_corpus import EMOTIONS, SAMPLE_RATE, synthesize
from ..features import extract_features
from .live import HEARD, Steady, is_speech
from .recognizer import ACTED6, NOT_SURE, SHORTEST, WINDOW, EmotionRecognizer

LIMITS = {
    "bytes": 10_000_000,  # of an upload
    "seconds": 300,  # of its sound
    "samples": 2**25,  # of all its channels, so that decoding takes little memory and time
    "waiting": 32,  # uploads at a time, those that are still coming in included
    "streams": 8,  # at a time
    "form": 25_000_000,  # bytes of all clips to meet a voice
    "clips": 3,  # of each emotion
    "clip": 10,  # s, of one of them
    "voices": 64,  # that are known at a time
    "idle": 3600,  # s, after which a voice that nobody asked for is forgotten
    "timeout": 20,  # s, for a request to come in, and between two messages of a stream
    "message": 2**18,  # bytes of a message
}
EVERY = 0.25  # s, between two decisions of a stream
COLUMNS = 600  # of a picture, at most
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; media-src blob:; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
PAGE = Path(__file__).parent / "page"
LOOPBACK = r"(127\.0\.0\.1|localhost|\[?::1\]?)"
BUSY = "The server is busy; try again in a moment."


def forget_idle(voices):
    """Forget the voices that nobody has asked for lately."""
    oldest = time.monotonic() - LIMITS["idle"]
    for token in [token for token, (_, used) in voices.items() if used < oldest]:
        del voices[token]


class _Refused(web.HTTPError):
    """A status, and the sentence that goes with it."""

    def __init__(self, status, sentence):
        super().__init__(status)
        self.sentence = sentence


class _Handler(web.RequestHandler):
    """Answers that say nothing about the machine, to pages of our own only."""

    def set_default_headers(self):
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def prepare(self):
        if self.request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
            raise _Refused(403, "Other web sites may not ask; open this server's own page.")

    def recognizer(self):
        """The recogniser, or the one for the voice that is asked for."""
        token, voices = self.get_query_argument("voice", ""), self.settings["voices"]
        if not token:
            return self.settings["recognizer"]
        forget_idle(voices)
        if token not in voices:
            raise _Refused(404, "This voice is not known, or not any more; teach it again.")
        voices[token] = voices[token][0], time.monotonic()
        return voices[token][0]

    def write_error(self, status_code, **kwargs):
        error = kwargs.get("exc_info", (None, None))[1]
        if status_code == 503:
            self.set_header("Retry-After", "1")
        self.finish({"error": getattr(error, "sentence", f"{self._reason}.")})

    def log_exception(self, kind, error, traceback):
        if not isinstance(error, web.HTTPError):
            super().log_exception(kind, error, traceback)


class _Page(_Handler, web.StaticFileHandler):
    """The files of the page."""


class _Missing(_Handler):
    """Any other address."""

    def prepare(self):
        raise _Refused(404, "There is nothing at this address; GET /api tells what there is.")


class _About(_Handler):
    """What the page, or a program, has to know beforehand."""

    def get(self):
        self.finish(self.settings["about"])


def example(emotion):
    """Content of a WAV file: a clip of the demo corpus to try."""
    content = io.BytesIO()
    sf.write(content, synthesize("moon", emotion, "SA"), SAMPLE_RATE, format="WAV")
    return content.getvalue()


class _Example(_Handler):
    """Clips of the demo corpus to try."""

    def get(self, emotion):
        self.set_header("Content-Type", "audio/wav")
        self.finish(example(emotion))


def _encoded(values):
    """Numbers from 0 to 1 as base64 of bytes."""
    return base64.b64encode(np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)).decode()


def _picture(y, config):
    """What the page draws of a waveform, column by column.

    Whatever features the model reads, the picture shows the mel bands that they are made of, from
    end to end: 0 is 80 dB below the loudest, 1 the loudest. The level is the largest sample.
    """
    settings = replace(config, kinds=("mel",), trim=None)
    decibels = extract_features(y, config=settings)
    step = math.ceil(len(decibels) / COLUMNS)
    shades = (decibels[::step] - decibels.max()) / 80 + 1
    width = step * config.hop_length
    padded = np.pad(y, (0, len(shades) * width - len(y)))
    return {
        "bands": config.n_mels,
        "mel": _encoded(shades),
        "level": _encoded(np.abs(padded.reshape(-1, width)).max(axis=1)),
        "seconds": len(y) / config.sr,
        "hertz": config.sr / 2,
    }


def _check(content, most):
    """Tell the length of an upload (s), or refuse it."""
    info = audio_info(content)
    if info["seconds"] > most:
        reason = f"The sound lasts {info['seconds']:.0f} s, at most {most} s are taken; cut it."
        raise _Refused(413, reason)
    if info["seconds"] * info["sr"] * info["channels"] > LIMITS["samples"]:
        raise _Refused(413, "It has too many samples; export it with 1 or 2 channels, 48 kHz.")
    return info["seconds"]


def _answer(recognizer, content, picture):
    """Decode an upload within the limits and ask about it."""
    seconds = _check(content, LIMITS["seconds"])
    answer = recognizer.predict(content)._asdict() | {"seconds": round(seconds, 3)}
    if picture:
        y, _ = load_audio(content, sr=recognizer.config.sr)
        answer["picture"] = _picture(y, recognizer.config)
    return answer | {"timeline": answer["timeline"].round(4).to_dict("records")}


def _meet(recognizer, parts):
    """Decode clips of one voice within the limits and enrol it."""
    emotions, contents = zip(*((name, io.BytesIO(body)) for name, body in parts), strict=True)
    for content in contents:
        _check(content, LIMITS["clip"])
    try:
        return recognizer.enrol(contents, emotions)
    except AudioError:
        raise
    except ValueError as error:
        raise _Refused(400, str(error)) from None


@web.stream_request_body
class _Upload(_Handler):
    """A body. It takes a place in the queue before it is read, so memory is bounded."""

    def prepare(self):
        super().prepare()
        self.body, self.asking, self.closed = bytearray(), False, False
        self.queue = self.settings["queue"]
        if self.request.method not in self.methods:
            raise _Refused(405, self.advice)
        if int(self.request.headers.get("Content-Length", 0)) > LIMITS[self.most]:
            raise _Refused(413, f"The body has over {LIMITS[self.most]} bytes; send less at once.")
        if self.request.method == "POST" and len(self.queue) >= LIMITS["waiting"]:
            raise _Refused(503, BUSY)
        self.request.connection.set_max_body_size(2 * LIMITS[self.most])  # told beforehand or not
        self.queue.add(self)

    def data_received(self, chunk):
        self.body += chunk

    async def work(self, function, *arguments):
        """Do it in the thread for uploads."""
        self.asking = True
        try:
            return await asyncio.wrap_future(self.settings["uploads"].submit(function, *arguments))
        except AudioError as error:
            raise _Refused(415, error.reason[0].upper() + error.reason[1:]) from None
        finally:
            self.queue.discard(self)

    def on_finish(self):
        self.queue.discard(self)

    def on_connection_close(self):
        self.closed = True
        if not self.asking:  # otherwise the work goes on, and its place is taken
            self.queue.discard(self)


class _Predict(_Upload):
    """One clip."""

    methods, most = ("POST",), "bytes"
    advice = "Send the content of an audio file with POST."

    async def post(self):
        picture = self.get_query_argument("picture", "") == "1"
        content = io.BytesIO(self.body)
        self.finish(await self.work(_answer, self.recognizer(), content, picture))


class _Enrol(_Upload):
    """Clips of one voice, or the wish to be forgotten."""

    methods, most = ("POST", "DELETE"), "form"
    advice = "Send audio files with POST, as parts of a form."

    async def post(self):
        files = {}
        with suppress(httputil.HTTPInputError):
            form = self.request.headers.get("Content-Type", ""), bytes(self.body)
            httputil.parse_body_arguments(*form, {}, files)
        parts = [(name, part["body"]) for name in files for part in files[name]]
        known = self.settings["recognizer"].emotions
        if not parts or set(files) - set(known):
            raise _Refused(400, f"Name each part of the form by an emotion: {', '.join(known)}.")
        if max(map(len, files.values())) > LIMITS["clips"]:
            raise _Refused(413, f"At most {LIMITS['clips']} clips of each emotion are taken.")
        enrolled = await self.work(_meet, self.settings["recognizer"], parts)
        voices, token = self.settings["voices"], secrets.token_urlsafe()
        forget_idle(voices)
        if len(voices) >= LIMITS["voices"]:
            raise _Refused(503, f"The server knows {len(voices)} voices already; try again later.")
        if not self.closed:  # otherwise nobody would hold the token
            voices[token] = enrolled, time.monotonic()
            self.finish({"voice": token, "clips": enrolled.voice["clips"]})

    def delete(self):
        self.recognizer()
        self.settings["voices"].pop(self.get_query_argument("voice", ""), None)
        self.finish({"forgotten": True})


class _Stream(_Handler, websocket.WebSocketHandler):
    """A microphone: decisions about the latest window; if they come late, some are left out."""

    timer = task = None

    def open(self):
        sr = self.get_query_argument("sr", "")
        self.sr = int(sr) if sr.isdecimal() and len(sr) < 7 else 0
        if self.sr not in RATES:
            return self.close(1008, "sr must be the sample rate, 1000 to 768000 Hz.")
        if len(self.settings["streams"]) >= LIMITS["streams"]:
            return self.close(1013, BUSY)
        try:
            self.asked = self.recognizer()
        except _Refused as error:
            return self.close(1008, error.sentence)
        self.settings["streams"].add(self)
        self.steady = Steady(self.asked.threshold)
        self.sound, self.new = np.zeros(0, dtype=np.float32), 0
        self.expect_more()

    def expect_more(self):
        """Close the connection if nothing comes for a while."""
        if self.timer:
            self.timer.cancel()
        later = asyncio.get_running_loop().call_later
        self.timer = later(LIMITS["timeout"], self.close, 1000, "No sound came.")

    def on_message(self, message):
        if self not in self.settings["streams"]:
            return
        if isinstance(message, str) or len(message) % 2:
            return self.close(1007, "Send 16-bit samples as binary messages.")
        self.expect_more()
        chunk = np.frombuffer(message, "<i2") / np.float32(32768)
        self.sound = np.concatenate([self.sound, chunk])[-int(WINDOW * self.sr) :]
        self.new += len(chunk)
        enough = self.new >= EVERY * self.sr and len(self.sound) >= SHORTEST * self.sr
        if enough and (self.task is None or self.task.done()):
            self.new = 0
            self.task = asyncio.create_task(self.decide(self.sound, time.perf_counter()))

    async def decide(self, sound, received):
        work = _decision, self.asked, self.steady, sound, self.sr
        answer = await asyncio.wrap_future(self.settings["listening"].submit(*work))
        answer["ms"] = round(1000 * (time.perf_counter() - received), 1)
        with suppress(websocket.WebSocketClosedError):  # nobody may be there any more
            await self.write_message(answer)

    def on_close(self):
        if self.timer:
            self.timer.cancel()
        self.settings["streams"].discard(self)


def _decision(recognizer, steady, sound, sr):
    """Ask about the sound of one window: its end, if somebody speaks in it."""
    y = soxr.resample(sound, sr, recognizer.config.sr)
    heard = y[-int(HEARD * recognizer.config.sr) :]
    row = recognizer.probabilities([heard])[0]
    shown = steady.show(row) if is_speech(y, recognizer.config.sr) else steady.forget()
    emotion = NOT_SURE if shown is None else recognizer.emotions[shown]
    probabilities = dict(zip(recognizer.emotions, row.tolist(), strict=True))
    picture = _picture(heard, recognizer.config)
    return {"emotion": emotion, "probabilities": probabilities, "picture": picture}


def describe(recognizer):
    """What the page has to know of a recogniser, as JSON takes it."""
    return {
        "emotions": recognizer.emotions,
        "threshold": recognizer.threshold,
        "about": recognizer.about,
        "limits": LIMITS | {"window": WINDOW, "shortest": SHORTEST},
        "examples": [name for name in recognizer.emotions if name in EMOTIONS],
        "enrol": {"clips": LIMITS["clips"], "seconds": LIMITS["clip"], "bytes": LIMITS["form"]},
        "synthetic": recognizer.about["corpora"] == ["demo"],
        "card": recognizer.card and mistune.create_markdown(plugins=["table"])(recognizer.card),
    }


def build_app(recognizer, *, hosts=LOOPBACK):
    """Build the page and the endpoints around a recogniser.

    Parameters
    ----------
    recognizer : EmotionRecognizer
    hosts : str
        Regular expression of the host names that are answered; others are refused, so that no web
        site can reach this server by giving its own name our address.

    Returns
    -------
    tornado.web.Application
        For `Server`.

    Notes
    -----
    Notebook: 10_deploy. The endpoints are described at the top of this module.
    """
    recognizer.probabilities([np.ones(8000)])  # compiles it, so that nobody has to wait
    recognizer.probabilities([np.ones(8000)] * 2)
    about = describe(recognizer)
    examples = "|".join(about["examples"])
    app = web.Application(
        default_handler_class=_Missing,
        log_function=lambda handler: None,  # who asked what is nobody's business
        websocket_ping_interval=5,
        websocket_ping_timeout=5,
        websocket_max_message_size=LIMITS["message"],
        recognizer=recognizer,
        about=about,
        queue=set(),
        streams=set(),
        voices={},
        uploads=ThreadPoolExecutor(1),
        listening=ThreadPoolExecutor(1),
    )
    page = {"path": PAGE, "default_filename": "index.html"}
    routes = [
        (r"/api", _About),
        (r"/api/predict", _Predict),
        (r"/api/enrol", _Enrol),
        (r"/api/stream", _Stream),
        (rf"/examples/({examples})\.wav", _Example),
        (r"/((?:[a-z0-9-]+\.(?:js|css|svg|png|webmanifest))?)", _Page, page),
    ]
    app.add_handlers(hosts, routes)
    return app


class Server:
    """A running server, in a thread of its own, so that a notebook can ask it.

    Parameters
    ----------
    app : tornado.web.Application
        From `build_app`.
    host : str
        Address to listen on; the default cannot be reached from other machines.
    port : int
        0 takes a free one.

    Raises
    ------
    OSError
        If the port is taken.

    Notes
    -----
    Notebook: 10_deploy.
    """

    def __init__(self, app, *, host="127.0.0.1", port=0):
        self.app = app
        sockets = netutil.bind_sockets(port, host)
        self.url = f"http://{host}:{sockets[0].getsockname()[1]}"
        self._started = threading.Event()
        self.thread = threading.Thread(target=asyncio.run, args=[self._run(sockets)], daemon=True)
        self.thread.start()
        self._started.wait()

    async def _run(self, sockets):
        voices = self.app.settings["voices"]
        ioloop.PeriodicCallback(lambda: forget_idle(voices), 60_000).start()  # ms
        server = httpserver.HTTPServer(
            self.app,
            max_body_size=2 * LIMITS["form"],
            max_header_size=2**14,
            body_timeout=LIMITS["timeout"],
            idle_connection_timeout=LIMITS["timeout"],
        )
        server.add_sockets(sockets)
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        await self._end.wait()
        server.stop()
        for stream in list(self.app.settings["streams"]):
            stream.close(1001, "The server stops.")
        await server.close_all_connections()

    def stop(self):
        """Close every connection and end the thread."""
        if self.thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
        self.thread.join()


def main(arguments=None):
    """Serve a saved recogniser; see ``--help``."""
    parser = argparse.ArgumentParser(prog="python -m ser_utils.deploy.server")
    parser.add_argument("--bundle", default=ACTED6, help="folder; default: acted6")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)
    try:
        recognizer = EmotionRecognizer.load(options.bundle)
        local = options.host in ("127.0.0.1", "localhost", "::1")
        app = build_app(recognizer, hosts=LOOPBACK if local else ".*")
        server = Server(app, host=options.host, port=options.port)
    except (ValueError, OSError) as error:
        sys.exit(f"{error}\nIf the address is taken, choose another --port.")
    print(f"{server.url}   (Ctrl-C stops it)", flush=True)
    if options.open:
        webbrowser.open(server.url)
    try:
        server.thread.join()
    except KeyboardInterrupt:
        server.stop()


if __name__ == "__main__":
    main()
