"""The demo corpus: a formant synthesiser that says "Say the word ___" in seven emotions.

Real corpora may not be passed on, so the series brings its own voice. No human acted anything: a
mathematical glottal pulse and seeded noise go through resonators (Klatt 1980), and what makes a
clip "angry" is a column of numbers, set after measurements on TESS. A score on this corpus says
nothing about people.

The tables (phonemes, words, voices, emotions) are in ``demo/``, each explained at its top. Here
follow one clip in small steps::

    settings -> phonemes in time -> parameter tracks -> F0 -> glottal source -> spectral tilt
             -> vocal tract -> hisses and bursts -> level and room noise

and last the 560 files. `SPEAKER_SPREAD` and `CLIP_SPREAD` set how hard the corpus is.

References
----------
Klatt (1980), "Software for a cascade/parallel formant synthesizer", JASA 67.
Klatt and Klatt (1990), "Analysis, synthesis, and perception of voice quality", JASA 87.
Peterson and Barney (1952), "Control methods used in a study of the vowels", JASA 24.
Fant (1960), "Acoustic Theory of Speech Production".

Notebook: 01_load.
"""

import functools
import itertools
import os
import shutil
import types
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy  # loads scipy.signal and scipy.linalg when they are first used

from ..audio import wav_content, write_whole
from ..parallel import map_clips

DEMO_VERSION = "1"  # raise it with any change below or in demo/: then the corpus is made again
SAMPLE_RATE = 22050  # Hz
PEAK = 0.965  # no sample is larger

SPEAKER_SPREAD = 1.0  # how differently the voices express an emotion; 0: all alike, 2: harder
CLIP_SPREAD = 1.0  # how much the clips of one voice and emotion vary; 0: all alike, 2: harder


EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")  # ps: pleasant surprise


def _table(name):
    """Read a table of ``demo/``; the comment at its top says what the columns are."""
    path = Path(__file__).parent / "demo" / f"{name}.csv"
    return pd.read_csv(path, comment="#", index_col=0, skipinitialspace=True)


def _rows(name):
    """Read a table as named tuples, by the name in the first column."""
    return {row.Index: row for row in _table(name).itertuples()}


PHONEMES, VOICES, RULES = _rows("phonemes"), _rows("voices"), _rows("rules")
KINDS = {kind: list(parts.itertuples()) for kind, parts in _table("kinds").groupby("kind")}
WORDS = _table("words")["phonemes"].to_dict()
CARRIER = ("S EY", "DH AX", "W ER D pause")  # "Say the word"
MELODIES = _table("melodies")
MELODY_BEATS = (0.5, 1.5, 2.5, 3.2, 3.9)  # where these five stand, counted in syllables
TREMOR_HZ = 6.0


class Segment(NamedTuple):
    """A part of a phoneme in its place."""

    phoneme: tuple  # a row of PHONEMES
    part: tuple  # a row of KINDS
    start: float  # s, from the first phoneme
    end: float  # s
    beat: tuple  # where it begins and ends, counted in syllables: 3.0 is where the last word begins


def _random(*key):
    """A generator that gives a key the same numbers for ever (numpy has frozen this stream)."""
    return np.random.RandomState(zlib.crc32("|".join(key).encode()))


