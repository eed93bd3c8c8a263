"""The claims about the server, on loopback: many clients, one microphone, one question.

    make bench
    python benchmarks/load.py --seconds 60

A server runs in a process of its own. Clients each post a clip of three seconds every two seconds;
then one stream sends sound as a microphone does. Memory is read from /proc (Linux).
"""

import argparse
import io
import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import requests
import soundfile as sf
import websocket

from ser_utils import EmotionRecognizer
from ser_utils.corpora.demo_corpus import SAMPLE_RATE, synthesize
from ser_utils.deploy.recognizer import ACTED6

CLIP = np.resize(synthesize("moon", "happy", "SA"), 3 * SAMPLE_RATE)
EVERY = 2.0  # s, between two requests of a client


def show(what, seconds, most):
    p50, p95 = 1000 * np.quantile(seconds, [0.5, 0.95])
    print(f"{what:34} p50 {p50:6.1f} ms  p95 {p95:6.1f} ms  {len(seconds):5} times  ({most})")


def megabytes(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure_inference(bundle):
    recognizer = EmotionRecognizer.load(bundle)
    y = np.resize(CLIP, 3 * recognizer.config.sr)
    recognizer.probabilities([y])
    seconds = []
    for _ in range(200):
        start = time.perf_counter()
        recognizer.probabilities([y])
        seconds.append(time.perf_counter() - start)
    show("inference, 3 s of sound", seconds, "p50 at most 30 ms")


def client(url, content, delay, end, seconds, errors):
    """Post the clip every two seconds, whenever the last answer came."""
    with requests.Session() as session:
        due = time.perf_counter() + delay
        while due < end:
            time.sleep(max(0, due - time.perf_counter()))
            start = time.perf_counter()
            try:
                answer = session.post(f"{url}/api/predict", data=content, timeout=30)
                answer.raise_for_status()
                seconds.append(time.perf_counter() - start)
            except requests.RequestException as error:
                errors.append(str(error))
            due += EVERY


def measure_load(url, pid, clients, duration):
    content = io.BytesIO()
    sf.write(content, CLIP, SAMPLE_RATE, format="WAV")
    for _ in range(20):
        requests.post(f"{url}/api/predict", data=content.getvalue())
    seconds, errors, end = [], [], time.perf_counter() + duration
    delays = np.linspace(0, EVERY, clients, endpoint=False)
    tasks = [(url, content.getvalue(), delay, end, seconds, errors) for delay in delays]
    threads = [threading.Thread(target=client, args=task) for task in tasks]
    before = megabytes(pid)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    show(f"{clients} clients for {duration} s", seconds, "p95 under 1000 ms")
    print(f"  errors {len(errors)}; memory {before:.0f} -> {megabytes(pid):.0f} MB")


def measure_stream(url, duration):
    stream = websocket.create_connection(
        f"{url.replace('http', 'ws')}/api/stream?sr={SAMPLE_RATE}", timeout=10
    )
    samples, step = (CLIP * 32767).astype("<i2"), SAMPLE_RATE // 10
    answers = []

    def listen():
        while True:
            try:
                answers.append(json.loads(stream.recv()))
            except (websocket.WebSocketException, ValueError, OSError):
                return

    listener = threading.Thread(target=listen)
    listener.start()
    for i in range(10 * duration):
        stream.send_binary(np.roll(samples, -i * step)[:step].tobytes())
        time.sleep(0.1)
    stream.close()
    listener.join()
    seconds = [answer["ms"] / 1000 for answer in answers]
    show("one stream, chunk to label", seconds, "p95 at most 250 ms")
    print(f"  a decision every {duration / len(answers):.2f} s (at least every 0.5 s)")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", default=ACTED6)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    measure_inference(options.bundle)
    command = [
        sys.executable,
        "-m",
        "ser_utils.deploy.server",
        "--port",
        "0",
        "--bundle",
        options.bundle,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().split()[0]
            measure_load(url, process.pid, options.clients, options.seconds)
            measure_stream(url, min(30, options.seconds))
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
