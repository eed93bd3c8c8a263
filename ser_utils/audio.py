"""From a file to a waveform: decode, mix down to mono, resample, listen.

Notebook: 01_load (what is in a file), 02_eda (see it and hear it).
"""

import html
import io
import math
import os
import re

import numpy as np
import soundfile as sf
import soxr

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)

# What is believed of a header or a sample, so that no file fills the memory or gives infinities.
RATES = range(1000, 768001)  # Hz; resampling from 1 Hz would take gigabytes
LONGEST = 2**28  # samples read in one call: 1 GB, 93 minutes at 48 kHz
LOUDEST = 2.0**31  # of 32-bit integers saved as floats; squares of far larger numbers overflow
BLOCK = 2**22  # samples decoded at once, all channels together


class AudioError(ValueError):
    """A clip that cannot be used, with its path and the reason in one sentence.

    Parameters
    ----------
    path : str or Path or None
        The file, or None for a waveform that came from no file.
    reason : str
        What is wrong and what to do about it.
    """

    def __init__(self, path, reason):
        path = path if isinstance(path, (str, os.PathLike)) else None
        super().__init__(path, reason)  # both, so that the error survives a trip between processes
        self.path, self.reason = path, reason

    def __str__(self):
        return f"{self.path}: {self.reason}" if self.path else self.reason


def write_whole(path, content, part=None):
    """Write a file whole or not at all: first as ``part``, beside it by default, then renamed."""
    part = part or path.with_suffix(".part")  # no name of audio
    part.write_bytes(content)
    os.replace(part, path)


def wav_content(y, sr):
    """What a 16-bit WAV file of a waveform holds, as bytes."""
    wav = io.BytesIO()
    sf.write(wav, y, sr, format="WAV", subtype="PCM_16")
    return wav.getvalue()


class _Stream(sf.SoundFile):
    """A file that soundfile does not seek in after each block, which would put noise in an MP3."""

    def seekable(self):
        return False


def _fault(file):
    """Say in one sentence what is wrong with the header of an open file; None if nothing is."""
    if file.samplerate not in RATES:
        return f"its sample rate, {file.samplerate} Hz, is not 1000 to 768000 Hz; export it again."
    # libsndfile reads a cut WAV without complaint and mentions the lost bytes only in its log;
    # sizes from 2 GB up are what programs write that stream and do not know the length.
    m = re.search(r"data : (\d+) \(should be (\d+)\)", file.extra_info)
    if m and int(m[2]) < int(m[1]) < 2**31 - 1:
        return f"the file is cut short: {m[2]} of {m[1]} bytes of sound are there; fetch it again."
    if not 0 < file.frames < 2**63 - 1:  # the latter: FLAC that was streamed
        return "the file holds no samples or does not say how many; leave it out or convert it."


def _open(path):
    """Open an audio file, or say in one sentence why that cannot be done."""
    if isinstance(path, io.BytesIO):
        path.seek(0)
        size = len(path.getbuffer())
    elif not os.path.isfile(path):
        raise AudioError(path, "there is no such file; check the path.")
    else:
        size = os.path.getsize(path)
    if size == 0:
        raise AudioError(path, "the file is empty (0 bytes); fetch it again.")
    try:
        file = _Stream(path)
    except (sf.LibsndfileError, TypeError):  # TypeError: a .raw file has no header to read
        reason = f"this is not readable audio; {', '.join(AUDIO_SUFFIXES)} can be read, "
        reason += "other formats first need converting (ffmpeg -i clip.m4a clip.wav)."
        raise AudioError(path, reason) from None
    if fault := _fault(file):
        file.close()
        raise AudioError(path, fault)
    return file


def _header(file):
    """What the header of an open file says."""
    return {
        "sr": file.samplerate,
        "channels": file.channels,
        "subtype": file.subtype,
        "seconds": file.frames / file.samplerate,
    }


def audio_info(path):
    """Read what the header of an audio file says, without decoding the sound.

    Parameters
    ----------
    path : str, Path or io.BytesIO
        A WAV, FLAC, OGG or MP3 file, or its content.

    Returns
    -------
    dict
        ``sr`` (Hz), ``channels``, ``subtype`` (libsndfile's name of the sample format) and
        ``seconds``.

    Raises
    ------
    AudioError
        If the file is missing, empty, cut short (WAV), not audio, or of an absurd sample rate.

    Notes
    -----
    Notebook: 01_load.
    """
    with _open(path) as file:
        return _header(file)