def _clip_settings(word, emotion, speaker):
    """Choose the settings of one clip: the rule, the voice's own style, and chance.

    Parameters
    ----------
    word, emotion, speaker : str
        As in `synthesize`.

    Returns
    -------
    types.SimpleNamespace
        A value for each of `RULES`, those that a voice has too already combined with it, and
        ``melody`` : np.ndarray [shape=(5,)] in semitones.
    """
    voice, feels = VOICES[speaker], emotion != "neutral"
    by_speaker = _random("style", speaker, emotion).standard_normal(len(RULES) + 1)
    by_speaker *= SPEAKER_SPREAD * feels  # neutral is what the voice table says
    by_clip = _random("clip", speaker, emotion, word).standard_normal(len(RULES) + 7) * CLIP_SPREAD
    melody_change, lean_change, strength_change = by_clip[-7:-2], by_clip[-2], by_clip[-1]
    strength = voice.expression * np.clip(1 + 0.17 * strength_change, 0.45, 1.5)
    clip = types.SimpleNamespace()
    for (name, rule), own, chance in zip(RULES.items(), by_speaker, by_clip, strict=False):
        neutral, value = rule.neutral, getattr(rule, emotion)
        value = neutral + strength * (value - neutral)
        change = rule.voice * own + rule.clip * chance
        value = value + change if rule.how == "+" else value * np.exp(change)
        setattr(clip, name, float(np.clip(value, rule.lowest, rule.highest)))
    lean = np.clip(0.5 + 0.3 * by_speaker[-1] + 0.1 * lean_change, 0, 1)
    melody = np.average(MELODIES.loc[emotion], axis=0, weights=(lean, 1 - lean))
    melody += 0.07 * melody_change
    clip.melody = (melody - melody.mean()) / max(np.ptp(melody), 0.3) * clip.range
    clip.f0 = voice.f0 * 2 ** (clip.semitones / 12)
    clip.duration *= voice.tempo
    clip.tilt += voice.tilt
    clip.breath *= voice.breath
    clip.level += voice.level
    clip.tract, clip.noise = voice.tract * clip.shift, voice.noise
    return clip


def _plan(word, clip):
    """Put the phonemes of "Say the word ___" in their place.

    Returns
    -------
    list of Segment
        Without gaps; a stop makes two, its closure and its release.
    """
    segments, start = [], 0.0
    for beat, syllable in enumerate((*CARRIER, WORDS[word])):
        last = beat == len(CARRIER)
        phonemes = [PHONEMES[name] for name in syllable.split()]
        seconds = [max(0.045, _seconds(phoneme, last, clip)) for phoneme in phonemes]
        total, begin = sum(seconds), start
        for phoneme, duration in zip(phonemes, seconds, strict=True):
            for part in KINDS[phoneme.kind]:
                end = start + part.share * duration
                beats = (beat + (start - begin) / total, beat + (end - begin) / total)
                segments.append(Segment(phoneme, part, start, end, beats))
                start = end
    return segments


def _seconds(phoneme, last, clip):
    """Duration of a phoneme (s); those of the last word are longer, above all its vowel."""
    stretch = 1.0
    if last:
        stretch = 1.45 * clip.last if phoneme.kind == "vowel" else 1.15
    return 1.38e-3 * phoneme.ms * clip.duration * stretch


def _tracks(segments, clip, times):
    """Let every parameter of the synthesiser move from phoneme to phoneme.

    Parameters
    ----------
    segments : list of Segment
    clip : types.SimpleNamespace
    times : np.ndarray [shape=(n_samples,)]
        Seconds from the first phoneme.

    Returns
    -------
    types.SimpleNamespace
        ``formants`` (Hz), list of three np.ndarray [shape=(n_samples,)]; ``voicing``,
        ``aspiration``, ``nasality`` (0..1) and ``beat`` (syllables) [shape=(n_samples,)].

    Notes
    -----
    Formants rest in the middle of a phoneme and are on the move up to 45 ms around its borders:
    neighbours colour each other (coarticulation).
    """
    track = functools.partial(_track, segments, times)
    hertz = [_formants(segments, index, clip) for index in range(len(segments))]
    nasal = [float(each.phoneme.kind == "nasal") for each in segments]
    return types.SimpleNamespace(
        formants=[track([(a[k], b[k]) for a, b in hertz], 0.045) for k in range(3)],
        voicing=track([(each.part.voicing,) * 2 for each in segments], 0.012, outside=0),
        aspiration=track([(each.part.aspiration,) * 2 for each in segments], 0.006, outside=0),
        nasality=track([(each, each) for each in nasal], 0.006),
        beat=track([each.beat for each in segments], 0.0),
    )


