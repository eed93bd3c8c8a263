"""Damaged and forged audio files, and what `load_audio` and `extract_features` make of them.

    python benchmarks/fuzz.py --n 10000 --seed 0
    SER_DATA_DIR=path/to/tess python benchmarks/fuzz.py   # clips of that corpus are damaged, too

Mutation i depends on the seed and i alone. Each file is read by a worker process under a watchdog.
Good outcomes are finite features and `AudioError`; bad ones are a crash, a hang, much memory, any
other exception or warning, and features that are not finite: such files stay in output/fuzz.
"""

import argparse
import collections
import functools
import io
import multiprocessing
import os
import re
import struct
import sys
import time
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf

from ser_utils.audio import MP3_RATES

SECONDS, MEGABYTES = 2, 500  # the most that one file may take; megabytes of the whole process
CLIP_SECONDS = 1.5  # of a clip to damage
ENCODINGS = (
    ("wav", "PCM_16"),
    ("wav", "PCM_24"),
    ("wav", "PCM_U8"),
    ("wav", "FLOAT"),
    ("wav", "DOUBLE"),
    ("wav", "ULAW"),
    ("flac", "PCM_16"),
    ("ogg", "VORBIS"),
    ("mp3", "MPEG_LAYER_III"),
)
RATES = (0, 1, 7, 999, 1000, 8000, 44100, 767999, 768000, 768001, 2**20 - 1, 2**31 - 1, 2**32 - 1)
CHANNELS = (0, 1, 2, 3, 8, 255, 1024, 1025, 65535)
BITS = (0, 1, 2, 4, 8, 12, 16, 20, 24, 32, 64, 255, 65535)
CODECS = (0, 1, 2, 3, 6, 7, 0x11, 0x31, 0x40, 0x50, 0x55, 0x64, 0xFFFE, 0xFFFF)  # WAV format tags
SIZES = (0, 1, 3, 2**16 + 1, 2**31 - 1, 2**31, 2**32 - 8, 2**32 - 1)
LENGTHS = (0, 1, 2**16, 2**28, 2**31, 2**35, 2**36 - 1)
SAMPLES = (np.nan, np.inf, -np.inf, 1e-42, 1e9, 1e12, 1e30, 3.4e38)
MAGICS = (
    b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\0\0\0\x01\0\x01\0",
    b"RIFX\0\0\xff\xffWAVE",
    b"RF64\xff\xff\xff\xffWAVEds64",
    b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0",
    b"fLaC\0\0\0\x22",
    b"OggS\0\x02" + bytes(20) + b"\x01\x1e\x01vorbis",
    b"OggS\0\x02" + bytes(20) + b"\x01\x13OpusHead\x01",
    b"ID3\x04\0\0\0\0\x01\0",
    b"\xff\xfb\x90\x64",
    b"FORM\0\x01\0\0AIFFCOMM",
    b".snd\0\0\0\x18",
    b"caff\0\x01\0\0desc",
    b"MATLAB 5.0 MAT-file",
    b"Creative Voice File\x1a",
    b"PK\x03\x04",
)


class Result(NamedTuple):
    """What became of one file: outcome, the error if any, seconds and peak megabytes."""

    outcome: str
    detail: str
    seconds: float
    megabytes: float


def pick(rng, options):
    return options[rng.integers(len(options))]


# Clips to damage


def encode(y, sr, container, subtype):
    """Make the bytes of an audio file."""
    file = io.BytesIO()
    sf.write(file, y, sr, format=container.upper(), subtype=subtype)
    return file.getvalue()


