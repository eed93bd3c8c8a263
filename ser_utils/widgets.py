"""Interactive widgets for the notebooks: a recorder and an ear test.

Each widget is one class: `shown` is what the browser draws, messages are what it sends back. The
browser scripts are in ``static/``.

Notebooks: 01_load, 02_eda, 04_lstm_train.
"""

import io
import itertools
import json
import os
import re
from datetime import date
from pathlib import Path

import anywidget
import numpy as np
import pandas as pd
import soundfile as sf
import traitlets
from scipy.stats import binomtest

from .audio import AUDIO_SUFFIXES, listen, load_audio
from .dataset import output_dir, project_root, relative_paths

STATIC = Path(__file__).parent / "static"
SPOKEN = {"ps": "pleasant surprise"}  # where the short name is not a word
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


class _Widget(anywidget.AnyWidget):
    """A widget that draws ``shown``, and shows one sentence where widgets cannot run."""

    _css = STATIC / "widgets.css"
    shown = traitlets.Dict().tag(sync=True)

    def __init__(self, sentence, shown):
        self.sentence = sentence
        super().__init__(shown=shown)
        self.on_msg(lambda _, message, buffers: self.receive(message, buffers))

    def __repr__(self):
        return self.sentence


def _reason(problem):
    """Why a file could not be written, without its path."""
    return getattr(problem, "strerror", None) or problem