def _track(segments, times, values, margin, outside=None):
    """Draw straight lines between two values a segment, ``margin`` (s) inside its ends."""
    knots = []
    for segment in segments:
        inside = min(margin, 0.35 * (segment.end - segment.start))
        knots += [segment.start + inside, segment.end - inside]
    return np.interp(times, knots, np.ravel(values), left=outside, right=outside)


def _formants(segments, index, clip):
    """F1 to F3 (Hz) at the beginning and end of a segment, two np.ndarray [shape=(3,)]."""
    phoneme = segments[index].phoneme
    if np.isnan(phoneme.f1):  # the mouth is already where the next sound needs it
        return (_formants(segments, index + 1, clip)[0],) * 2
    begin = np.array([phoneme.f1, phoneme.f2, phoneme.f3])
    end = np.array([phoneme.end_f1, phoneme.end_f2, phoneme.end_f3])
    hertz = np.array([begin, np.where(np.isnan(end), begin, end)])
    if phoneme.kind == "vowel":
        centre = np.array([500, 1500, 2500])  # a tube without any shape: the vowel of "the"
        hertz = centre + clip.vowels * (hertz - centre)
    return tuple(hertz * clip.tract)


def _f0(clip, tracks, times, random):
    """Fundamental frequency at every sample.

    Returns
    -------
    np.ndarray [shape=(n_samples,)]
        Hz, between 65 and 620: the melody, a fall of a quarter semitone per syllable
        (declination), tremor, and a slow random drift.
    """
    semitones = np.interp(tracks.beat, MELODY_BEATS, clip.melody) - 0.25 * tracks.beat
    semitones += clip.tremor * np.sin(2 * np.pi * TREMOR_HZ * times)
    drift_times = np.arange(-0.3, 4, 0.2)
    semitones += np.interp(times, drift_times, 0.15 * random.standard_normal(len(drift_times)))
    return np.clip(clip.f0 * 2 ** (semitones / 12), 65, 620)


def _glottal_source(clip, tracks, f0, random):
    """Make the sound of the vocal folds: pulses and breath.

    Returns
    -------
    np.ndarray [shape=(n_samples,)]

    Notes
    -----
    Flow in the open part of a cycle is ``t**2 - t**3`` (KLGLOTT88, Klatt and Klatt 1990). Lips
    radiate its change, so its difference is taken here. Jitter changes each cycle's length,
    shimmer its size. Breath noise is weaker while the glottis is shut; the tilt leaves it alone,
    and so it fills even a soft voice above 5 kHz.
    """
    cycle = np.cumsum(f0) / SAMPLE_RATE
    jitter, shimmer = np.clip(random.standard_normal((2, int(cycle[-1]) + 2)), -2, 2) / 100
    cycle = np.cumsum(f0 * (1 + clip.jitter * jitter[cycle.astype(int)])) / SAMPLE_RATE
    index = np.minimum(cycle.astype(int), len(shimmer) - 1)
    phase = (cycle - index) / clip.open
    is_open = phase < 1
    flow = np.where(is_open, phase**2 - phase**3, 0) * (1 + clip.shimmer * shimmer[index])
    pulses = np.diff(flow, prepend=0) * SAMPLE_RATE / f0
    breath = tracks.voicing * clip.breath / 100 * np.where(is_open, 1, 0.35)
    hiss = (breath + 0.1 * tracks.aspiration) * random.standard_normal(len(f0))
    return _spectral_tilt(tracks.voicing * pulses, clip.tilt) + 1.4 * hiss