def clips_of(folder, n=2):
    """Take some clips of a corpus, as they are and encoded in every way: suffix and bytes each."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix in (".wav", ".flac"))
    clips = []
    for path in paths[:: -(-len(paths) // n)]:
        y, sr = sf.read(path)
        y = y[: int(CLIP_SECONDS * sr)]
        sr = sr if sr in MP3_RATES else 24000
        stereo = np.stack([y, y[::-1]], axis=1)
        clips.append((path.suffix, path.read_bytes()))
        for container, subtype in ENCODINGS:
            clips.append((f".{container}", encode(y, sr, container, subtype)))
            clips.append((f".{container}", encode(stereo, sr, container, subtype)))
    return clips


# What can be wrong with bytes in general: each of these takes and returns them


def flip(rng, data):
    """Random bytes anywhere."""
    data = np.frombuffer(data, np.uint8).copy()
    n = min(len(data), 2 ** rng.integers(7))
    data[rng.integers(len(data), size=n)] = rng.integers(256, size=n)
    return data.tobytes()


def flip_header(rng, data):
    """Random bytes among the first 200."""
    return flip(rng, data[:200]) + data[200:]


def truncate(rng, data):
    """An end that is missing; half of the time little but the header is left."""
    return data[: rng.integers(pick(rng, [200, len(data)]))]


def extend(rng, data):
    """Bytes too many at the end."""
    return data + pick(rng, [rng.bytes(3000), bytes(3000), data[-3000:]])


def splice(rng, data):
    """A stretch that is missing, or there twice."""
    first, second = rng.integers(len(data), size=2)
    return data[:first] + data[second:]


def write_word(rng, data):
    """A number of 32 bits, in either byte order, among the first 200 bytes."""
    at = int(rng.integers(200))
    return put(data, at, struct.pack(pick(rng, ["<I", ">I"]), pick(rng, SIZES)))


# What can be forged in a format: each of these leaves bytes of another format as they are


def put(data, at, new):
    """Overwrite bytes."""
    return data[:at] + new + data[at + len(new) :]


def put_bits(data, shift, n_bits, value):
    """Overwrite a field of FLAC's STREAMINFO: rate, channels, bits and length share 8 bytes."""
    fields = int.from_bytes(data[18:26], "big") & ~((1 << n_bits) - 1 << shift)
    value = int(value) & (1 << n_bits) - 1
    return put(data, 18, (fields | value << shift).to_bytes(8, "big"))


def forge_sizes(rng, data):
    """The size of a chunk of WAV or of a metadata block of FLAC."""
    size = pick(rng, SIZES)
    if data.startswith(b"fLaC"):
        return put(data, 5, (size & 0xFFFFFF).to_bytes(3, "big"))
    found = [data.find(name) for name in (b"RIFF", b"fmt ", b"fact", b"PEAK", b"data")]
    at = [position for position in found if position >= 0]
    return put(data, pick(rng, at) + 4, struct.pack("<I", size)) if at else data


def forge_length(rng, data):
    """The number of samples that FLAC, WAV, OGG or MP3 declares."""
    length = pick(rng, LENGTHS)
    if data.startswith(b"fLaC"):
        return put_bits(data, 0, 36, length)
    if data.startswith(b"OggS"):
        return put(data, data.rfind(b"OggS") + 6, struct.pack("<q", length))
    for name, order, skip in ((b"fact", "<I", 8), (b"Xing", ">I", 8), (b"Info", ">I", 8)):
        if name in data[:300]:
            return put(data, data.find(name) + skip, struct.pack(order, length & 0xFFFFFFFF))
    return data


def forge_rate(rng, data):
    """The sample rate."""
    rate = pick(rng, RATES)
    if data.startswith(b"fLaC"):
        return put_bits(data, 44, 20, rate)
    if data.startswith(b"OggS"):
        return put(data, data.find(b"vorbis") + 11, struct.pack("<I", rate))
    return put(data, 24, struct.pack("<I", rate)) if data.startswith(b"RIFF") else data


def forge_channels(rng, data):
    """The number of channels; in WAV half of the time with the frame size that goes with it."""
    channels = pick(rng, CHANNELS)
    if data.startswith(b"fLaC"):
        return put_bits(data, 41, 3, channels)
    if data.startswith(b"OggS"):
        return put(data, data.find(b"vorbis") + 10, bytes([channels & 255]))
    if not data.startswith(b"RIFF"):
        return data
    if rng.integers(2):
        frame_size = channels * int.from_bytes(data[34:36], "little") // 8
        data = put(data, 32, struct.pack("<H", frame_size & 0xFFFF))
    return put(data, 22, struct.pack("<H", channels))


def forge_bits(rng, data):
    """The bits of a sample, and in WAV half of the time its codec."""
    bits = pick(rng, BITS)
    if data.startswith(b"fLaC"):
        return put_bits(data, 36, 5, bits)
    if not data.startswith(b"RIFF"):
        return data
    if rng.integers(2):
        data = put(data, 20, struct.pack("<H", pick(rng, CODECS)))
    return put(data, 34, struct.pack("<H", bits))


def forge_frames(rng, data):
    """The headers of MP3's frames: version, layer, bit rate, sample rate and channels."""
    positions = [match.start() for match in re.finditer(b"\xff[\xe0-\xff]", data)]
    if not data.startswith((b"\xff", b"ID3")) or not positions:
        return data
    header = bytes([255, 0xE0 | int(rng.integers(32))]) + rng.bytes(2)
    for at in positions if rng.integers(2) else [pick(rng, positions)]:
        data = put(data, at, header)
    return data


