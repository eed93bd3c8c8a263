"""Damaged and forged audio files, and what `load_audio` and `extract_features` make of them.

    python benchmarks/fuzz.py --n 10000 --seed 0
    SER_DATA_DIR=path/to/tess python benchmarks/fuzz.py   # clips of that corpus are damaged, too

Mutation i depends on the seed and i alone. Each file is read by a worker process under a watchdog.
Good outcomes are finite features and `AudioError`; bad ones are a crash, a hang, much memory, any
other exception or warning, and features that are not finite: such files stay in output/fuzz.
"""

import argparse
import io
import multiprocessing
import os
import random
import re
import sys
import time
import warnings
import zlib
from collections import namedtuple
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

import ser_utils
from ser_utils.corpora.demo_corpus import make_demo_corpus

SECONDS, MEGABYTES = 2, 500  # the most that one file may take; megabytes of the whole process
Result = namedtuple("Result", "outcome detail seconds megabytes")
GOOD = ("fine", "AudioError")
WAV = ("PCM_16", "PCM_24", "PCM_U8", "FLOAT", "DOUBLE", "ULAW")
ENCODINGS = [*(("wav", kind) for kind in WAV), ("flac", None), ("ogg", None), ("mp3", None)]
# Values at limits and beside them; the small ones are channels, bits and codecs.
RATES = (0, 1, 7, 999, 1000, 8000, 44100, 768000, 768001, 2**20 - 1, 2**31 - 1, 2**32 - 1)
SMALL = (0, 1, 2, 3, 6, 7, 8, 12, 16, 17, 20, 24, 32, 49, 64, 85, 255, 1024, 1025, 65534, 65535)
SIZES = (0, 1, 3, 2**16 + 1, 2**28, 2**31 - 1, 2**31, 2**32 - 8, 2**32 - 1, 2**35, 2**36 - 1)
FIELDS = (  # format, mark to look for, bytes from there to a field, its width and order, values
    (".wav", b"RIFF|fmt |fact|PEAK|data", [4, 8], 4, "little", SIZES),
    (".wav", b"fmt ", [8, 10, 20, 22], 2, "little", SMALL),  # codec, channels, frame, bits
    (".wav", b"fmt ", [12], 4, "little", RATES),
    (".flac", b"fLaC", [4], 4, "big", SIZES),  # of the block
    (".flac", b"fLaC", [18], 3, "big", [rate << 4 for rate in RATES]),  # 20 bits; mono follows
    (".flac", b"fLaC", [20], 1, "big", SMALL),  # channels, and a bit of the next
    (".flac", b"fLaC", [20], 2, "big", [bits << 4 for bits in SMALL]),
    (".flac", b"fLaC", [21], 5, "big", [15 << 36 | size for size in SIZES]),  # 16 bits; samples
    (".ogg", b"\x01vorbis", [11], 1, "little", SMALL),  # channels
    (".ogg", b"\x01vorbis", [12], 4, "little", RATES),
    (".ogg", b"OggS", [6], 8, "little", SIZES),  # samples until the end of the page
    (".mp3", b"Xing|Info", [8], 4, "big", SIZES),  # frames
    (".mp3", b"\xff[\xe0-\xff]", [1], 3, "big", range(0xE00000, 2**24)),  # header of a frame
)
SAMPLES = (np.nan, np.inf, -np.inf, 1e-310, 1e-42, 1e9, 1e12, 1e30, 3.4e38, 1e300)
OTHERS = ("AIFF", "AU", "AVR", "CAF", "MAT5", "NIST", "PAF", "RF64", "VOC", "W64", "WAVEX")
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def encode(y, sr, container, subtype=None):
    """Make the bytes of an audio file."""
    file = io.BytesIO()
    sf.write(file, y, sr, format=container.upper(), subtype=subtype)
    data = file.getvalue()
    at = data.find(b"PEAK") + 12  # a WAV of floats notes the time there; the seed must decide
    return data[:at] + bytes(4) + data[at + 4 :] if at > 12 else data