def _spectral_tilt(source, tilt):
    """Take ``tilt`` dB away at 3 kHz, more above and less below; if negative, add them.

    Notes
    -----
    A low-pass ``(1 - k) / (1 - k / z)`` (Klatt and Klatt 1990, TL), or its inverse. A soft voice
    closes its glottis gently and is dull, a pressed one snaps it shut and is bright.
    """
    power = 10 ** (-abs(tilt) / 10)  # |(1 - k) / (1 - k / z)|**2 at 3 kHz, to be solved for k
    half = (1 - power * np.cos(2 * np.pi * 3000 / SAMPLE_RATE)) / (1 - power + 1e-9)
    k = half - np.sqrt(half**2 - 1)
    low_pass = [1 - k], [1, -k]
    return scipy.signal.lfilter(*(low_pass if tilt > 0 else low_pass[::-1]), source)


def _coefficients(hertz, bandwidth):
    """A, B and C of a resonator of gain 1 at 0 Hz (Klatt 1980, equation 2)."""
    radius = np.exp(-np.pi * bandwidth / SAMPLE_RATE)
    b = 2 * radius * np.cos(2 * np.pi * hertz / SAMPLE_RATE)
    c = -(radius**2)
    return 1 - b - c, b, c


def _resonate(x, hertz, bandwidth):
    """Send a sound through one resonance, which may move.

    Parameters
    ----------
    x : np.ndarray [shape=(n_samples,)]
    hertz, bandwidth : float or np.ndarray [shape=(n_samples,)]
        Where it is and how wide (Hz).

    Returns
    -------
    np.ndarray [shape=(n_samples,)]

    Notes
    -----
    ``y[n] = A[n] x[n] + B[n] y[n-1] + C[n] y[n-2]`` (Klatt 1980, equation 1). Written for all n at
    once these are linear equations with three diagonals, and BLAS solves them from the top down:
    as quick as a filter, but the resonance may move at every sample without clicks.
    """
    a, b, c = _coefficients(hertz, bandwidth)
    diagonals = np.ones((3, len(x)), order="F")
    diagonals[1, :-1] = -np.broadcast_to(b, x.shape)[1:]
    diagonals[2, :-2] = -np.broadcast_to(c, x.shape)[2:]
    return scipy.linalg.blas.dtbsv(2, diagonals, a * x, lower=1, diag=1)


def _antiresonate(x, hertz, bandwidth):
    """Undo a resonance: ``y[n] = (x[n] - B[n] x[n-1] - C[n] x[n-2]) / A[n]`` (Klatt 1980)."""
    a, b, c = _coefficients(hertz, bandwidth)
    past = np.concatenate([[0, 0], x])
    return (x - b * past[1:-1] - c * past[:-2]) / a


def _vocal_tract(source, clip, tracks):
    """Send the source through the resonances of throat, mouth and nose.

    Returns
    -------
    np.ndarray [shape=(n_samples,)]

    Notes
    -----
    Klatt's (1980) cascade. F1 to F3 move. A tube has a resonance every 1 kHz or so, and all up to
    half the sample rate are needed, lest the sound be plain above 5 kHz. In a nasal the losses
    grow and a zero moves away from the nasal pole at 270 Hz, which it otherwise cancels.
    """
    y, losses = source, 1 + 0.6 * tracks.nasality
    for hertz, bandwidth in zip(tracks.formants, (60, 85, 130), strict=True):
        y = _resonate(y, hertz, bandwidth * losses)
    for hertz in np.arange(3500, 0.46 * SAMPLE_RATE / clip.tract, 1000) * clip.tract:
        y = _resonate(y, hertz, hertz / 40)
    return _resonate(_antiresonate(y, 270 + 200 * tracks.nasality, 100), 270, 100)