def _write(path, content):
    """Write a file whole or not at all: first under a name that is not an audio name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(content)
    os.replace(part, path)


def _check_emotions(emotions):
    """Refuse names that cannot be folders on every system."""
    if isinstance(emotions, str) or not len(emotions):
        raise ValueError(f'emotions={emotions!r} must be a list of names such as ["angry", "sad"].')
    for emotion in emotions:
        if not re.fullmatch(r"\w([\w -]*\w)?", str(emotion)):
            raise ValueError(
                f"The emotion {emotion!r} cannot name a folder; use letters, digits and '_', "
                "with '-' or spaces only between them, as in 'angry'."
            )


class Recorder(_Widget):
    """What `record_clips` shows."""

    _esm = STATIC / "record_clips.js"

    def __init__(self, folder, emotions):
        self.folder = project_root() / Path(folder).expanduser()
        self.emotions, self.kept = emotions, []
        inside = self.folder.is_relative_to(project_root())
        self.place = os.path.relpath(self.folder, project_root()) if inside else self.folder.name
        self.place = Path(self.place).as_posix()
        to_do = f"run this cell in JupyterLab to record into {self.place}."
        super().__init__(f"Recorder for {', '.join(emotions)}: {to_do}", self._state())

    def _state(self, error="", turn=0):
        """What the browser draws; ``turn`` tells it that a take has been handled."""
        folders = [self.folder / emotion for emotion in self.emotions]
        counts = [sum(p.suffix.lower() in AUDIO_SUFFIXES for p in f.glob("*")) for f in folders]
        lists = {"emotions": self.emotions, "counts": counts, "kept": self.kept}
        return {**lists, "place": self.place, "error": error, "turn": turn}

    def receive(self, message, buffers):
        """Write the take that the browser sends, or say why that is not possible."""
        error = ""
        try:
            self.kept.append(self._keep(message["emotion"], message["rate"], buffers[0]))
        except (OSError, ValueError) as problem:
            error = f"This take was not saved: {_reason(problem)}. "
            if isinstance(problem, OSError):
                error += "Free some disk space or choose another folder."
        self.shown = self._state(error, self.shown["turn"] + 1)

    def _keep(self, emotion, rate, samples):
        """Write 16-bit samples under the next free name; return the name and the length."""
        if emotion not in self.emotions:
            raise ValueError(f"{emotion!r} is not one of {', '.join(self.emotions)}")
        samples, wav = np.frombuffer(samples, dtype="<i2"), io.BytesIO()
        if not len(samples):
            raise ValueError("it holds no sound, record it again")
        sf.write(wav, samples, rate, format="WAV", subtype="PCM_16")
        names = (f"{emotion}/{emotion}_{n:02d}.wav" for n in itertools.count(1))
        name = next(name for name in names if not (self.folder / name).exists())
        _write(self.folder / name, wav.getvalue())
        return [name, f"{len(samples) / rate:.1f} s"]


def record_clips(folder, emotions):
    """Record clips of one's own voice, one folder for each emotion.

    Parameters
    ----------
    folder : str or Path
        Where the clips go, as ``folder/angry/angry_01.wav``; a relative path counts from the
        project root. `scan_corpus` reads this layout.
    emotions : list of str
        The choices; each becomes the name of a folder.

    Returns
    -------
    Recorder
        A widget for JupyterLab. Each take can be played before it is kept, as a 16-bit WAV at the
        browser's own sample rate. No file is overwritten, and no sound leaves the machine.

    Raises
    ------
    ValueError
        If there are no emotions, or one of them cannot name a folder.

    Notes
    -----
    Notebook: 01_load.
    """
    _check_emotions(emotions)
    return Recorder(folder, list(emotions))


def ear_test_clips(clips, *, per_emotion=3):
    """Choose the clips of an ear test: one voice, every emotion, in random order.

    Parameters
    ----------
    clips : pd.DataFrame
        From `scan_corpus`.
    per_emotion : int
        Clips of each emotion; fewer where the voice has fewer.

    Returns
    -------
    pd.DataFrame
        Some rows of ``clips``, always the same ones in the same order. The voice is that of
        the speaker with the most emotions and, if several tie, the most clips. If no speaker is
        known, all clips count as one voice.

    Raises
    ------
    ValueError
        If ``per_emotion`` is below 1.

    Notes
    -----
    Notebooks: 02_eda, 04_lstm_train.
    """
    if per_emotion < 1:
        raise ValueError(f"per_emotion={per_emotion} must be 1 or more.")
    voices = clips.groupby("speaker")["emotion"].agg(["nunique", "size"])  # in alphabetical order
    if len(voices):
        voice = max(voices.index, key=lambda speaker: tuple(voices.loc[speaker]))
        clips = clips[clips["speaker"] == voice]
    mixed = clips.sample(frac=1, random_state=0)
    chosen = mixed.groupby("emotion").head(per_emotion).reset_index(drop=True)
    chosen.attrs = clips.attrs
    return chosen


class EarTest(_Widget):
    """What `ear_test` shows. The browser gets numbered sounds and never their labels."""

    _esm = STATIC / "ear_test.js"

    def __init__(self, clips):
        self.clips, self.answers, self.emotions = clips, [], sorted(set(clips["emotion"]))
        self.sounds = [listen(*load_audio(path, sr=None)).data for path in clips["path"]]
        sentence = f"Ear test of {len(clips)} clips: run this cell in JupyterLab to take it."
        invitation = f"You will hear {len(clips)} clips, one by one. Name the emotion of each."
        super().__init__(sentence, self._state("start", invitation))

    def _state(self, stage, status, **more):
        """What the browser draws in any stage: start, ask or end."""
        emotions = [SPOKEN.get(emotion, emotion) for emotion in self.emotions]
        chance = f"{_chance(len(emotions))}."
        return {"stage": stage, "status": status, "emotions": emotions, "chance": chance, **more}

    def receive(self, message, _):
        """Take an answer to the current clip, or start; then ask the next one or end."""
        if "answer" not in message:
            self.answers = []
        elif message["clip"] == len(self.answers) < len(self.clips):  # ignore a double click
            self.answers.append(self.emotions[message["answer"]])
        if len(self.answers) == len(self.clips):
            self.shown = self._result()
        else:
            self.shown = self._question(len(self.answers))

    def _question(self, clip):
        status = f"Clip {clip + 1} of {len(self.clips)}"
        return self._state("ask", status, clip=clip, sound=self.sounds[clip])

    def _result(self):
        """Store the answers and count them: rows are the clips' emotions, columns the answers."""
        answered = self.clips[["emotion"]].assign(answer=self.answers)
        counts = pd.crosstab(answered["emotion"], answered["answer"])
        counts = counts.reindex(index=self.emotions, columns=self.emotions, fill_value=0)
        status = _verdict(int(np.trace(counts)), len(answered), len(self.emotions))
        try:
            _store_answers(self.clips, self.answers)
        except (OSError, ValueError) as problem:
            status += f" Your answers could not be stored ({_reason(problem)})."
        return self._state("end", status, table=counts.to_numpy().tolist())