def _read_mono(file, length, path):
    """Decode and mix down block by block, until the length is reached or the sound ends."""
    y, n = np.empty(length, dtype=np.float32), 0  # takes no memory before it is written to
    while n < length:
        block = file.read(min(length - n, BLOCK // file.channels), "float32", always_2d=True)
        if not len(block):
            break
        peak = max(block.max(), -block.min())
        if not peak <= LOUDEST:  # so that NaN is refused, too
            reason = f"a sample is {peak:g}; NaN, infinite ones and those beyond {LOUDEST:.0e}"
            raise AudioError(path, f"{reason} are no sound (full scale is 1), export it again.")
        y[n : n + len(block)] = block[:, 0] if file.channels == 1 else block.mean(axis=1)
        n += len(block)
    return y[:n]


def read_audio(path, *, offset=0.0, duration=None):
    """Decode a clip at its own sample rate and mix it down to mono; the file is opened once.

    Parameters
    ----------
    path, offset, duration
        As in `load_audio`.

    Returns
    -------
    y : np.ndarray [shape=(n_samples,), dtype=float32]
        The waveform; full scale is +-1.
    header : dict
        What `audio_info` gives, and ``container`` (libsndfile's name of the file format).

    Raises
    ------
    AudioError, ValueError
        As in `load_audio`.
    """
    if not (offset >= 0 and (duration is None or duration > 0)):  # so that NaN is refused, too
        raise ValueError(f"offset={offset} must be 0 s or more, duration={duration} above 0 s.")
    with _open(path) as file:
        sr, start = file.samplerate, int(min(offset * file.samplerate, file.frames))
        length = int(min(file.frames - start, (duration or math.inf) * sr))
        if length <= 0:
            reason = f"the clip lasts {file.frames / sr:.2f} s; use a smaller offset."
            raise AudioError(path, f"no sound after offset={offset:g} s, {reason}")
        _refuse_long(path, length, sr, sr)
        try:
            if start:  # a seek in a FLAC takes time, even to where it is
                file.seek(start)
            y = _read_mono(file, length, path)
        except sf.LibsndfileError:
            raise AudioError(path, "the sound cannot be decoded; fetch it again.") from None
        header = _header(file) | {"container": file.format}
    if len(y) < 0.99 * length:  # seeking in an MP3 may miss by a few samples
        raise AudioError(path, f"cut short: only {len(y)} of {length} samples; fetch it again.")
    return y, header


def _refuse_long(path, n_samples, native_sr, sr):
    """Refuse a waveform that would be longer than `LONGEST` at the rate ``sr``."""
    longest = LONGEST // sr
    if n_samples > longest * native_sr:
        raise AudioError(path, f"over {longest} s are too long to read at once; give duration.")


def load_audio(path, *, sr=16000, offset=0.0, duration=None):
    """Decode a clip, mix it down to mono and resample it.

    Parameters
    ----------
    path : str, Path or io.BytesIO
        A WAV, FLAC, OGG or MP3 file of any sample rate and channel count, or its content.
    sr : int or None
        Sample rate wanted (in Hz); None keeps the file's own.
    offset : float
        Where to start (in seconds).
    duration : float or None
        How much to read at most (in seconds); None reads to the end.

    Returns
    -------
    y : np.ndarray [shape=(n_samples,), dtype=float32]
        The waveform; full scale is +-1.
    sr : int
        Its sample rate (in Hz).

    Raises
    ------
    AudioError
        If the file is missing, empty, cut short, not audio, not finite, absurdly loud, fast, slow
        or long, or ends before ``offset``.
    ValueError
        If ``offset`` is below 0 or ``duration`` not above it.

    Notes
    -----
    The same samples as ``librosa.load`` gives (libsndfile decodes, soxr resamples); own code only
    because that call says nothing of cut or non-finite files and lets library errors through, and
    because importing librosa's half of it costs every worker process a second.
    Notebook: 01_load.
    """
    y, header = read_audio(path, offset=offset, duration=duration)
    native_sr = header["sr"]
    if sr is None or sr == native_sr:
        return y, native_sr
    _refuse_long(path, len(y), native_sr, sr)
    n_samples = math.ceil(len(y) * sr / native_sr)  # as librosa has it; soxr may be one short
    y = soxr.resample(y, native_sr, sr)[:n_samples]
    return np.pad(y, (0, n_samples - len(y))), sr


def listen(y, sr):
    """Make a player for a notebook.

    Parameters
    ----------
    y : np.ndarray [shape=(n_samples,)]
        Mono waveform, full scale +-1; louder samples are clipped, the level is kept as it is.
    sr : int
        Sample rate (in Hz).

    Returns
    -------
    IPython.display.Audio
        Holds the sound as MP3, a tenth of the size of WAV, so that a notebook stays small.

    Notes
    -----
    Notebook: 02_eda.
    """
    from IPython.display import Audio

    if sr not in MP3_RATES:
        y, sr = soxr.resample(y, sr, 24000), 24000
    mp3 = io.BytesIO()
    sf.write(mp3, np.clip(y, -1, 1), sr, format="MP3")
    player = Audio(data=mp3.getvalue())
    player.mimetype = "audio/mpeg"
    return player


def listen_row(sounds, *, hidden=None):
    """Make a row of players, so that sounds can be compared by ear.

    Parameters
    ----------
    sounds : dict of str to tuple
        Caption and ``(y, sr)`` of each player, as `listen` takes them.
    hidden : sequence of str, optional
        One text per player, shown only after a click, such as the true emotion.

    Returns
    -------
    IPython.display.HTML

    Notes
    -----
    Own code because IPython stacks its players, without captions.
    Notebooks: all but 09_new_voices.
    """
    from IPython.display import HTML

    figures = []
    for i, (caption, (y, sr)) in enumerate(sounds.items()):
        answer = ""
        if hidden is not None:
            answer = f"<details><summary>Show</summary>{html.escape(hidden[i])}</details>"
        player = f'<audio controls style="width: 100%" src="{listen(y, sr).src_attr()}"></audio>'
        caption = f"<figcaption>{html.escape(caption)}</figcaption>"
        figures.append(f'<figure style="margin: 0">{caption}{player}{answer}</figure>')
    row = "display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 10px"
    return HTML(f'<div style="{row}">{"".join(figures)}</div>')