def clips_of(folder, n=2):
    """Take some clips of a corpus, as they are and encoded in every way: suffix and bytes each."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix in (".wav", ".flac"))
    clips = []
    for path in paths[:: -(-len(paths) // n)]:
        clips.append((path.suffix, path.read_bytes()))
        y = sf.read(path, 24000, always_2d=True)[0][:, 0]
        for sound in (y, np.stack([y, y[::-1]], axis=1)):
            clips += [(f".{kind}", encode(sound, 16000, kind, sub)) for kind, sub in ENCODINGS]
    return clips


def put(data, at, new):
    """Overwrite bytes."""
    return data[:at] + new + data[at + len(new) :]


def damage(rng, data):
    """Damage bytes of any kind."""
    start, stop = sorted(rng.choices(range(len(data)), k=2))
    flipped, end = bytearray(data), min(len(data), rng.choice([200, len(data)]))
    for _ in range(2 ** rng.randrange(7)):
        flipped[rng.randrange(end)] = rng.randrange(256)
    number = (rng.choice(SIZES) & 2**32 - 1).to_bytes(4, rng.choice(["little", "big"]))
    ways = [
        bytes(flipped),
        put(data, rng.randrange(200), number),
        data[: rng.choice([start, rng.randrange(200)])],  # cut short
        data[:start] + data[stop:],  # a gap
        data[:stop] + data[start:],  # a stretch twice
        data + rng.choice([rng.randbytes(3000), bytes(3000), data[-3000:]]),
    ]
    return rng.choice(ways)


def forge(rng, clips):
    """Change a field of a clip that has it: suffix and bytes."""
    suffix, mark, skips, width, order, values = rng.choice(FIELDS)
    data = rng.choice([data for kind, data in clips if kind == suffix and re.search(mark, data)])
    found = [match.start() for match in re.finditer(mark, data)]
    skip, value = rng.choice(skips), rng.choice(values) & 256**width - 1
    for at in rng.choice([found, found[-1:], [rng.choice(found)]]):
        data = put(data, at + skip, value.to_bytes(width, order))
    return suffix, data


def substitute(rng, clips):
    """Make a file that is something else than it seems: suffix and bytes."""
    (suffix, data), (_, other) = rng.choices(clips, k=2)
    size, rate = rng.choice([500, 0, 2**21]), rng.choice(RATES[1:-1])
    tag = b"ID3\x04\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + bytes(500)
    samples = np.repeat([0.1, rng.choice(SAMPLES), 0.1], rng.choices(range(1, 20000), k=3))
    channels = np.ones((999, rng.randrange(1, 1025)))
    ways = [
        (suffix, bytes(rng.choice([0, len(data)]))),
        (suffix, data[: rng.randrange(200)] + rng.randbytes(rng.randrange(20000))),
        (suffix, encode(samples, 16000, rng.choice(OTHERS), "PCM_16")),
        (rng.choice([".wav", ".mp3", ".flac", ".ogg", ".raw", ".aiff", ".vox", ""]), data),
        (suffix, tag + data),
        (suffix, data + other),
        (".wav", encode(samples[:0], 16000, "wav", "PCM_16") + data),
        (".wav", encode(samples, 16000, "wav", rng.choice(["FLOAT", "DOUBLE"]))),
        (".wav", encode(channels, rate, "wav", "PCM_16")),
    ]
    return rng.choice(ways)


def repair_ogg(data):
    """Make the checksums of OGG's pages right again, so that forged ones are not just skipped."""
    head, *pages = data.split(b"OggS")
    for page in pages:
        page = put(b"OggS" + page, 22, bytes(4))
        crc = zlib.crc32(page.translate(MIRRORED), 2**32 - 1) ^ (2**32 - 1)  # OGG's is mirrored
        head += put(page, 22, int(f"{crc:032b}"[::-1], 2).to_bytes(4, "little"))
    return head


def mutations(clips, n, seed):
    """Yield n damaged files: suffix and bytes each."""
    for i in range(n):
        rng = random.Random(f"{seed} {i}")
        suffix, data = rng.choice([rng.choice(clips), forge(rng, clips), substitute(rng, clips)])
        if data and ((suffix, data) in clips or rng.random() < 0.25):
            data = damage(rng, data)
        if b"OggS" in data and rng.random() < 0.8:
            data = repair_ogg(data)
        yield suffix, data