def plant_samples(rng, data):
    """NaN, infinity, and what is too small or too large in a WAV of floats."""
    bits = int.from_bytes(data[34:36], "little")
    if data[20:22] != b"\x03\0" or bits not in (32, 64):
        return data
    kind = "<f" if bits == 32 else "<d"
    value = struct.pack(kind, np.float32(pick(rng, SAMPLES)))
    if bits == 64 and rng.integers(2):
        value = struct.pack(kind, pick(rng, [1e300, 1e-310]))
    start = data.find(b"data") + 8
    room = (len(data) - start) // len(value)
    return put(data, start + int(rng.integers(room)) * len(value), value * rng.integers(1, room))


@functools.cache
def ogg_crc_of(byte):
    """Checksum of one byte."""
    crc = byte << 24
    for _ in range(8):
        crc = (crc << 1 ^ (0x04C11DB7 if crc & 2**31 else 0)) & 0xFFFFFFFF
    return crc


def repair_ogg(data):
    """Make the checksums of OGG's pages right again, so that forged ones are not just skipped."""
    pages = [match.start() for match in re.finditer(b"OggS", data)]
    for start, end in zip(pages, [*pages[1:], len(data)], strict=True):
        if end - start >= 27:
            crc = 0
            for byte in put(data[start:end], 22, bytes(4)):
                crc = (crc << 8 & 0xFFFFFFFF) ^ ogg_crc_of(crc >> 24 ^ byte)
            data = put(data, start + 22, struct.pack("<I", crc))
    return data


# Files that are something else: each of these takes two clips and returns a suffix and bytes


def zeros(rng, one, other):
    """Nothing, or nothing but zeros."""
    return one[0], bytes(pick(rng, [0, len(one[1])]))


def random_bytes(rng, one, other):
    """Noise behind the first bytes of a format."""
    return one[0], pick(rng, MAGICS) + rng.bytes(rng.integers(20000))


def wrong_suffix(rng, one, other):
    """A format behind the suffix of another one, or one that has none."""
    return pick(rng, [".wav", ".mp3", ".flac", ".ogg", ".raw", ".aiff", ".vox", ""]), one[1]


