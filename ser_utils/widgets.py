"""Interactive widgets for the notebooks: a recorder and an ear test.

Each widget is one class: `shown` is what the browser draws, messages are what it sends back. The
browser scripts are in ``static/``.

Notebooks: 01_load, 02_eda, 04_lstm_train.
"""

import itertools
import json
import re
from datetime import date
from pathlib import Path

import anywidget
import numpy as np
import traitlets
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

from .audio import AUDIO_SUFFIXES, listen, load_audio, wav_content, write_whole
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


class Recorder(_Widget):
    """What `record_clips` shows."""

    _esm = STATIC / "record_clips.js"

    def __init__(self, folder, emotions):
        root = project_root()
        self.folder = root / Path(folder).expanduser()
        self.emotions, self.kept = emotions, []
        inside = self.folder.is_relative_to(root)
        self.place = self.folder.relative_to(root).as_posix() if inside else self.folder.name
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
        samples = np.frombuffer(samples, dtype="<i2")
        if not len(samples):
            raise ValueError("it holds no sound, record it again")
        names = (f"{emotion}/{emotion}_{n:02d}.wav" for n in itertools.count(1))
        name = next(name for name in names if not (self.folder / name).exists())
        (self.folder / emotion).mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / name, wav_content(samples, rate))
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
    if isinstance(emotions, str) or not len(emotions):
        raise ValueError(f'emotions={emotions!r} must be a list of names such as ["angry", "sad"].')
    for emotion in emotions:  # it has to name a folder on every system
        if not re.fullmatch(r"\w([\w -]*\w)?", str(emotion)):
            allowed = "letters, digits and '_', with '-' or spaces only between them, as in 'angry'"
            raise ValueError(f"The emotion {emotion!r} cannot name a folder; use {allowed}.")
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
    return mixed.groupby("emotion").head(per_emotion).reset_index(drop=True)


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
        n = len(emotions)
        number = NUMBERS[n] if n < len(NUMBERS) else n
        chance = f"A random guess is right one time in {number} ({1 / n:.0%})."
        return {"stage": stage, "status": status, "emotions": emotions, "chance": chance, **more}

    def receive(self, message, _):
        """Take an answer to the current clip, or start; then ask the next one or end."""
        if "answer" not in message:
            self.answers = []
        elif message["clip"] == len(self.answers) < len(self.clips):  # ignore a double click
            self.answers.append(self.emotions[message["answer"]])
        clip, n_clips = len(self.answers), len(self.clips)
        if clip == n_clips:
            self.shown = self._result()
        else:
            status = f"Clip {clip + 1} of {n_clips}"
            self.shown = self._state("ask", status, clip=clip, sound=self.sounds[clip])

    def _result(self):
        """Store the answers and count them: rows are the clips' emotions, columns the answers."""
        counts = confusion_matrix(self.clips["emotion"], self.answers, labels=self.emotions)
        status = _verdict(int(np.trace(counts)), len(self.answers), len(self.emotions))
        try:
            taken = {"answer": self.answers, "taken": date.today().isoformat()}
            stored = json.dumps(_named(self.clips) | taken, indent=1)
            write_whole(_answers_path(self.clips), stored.encode())
        except (OSError, ValueError) as problem:
            status += f" Your answers could not be stored ({_reason(problem)})."
        return self._state("end", status, table=counts.tolist())


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
    accuracy = f"{right / n_clips:.0%} (95% interval {100 * low:.0f} to {high:.0%})"
    result = f"You named {right} of {n_clips} clips correctly: {accuracy}"
    return f"{result}. Chance is {chance:.0%}. {verdict}."


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


def _stored_answers(clips):
    """Read the answers to exactly these clips and their date; ValueError if there are none."""
    stored = json.loads(_answers_path(clips).read_text(encoding="utf-8"))
    named, answers = _named(clips), stored["answer"]
    same = {key: stored[key] for key in named} == named and len(answers) == len(clips)
    if not same or not set(answers) <= set(named["emotion"]):
        raise ValueError("other clips or emotions")
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