def _add_noises(y, segments, clip, lead, random):
    """Add the hiss of fricatives and the bursts of stops, in place.

    Notes
    -----
    White noise through one resonator, Klatt's (1980) parallel branch made simple. Levels are
    relative to the voice.
    """
    voice_level = np.sqrt(np.mean(y[y != 0] ** 2))
    for segment in (each for each in segments if each.part.noise != "no"):
        phoneme, strength = segment.phoneme, 1.6 * segment.phoneme.noise_level * clip.consonants
        hertz = min(phoneme.noise_hz * (1 + clip.tract) / 2, 0.45 * SAMPLE_RATE)
        seconds = segment.end - segment.start if segment.part.noise == "hiss" else 0.022
        first, n_samples = int((segment.start + lead) * SAMPLE_RATE), int(seconds * SAMPLE_RATE)
        white = random.standard_normal(n_samples)
        noise = _resonate(np.diff(white, prepend=0), hertz, phoneme.noise_bandwidth)
        noise *= strength * voice_level / np.sqrt(np.mean(noise**2))
        place = np.linspace(0, 1, n_samples)
        rise_and_fall = np.minimum(1, np.minimum(place / 0.25, (1 - place) / 0.35))
        envelope = rise_and_fall if segment.part.noise == "hiss" else np.exp(-place / 0.4)
        y[first : first + n_samples] += noise * envelope


def _level_and_room(y, clip, random):
    """Bring the clip to its level, add the noise of the room, keep below `PEAK`."""
    fade = np.minimum(1, np.arange(len(y)) / 220)  # 10 ms
    y = y * fade * fade[::-1]
    y *= 10 ** (clip.level / 20) / np.sqrt(np.mean(y**2))
    room = scipy.signal.lfilter([1], [1, -0.92], random.standard_normal(len(y)))
    y += room * 10 ** (clip.noise / 20) / np.sqrt(np.mean(room**2))
    return y * min(1, PEAK / np.abs(y).max())


def synthesize(word, emotion, speaker):
    """Say "Say the word ___".

    Parameters
    ----------
    word : str
        One of `WORDS`.
    emotion : str
        One of `EMOTIONS`.
    speaker : str
        One of `VOICES`.

    Returns
    -------
    np.ndarray [shape=(n_samples,), dtype=float64]
        Mono waveform at `SAMPLE_RATE`, full scale +-1. Processors differ in its last digits, far
        below the 16 bits of the corpus.

    Raises
    ------
    ValueError
        If the word, emotion or speaker is unknown.

    Notes
    -----
    Notebook: 01_load.
    """
    choices = {"word": (word, WORDS), "emotion": (emotion, EMOTIONS), "speaker": (speaker, VOICES)}
    for what, (value, allowed) in choices.items():
        if value not in allowed:
            raise ValueError(f"unknown {what} {value!r}; choose one of {', '.join(allowed)}.")
    clip = _clip_settings(word, emotion, speaker)
    segments = _plan(word, clip)
    random = _random("noise", speaker, emotion, word)
    lead, tail = np.array([0.06, 0.1]) + np.array([0.1, 0.15]) * random.random_sample(2)  # s
    n_samples = int((lead + segments[-1].end + tail) * SAMPLE_RATE)
    times = np.arange(n_samples) / SAMPLE_RATE - lead
    tracks = _tracks(segments, clip, times)
    f0 = _f0(clip, tracks, times, random)
    source = _glottal_source(clip, tracks, f0, random)
    y = _vocal_tract(source, clip, tracks)
    _add_noises(y, segments, clip, lead, random)
    return _level_and_room(y, clip, random)


MARKER = "Demo corpus of ser_utils, version"  # begins the README, so that we know our own folder
README = f"""\
{MARKER} {DEMO_VERSION}

"Say the word ___" in {len(VOICES)} voices, {len(EMOTIONS)} emotions and {len(WORDS)} words,
in TESS's layout, made by the formant synthesiser in ser_utils/corpora/demo_corpus.py. No human
acted anything: the emotions are our rules, set after published measurements and our own. A score
on these clips says nothing about people.

CC0: no rights reserved. Made again whenever this folder is missing or of another version.
"""