def peak_megabytes():
    """Most memory this process ever had; on Linux only, elsewhere 0."""
    status = Path("/proc/self/status")  # `getrusage` begins with the memory of the parent
    return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 1e3 if status.exists() else 0


def read(path):
    """Load and extract a file whole, its beginning, and its middle: outcome and error."""
    try:
        ser_utils.audio.audio_info(path)
        for part in ({}, {"duration": 4}, {"offset": 0.5, "duration": 3}):
            y, _ = ser_utils.load_audio(path, **part)
            features = ser_utils.extract_features(y)
            if features.shape != (1 + len(y) // 256, 40):
                return "wrong shape", str(features.shape)
            if not np.isfinite(features).all():
                return "not finite", ""
    except ser_utils.AudioError as error:
        return "AudioError", error.reason
    except Exception as error:
        return "exception", repr(error)
    return "fine", ""


def work(pipe, reader):
    """Read files until the process is ended."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders write about what they meet
    warnings.simplefilter("error")
    while True:
        path = pipe.recv()
        start = time.perf_counter()
        pipe.send(Result(*reader(path), time.perf_counter() - start, peak_megabytes()))


class Watchdog:
    """A worker process, and a new one after each that crashed, hung or took too much memory."""

    def __init__(self, warm_up, reader=read):
        self.warm_up, self.reader = warm_up, reader
        self.start()

    def start(self):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.worker = context.Process(target=work, args=(theirs, self.reader), daemon=True)
        self.worker.start()
        theirs.close()  # so that the end of the worker is the end of the pipe
        self.pipe.send(self.warm_up)  # imports take a second
        self.pipe.recv()

    def stop(self):
        self.worker.kill()
        self.worker.join()

    def read(self, path):
        """Have a file read: its `Result`."""
        self.pipe.send(path)
        try:
            result = self.pipe.recv() if self.pipe.poll(SECONDS) else Result("hang", "", SECONDS, 0)
        except EOFError:
            self.worker.join()
            result = Result("crash", f"exit status {self.worker.exitcode}", 0, 0)
        if result.megabytes > MEGABYTES:
            result = result._replace(outcome="memory")
        if result.outcome in ("crash", "hang", "memory"):
            self.stop()
            self.start()
        return result


def fuzz(clips, n, seed, folder):
    """Read n damaged files, written to a folder: a table of each one's `Result`."""
    warm_up = Path(folder) / "warm-up.wav"
    warm_up.write_bytes(encode(np.ones(22050) / 2, 22050, "wav", "PCM_16"))
    watchdog, results = Watchdog(warm_up), {}
    for i, (suffix, data) in enumerate(mutations(clips, n, seed)):
        path = Path(folder) / f"{seed}-{i}{suffix}"
        path.write_bytes(data)
        results[path.name] = watchdog.read(path)
        if results[path.name].outcome in GOOD:
            path.unlink()
    watchdog.stop()
    return pd.DataFrame.from_dict(results, orient="index", columns=Result._fields)


def bad(table):
    """Say in a line each what must not happen."""
    rows = table[~table["outcome"].isin(GOOD)]
    return [f"{row.Index}: {row.outcome} {row.detail}" for row in rows.itertuples()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10000, help="files")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder = ser_utils.output_dir() / "fuzz"
    folder.mkdir(exist_ok=True)
    clips = clips_of(make_demo_corpus(Path(__file__).parents[1] / "data" / "demo"))
    if os.environ.get("SER_DATA_DIR"):
        clips += clips_of(ser_utils.data_dir())
    table = fuzz(clips, arguments.n, arguments.seed, folder)
    reasons = table["detail"].str.replace(r"\S*\d\S*", "#", regex=True).str[:70]
    print(f"{len(table)} files made from {len(clips)} clips, seed {arguments.seed}")
    print(table["outcome"].value_counts().to_string(header=False))
    print(reasons.replace("", "no error").value_counts().to_string(header=False))
    print(f"at most {table['seconds'].max():.2f} s a file, {table['megabytes'].max():.0f} MB")
    sys.exit("\n".join(bad(table)) or None)


if __name__ == "__main__":
    main()