def _percent(share):
    return f"{100 * share:.0f}%"


def _chance(n_emotions):
    """Say how often a guess is right, in words up to ten."""
    number = NUMBERS[n_emotions] if n_emotions < len(NUMBERS) else n_emotions
    return f"A random guess is right one time in {number} ({_percent(1 / n_emotions)})"


def _verdict(right, n_clips, n_emotions):
    """Say how many answers are right and whether that is more than luck."""
    interval = binomtest(right, n_clips).proportion_ci(method="wilson")
    low, high, chance = *interval, 1 / n_emotions
    if low > chance:
        verdict = "The whole interval lies above chance, so you did better than guessing"
    elif high < chance:
        verdict = "The whole interval lies below chance, so you did worse than guessing"
    else:
        verdict = "Chance lies inside the interval, so this may be luck"
    return (
        f"You named {right} of {n_clips} clips correctly: {_percent(right / n_clips)} (95% "
        f"interval {100 * low:.0f} to {_percent(high)}). Chance is {_percent(chance)}. {verdict}."
    )


def ear_test(clips):
    """Test your own ear: listen to clips without labels and name the emotion of each.

    Parameters
    ----------
    clips : pd.DataFrame
        From `ear_test_clips`; played in this order.

    Returns
    -------
    EarTest
        A widget for JupyterLab, for mouse or keyboard. At the end it shows the confusion matrix,
        and the accuracy with a 95 % interval (Wilson) beside chance, and stores the answers in
        ``output/`` for `ear_test_answers`.

    Raises
    ------
    AudioError
        If a clip cannot be read.

    Notes
    -----
    Notebook: 02_eda.
    """
    return EarTest(clips)


def _answers_path(clips):
    return output_dir() / f"ear_test_{clips['corpus'].iloc[0]}.json"


def _named(clips):
    """Identify these clips in the same way on every machine."""
    return relative_paths(clips)[["path", "emotion"]].to_dict("list")


def _store_answers(clips, answers):
    stored = _named(clips) | {"answer": answers, "taken": date.today().isoformat()}
    _write(_answers_path(clips), json.dumps(stored, indent=1).encode())


def _stored_answers(clips):
    """Read the answers to exactly these clips and their date; ValueError if there are none."""
    stored = json.loads(_answers_path(clips).read_text(encoding="utf-8"))
    named, answers = _named(clips), stored["answer"]
    if {key: stored[key] for key in named} != named or len(answers) != len(clips):
        raise ValueError("other clips")
    if not set(answers) <= set(named["emotion"]):
        raise ValueError("other emotions")
    return answers, date.fromisoformat(stored["taken"]).isoformat()


def ear_test_answers(clips):
    """Read the answers to the ear test of exactly these clips, or return random guesses.

    Parameters
    ----------
    clips : pd.DataFrame
        From `ear_test_clips`, as `ear_test` got them.

    Returns
    -------
    pd.DataFrame
        ``path`` and ``emotion`` as in ``clips``, and ``answer``. ``attrs["taken"]`` is the date
        of the test, such as "2026-11-24". If it was not taken, the answers are random guesses
        with a fixed seed and ``attrs["taken"]`` is None.

    Notes
    -----
    Notebook: 04_lstm_train.
    """
    try:
        answers, taken = _stored_answers(clips)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # no file or a broken one
        emotions = sorted(set(clips["emotion"]))
        answers, taken = np.random.default_rng(0).choice(emotions, len(clips)), None
    answered = clips[["path", "emotion"]].assign(answer=answers)
    answered.attrs = {**clips.attrs, "taken": taken}
    return answered