def _says(root, beginning):
    """Tell whether a folder has a README that begins so."""
    readme = root / "README.txt"
    return readme.is_file() and readme.read_bytes().startswith(beginning.encode())


def _clip_names():
    """All clips as (path below the root, (word, emotion, speaker)), in TESS's layout."""
    folders = {"ps": "pleasant_surprise"}
    return [
        (f"{who}_{folders.get(how, how)}/{who}_{word}_{how}.wav", (word, how, who))
        for who, how, word in itertools.product(VOICES, EMOTIONS, WORDS)
    ]


def _is_complete(root):
    """Tell whether a folder is a demo corpus of this version with every clip in it."""
    is_current = _says(root, f"{MARKER} {DEMO_VERSION}\n")
    return is_current and all((root / name).is_file() for name, _ in _clip_names())


def _make_clip(clip, *, making, parts):
    """Synthesise one clip and write it, unless an interrupted run already did."""
    name, (word, emotion, speaker) = clip
    if not (making / name).exists():
        wav = wav_content(synthesize(word, emotion, speaker), SAMPLE_RATE)
        write_whole(making / name, wav, parts / f"{os.getpid()}-{Path(name).name}")


def _set_aside(root):
    """Remove an older demo corpus, or say that something else is in the way."""
    if not root.exists() or _is_complete(root):  # complete: another process has just made it
        return
    is_empty = root.is_dir() and not any(root.iterdir())
    if not is_empty and not _says(root, MARKER):
        problem = f"{root} exists and is not a demo corpus"
        raise FileExistsError(f"{problem}; move it away or choose another folder.")
    old = root.with_name(f".{root.name}-old")
    shutil.rmtree(old, ignore_errors=True)
    os.replace(root, old)
    shutil.rmtree(old, ignore_errors=True)


def _make(root, n_jobs):
    """Make the corpus beside its place, then move it there in one step."""
    making = root.with_name(f".{root.name}-making-{DEMO_VERSION}")
    parts = root.with_name(f".{root.name}-parts")
    for folder in {(making / name).parent for name, _ in _clip_names()}:
        folder.mkdir(parents=True, exist_ok=True)
    parts.mkdir(exist_ok=True)
    try:
        make_clip = functools.partial(_make_clip, making=making, parts=parts)
        list(map_clips(make_clip, _clip_names(), desc="demo corpus", n_jobs=n_jobs))
        write_whole(making / "README.txt", README.encode(), parts / f"{os.getpid()}-README.txt")
        os.rename(making, root)
    except OSError:
        if not _is_complete(root):  # else another process was faster, and renamed the folder
            raise
        shutil.rmtree(making, ignore_errors=True)
    shutil.rmtree(parts, ignore_errors=True)


def make_demo_corpus(root, *, n_jobs=-1):
    """Make the demo corpus, or find it already made.

    Parameters
    ----------
    root : str or Path
        Its folder; holds ``SA_angry/SA_boat_angry.wav`` and so on, and ``README.txt``.
    n_jobs : int
        Processes; -1 means all cores, 1 means none beside this one.

    Returns
    -------
    Path
        ``root``, with 560 clips in it.

    Raises
    ------
    FileExistsError
        If something else is at ``root``; it is left alone.
    OSError
        If the corpus cannot be written.

    Notes
    -----
    Made in a hidden folder beside ``root`` and then renamed, so there is never half a corpus; if
    interrupted, the next call goes on where this one stopped. Notebook: 01_load.
    """
    root = Path(root)
    if _is_complete(root):
        return root
    print("Making the demo corpus: no human acted anything, the emotions are our rules.")
    try:
        _set_aside(root)
        _make(root, n_jobs)
    except FileExistsError:
        raise
    except OSError as error:
        problem = f"{root}: the demo corpus cannot be written ({error.strerror})"
        todo = "make the folder writable, make room, or point SER_DATA_DIR at a corpus"
        raise OSError(f"{problem}; {todo}.") from None
    return root