def zipped(rng, one, other):
    """A zip file."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"a{one[0]}", one[1])
    return pick(rng, [".mp3", ".wav"]), archive.getvalue()


def inside_wav(rng, one, other):
    """Any file as the sound of a WAV."""
    header = encode(np.zeros(len(one[1]) // 2), 16000, "wav", "PCM_16")[:44]
    return ".wav", header + one[1]


def tagged(rng, one, other):
    """An ID3 tag before a file, with a size that is right or not."""
    size = int(pick(rng, [500, 0, 2**21]))
    digits = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    return one[0], b"ID3\x04\0\0" + digits + bytes(500) + one[1]


def joined(rng, one, other):
    """Two files, one behind the other."""
    return one[0], one[1] + other[1]


DAMAGES = (flip, flip_header, truncate, extend, splice, write_word)
FORGERIES = (
    forge_sizes,
    forge_length,
    forge_rate,
    forge_channels,
    forge_bits,
    forge_frames,
    plant_samples,
)
SUBSTITUTES = (zeros, random_bytes, wrong_suffix, zipped, inside_wav, tagged, joined)


def forge(rng, clips, forgery):
    """Pick clips until the forgery changes one."""
    while True:
        suffix, data = pick(rng, clips)
        forged = forgery(rng, data)
        if forged != data:
            return suffix, forged


def mutation(clips, seed, i):
    """Make one file: description, bytes and suffix."""
    rng = np.random.default_rng([seed, i])
    kinds = DAMAGES + FORGERIES + SUBSTITUTES
    kind = pick(rng, kinds)
    if kind in SUBSTITUTES:
        one, other = (pick(rng, clips) for _ in range(2))
        suffix, data = kind(rng, one, other)
    else:
        suffix, data = forge(rng, clips, kind)
    names = [kind.__name__]
    if len(data) and rng.random() < 0.25:  # one more on top
        second = pick(rng, DAMAGES)
        data, names = second(rng, data), [*names, second.__name__]
    if b"OggS" in data and rng.random() < 0.8:
        data, names = repair_ogg(data), [*names, "repair_ogg"]
    return f"{' + '.join(names)} of {suffix or 'no suffix'}", data, suffix


def mutations(clips, n, seed):
    """Yield n damaged files: description, bytes and suffix."""
    for i in range(n):
        yield mutation(clips, seed, i)


# Reading them in a worker process under a watchdog


def peak_megabytes():
    """Most memory this process ever had; on Linux only, elsewhere 0."""
    status = Path("/proc/self/status")  # `getrusage` begins with the memory of the parent
    return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 1e3 if status.exists() else 0


def read(path):
    """Load and extract a file whole, its beginning, and its middle: outcome and error."""
    from ser_utils import AudioError, extract_features, load_audio
    from ser_utils.audio import audio_info

    try:
        audio_info(path)
        for part in ({}, {"duration": 4}, {"offset": 0.5, "duration": 3}):
            y, _ = load_audio(path, **part)
            features = extract_features(y)
            if features.shape != (1 + len(y) // 256, 40):
                return "wrong shape", str(features.shape)
            if not np.isfinite(features).all():
                return "not finite", ""
    except AudioError as error:
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
        outcome, detail = reader(path)
        pipe.send(Result(outcome, detail, time.perf_counter() - start, peak_megabytes()))


class Watchdog:
    """A worker process, and a new one after each that crashed, hung or took too much memory."""

    def __init__(self, warm_up, reader=read):
        self.warm_up, self.reader, self.worker = warm_up, reader, None

    def start(self):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.worker = context.Process(target=work, args=(theirs, self.reader), daemon=True)
        self.worker.start()
        theirs.close()  # so that the end of the worker is the end of the pipe
        self.pipe.send(self.warm_up)  # imports take a second
        self.pipe.recv()

    def stop(self):
        if self.worker:
            self.worker.kill()
            self.worker.join()
            self.pipe.close()
        self.worker = None

    def read(self, path):
        """Have a file read: its `Result`."""
        if not self.worker:
            self.start()
        self.pipe.send(path)
        try:
            answered = self.pipe.poll(2 * SECONDS)
            result = self.pipe.recv() if answered else Result("hang", "killed", 2 * SECONDS, 0)
        except EOFError:
            self.worker.join()
            result = Result("crash", f"exit status {self.worker.exitcode}", 0, 0)
        if result.seconds > SECONDS:
            result = result._replace(outcome="hang")
        if result.megabytes > MEGABYTES:
            result = result._replace(outcome="memory")
        if result.outcome in ("crash", "hang", "memory"):
            self.stop()
        return result


def fuzz(clips, n, seed, folder):
    """Read n damaged files, written to a folder: pairs of description and `Result`."""
    warm_up = Path(folder) / "warm-up.wav"
    warm_up.write_bytes(encode(np.ones(22050) / 2, 22050, "wav", "PCM_16"))
    watchdog, results = Watchdog(warm_up), []
    for i, (description, data, suffix) in enumerate(mutations(clips, n, seed)):
        path = Path(folder) / f"{seed}-{i}{suffix}"
        path.write_bytes(data)
        result = watchdog.read(path)
        results.append((f"seed {seed}, file {i}: {description}", result))
        if result.outcome in ("fine", "AudioError"):
            path.unlink()
    watchdog.stop()
    return results


def bad(results):
    """Say in a line each what must not happen."""
    return [
        f"{description}: {result.outcome} {result.detail}"
        for description, result in results
        if result.outcome not in ("fine", "AudioError")
    ]


def main():
    from ser_utils import data_dir, output_dir
    from ser_utils.corpora.demo_corpus import make_demo_corpus

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10000, help="files")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder = output_dir() / "fuzz"
    folder.mkdir(exist_ok=True)
    clips = clips_of(make_demo_corpus(output_dir().parent / "data" / "demo"))
    if os.environ.get("SER_DATA_DIR"):
        clips += clips_of(data_dir())
    results = fuzz(clips, arguments.n, arguments.seed, folder)
    outcomes = collections.Counter(result.outcome for _, result in results)
    reasons = collections.Counter(re.sub(r"\S*\d\S*", "#", result.detail) for _, result in results)
    print(f"{len(results)} files made from {len(clips)} clips, seed {arguments.seed}")
    for outcome, count in outcomes.most_common():
        print(f"  {outcome:12} {count:6}")
    for reason, count in reasons.most_common(20):
        print(f"      {count:6}   {reason[:70] or 'no error'}")
    print(f"  longest   {max(result.seconds for _, result in results):6.2f} s a file")
    print(f"  most      {max(result.megabytes for _, result in results):6.0f} MB, the process")
    sys.exit("\n".join(bad(results)) or None)


if __name__ == "__main__":
    main()
