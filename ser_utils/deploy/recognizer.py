"""A trained model with all it needs to answer: saved, loaded and asked as one.

    python -m ser_utils.deploy.recognizer clip.wav another.mp3

Notebook: 10_deploy.
"""

import argparse
import copy
import hashlib
import io
import json
import shutil
import sys
import tempfile
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy
import soundfile as sf

from ..audio import AudioError, audio_info, load_audio, write_whole
from ..corpora.demo_corpus import SAMPLE_RATE, synthesize
from ..features import FeatureConfig, extract_features
from ..models import adapt_last_layer, import_keras
from .live import is_loud

ACTED6 = Path(__file__).parent / "acted6"  # the bundle that comes along; see its MODEL_CARD.md
FORMAT = 1  # of a bundle and a voice; raise it when older code could not read what is written
ABOUT = ("corpora", "protocol", "figures", "licence")  # what a bundle has to tell about itself
PACKAGES = ("keras", "librosa", "numpy", "ser-utils", "tensorflow")  # whose versions it notes
SHORTEST = 0.3  # s, of a clip
WINDOW, STEP = 3.0, 1.0  # s, length and distance of the windows that a long clip is cut into
BATCH = 32  # windows at a time
TOLERANCE = 0.01  # of a probability, between processors and versions
NOT_SURE = "not sure"


class BundleError(ValueError):
    """A saved recogniser that cannot be used; the message says why and what to do."""


class Prediction(NamedTuple):
    """What a recogniser says about one clip.

    Parameters
    ----------
    emotion : str
        The most probable one, or "not sure".
    probabilities : dict of str to float
        Of each emotion; they add up to 1. Of a long clip, the mean of its windows.
    timeline : pd.DataFrame
        A row for each window (a short clip is one): ``start`` and ``end`` (s), ``emotion`` and a
        column for the probability of each emotion.
    """

    emotion: str
    probabilities: dict
    timeline: pd.DataFrame


def sure_threshold(probabilities, labels, *, accuracy=0.9):
    """Find how probable an emotion must be to be named, from clips that were not trained on.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_clips, n_classes)]
        What the model says.
    labels : np.ndarray of int [shape=(n_clips,)]
        Column of the true emotion.
    accuracy : float
        Share of the named clips that has to be right, 0 to 1.

    Returns
    -------
    float
        The lowest threshold that keeps this promise on these clips; 1, which hardly any clip
        reaches, if none does.

    Raises
    ------
    ValueError
        If there are no clips, or another number of labels.

    Notes
    -----
    Other voices than those of the clips may break the promise. Notebook: 10_deploy.
    """
    probabilities, labels = np.asarray(probabilities), np.asarray(labels)
    if not len(labels) or len(labels) != len(probabilities):
        both = f"{len(probabilities)} rows of probabilities and {len(labels)} labels"
        raise ValueError(f"{both} do not fit; give one label for each row, and at least one.")
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    right = (probabilities.argmax(axis=1) == labels)[order]
    kept = np.flatnonzero(np.cumsum(right) >= accuracy * np.arange(1, len(right) + 1))
    return float(confidence[order][kept[-1]]) if len(kept) else 1.0


class EmotionRecognizer:
    """A model, its emotions and the settings of its features, in one piece.

    Parameters
    ----------
    model : keras.Model
        Takes frames of features ``(None, n_features)``, normalises them, ends in a dense softmax.
    emotions : sequence of str
        Names of its outputs, in their order.
    config : FeatureConfig, optional
        Settings of its features; the defaults if None.
    threshold : float
        Probability below which the answer is "not sure", from `sure_threshold`.
    about : dict
        ``corpora`` (list of str), ``protocol`` (how training and validation were split),
        ``figures`` (dict of scores) and ``licence`` of the corpora: what may be done with it.
    prototypes : np.ndarray [shape=(n_emotions, n_numbers)], optional
        Mean of what `embed` says about each emotion's training clips, for `enrol`.

    Attributes
    ----------
    voice : dict or None
        What `enrol` learned of a voice: the number of ``clips`` of each emotion, and the weights of
        its last layer. None if it knows nobody.
    card : str or None
        The text of ``MODEL_CARD.md``, if there is one in the bundle that it was loaded from.

    Raises
    ------
    ValueError
        If the parts do not fit to each other.

    Notes
    -----
    Notebook: 10_deploy.
    """

    def __init__(self, model, emotions, *, config=None, threshold=0.0, about, prototypes=None):
        config = config or FeatureConfig()
        if config.time_average or config.offset:
            raise ValueError("Averaged or late features hide time; use offset=0 and all frames.")
        if model.output_shape[-1] != len(emotions):
            outputs = f"{model.output_shape[-1]} outputs and {len(emotions)} names of emotions"
            raise ValueError(f"{outputs} do not fit; name each output once, in order.")
        if missing := [key for key in ABOUT if key not in about]:
            raise ValueError(f"about lacks {', '.join(missing)}; tell all of {', '.join(ABOUT)}.")
        self.model, self.emotions, self.config = model, list(emotions), config
        self.threshold, self.about, self.prototypes = float(threshold), dict(about), prototypes
        self.kernel, self.bias = model.layers[-1].get_weights()
        self.voice, self._voice_file, self._compiled, self.card = None, None, {}, None

    def _ask(self, X):
        """Ask the model, compiled once for each shape: many times faster than calling it."""
        import tensorflow as tf

        if X.shape not in self._compiled:
            before = import_keras().Model(self.model.inputs, self.model.layers[-1].input)
            call = tf.function(lambda X: before(X, training=False))
            self._compiled[X.shape] = call.get_concrete_function(tf.TensorSpec(X.shape, X.dtype))
        return self._compiled[X.shape](tf.constant(X)).numpy()

    def embed(self, waves):
        """Describe short waveforms by the numbers that go into the model's last layer.

        Parameters
        ----------
        waves : list of np.ndarray [shape=(n_samples,)]
            Mono, at rate ``config.sr``; of each at most ``config.duration`` is heard.

        Returns
        -------
        np.ndarray [shape=(len(waves), n_numbers), dtype=float32]

        Raises
        ------
        AudioError
            If one is empty, not mono or not finite.
        """
        most = int(self.config.duration * self.config.sr)
        shape = 1 + most // self.config.hop_length, self.config.n_features
        answers = []
        for i in range(0, len(waves), BATCH):
            batch = waves[i : i + BATCH]
            X = np.zeros((1 if len(batch) == 1 else BATCH, *shape), dtype=np.float32)
            for row, y in zip(X, batch, strict=False):
                features = extract_features(y[:most], config=self.config)
                row[: len(features)] = features  # the model masks the zeros after them
            answers.append(self._ask(X)[: len(batch)])
        return np.concatenate(answers)

    def probabilities(self, waves):
        """Ask the model about short waveforms, as in `embed`.

        Returns
        -------
        np.ndarray [shape=(len(waves), n_emotions), dtype=float32]
        """
        return scipy.special.softmax(self.embed(waves) @ self.kernel + self.bias, axis=1)

    def decide(self, probabilities, wave):
        """Name the emotion, or be "not sure": it is too improbable, or the sound is silent."""
        sure = probabilities.max() >= self.threshold and is_loud(wave)
        return self.emotions[probabilities.argmax()] if sure else NOT_SURE

    def predict(self, clip, sr=None):
        """Say which emotion is in a clip, or in each of several.

        Parameters
        ----------
        clip : str, Path, io.BytesIO, np.ndarray, or list of them
            An audio file, its content, or a waveform, ``(n_samples,)`` or ``(n_samples, channels)``
            of floats or 16-bit integers. From 0.3 s to hours: what is longer than
            ``config.duration`` is cut into windows of 3 s, one every second.
        sr : int, optional
            Sample rate of waveforms (in Hz).

        Returns
        -------
        Prediction or list of Prediction

        Raises
        ------
        AudioError
            If a clip cannot be read, is too short, or is no sound.
        ValueError
            If a waveform comes without its rate.

        Notes
        -----
        Notebook: 10_deploy.
        """
        if isinstance(clip, (list, tuple)):
            return [self.predict(one, sr) for one in clip]
        rows = []
        for start, end, waves in self._windows(clip, sr):
            for *place, wave, row in zip(start, end, waves, self.probabilities(waves), strict=True):
                rows.append([*place, self.decide(row, wave), *row.tolist()])
        timeline = pd.DataFrame(rows, columns=["start", "end", "emotion", *self.emotions])
        mean = timeline[self.emotions].mean()
        sure = mean.max() >= self.threshold and (timeline["emotion"] != NOT_SURE).any()
        return Prediction(mean.idxmax() if sure else NOT_SURE, mean.to_dict(), timeline)

    def _windows(self, clip, sr):
        """Read a clip some windows at a time, so that memory does not grow: start, end, waves."""
        if isinstance(clip, np.ndarray):
            if sr is None:
                raise ValueError("sr=None tells no sample rate; give the waveform's, in Hz.")
            y, clip = clip, io.BytesIO()  # from here on a file as any other
            sf.write(clip, y, sr, "FLOAT" if y.dtype.kind == "f" else "PCM_16", format="WAV")
        seconds, rate = audio_info(clip)["seconds"], self.config.sr
        if seconds < SHORTEST:
            reason = f"it lasts {seconds:.2f} s and must last at least {SHORTEST} s; record more."
            raise AudioError(clip, reason)
        starts, length = np.zeros(1), self.config.duration
        if seconds > self.config.duration:
            starts, length = np.arange(0, seconds - WINDOW + STEP, STEP), WINDOW
        for i in range(0, len(starts), BATCH):
            part = starts[i : i + BATCH]
            piece = {"offset": part[0], "duration": part[-1] - part[0] + length}
            y, _ = load_audio(clip, sr=rate, **piece)
            waves = [y[n:][: int(length * rate)] for n in ((part - part[0]) * rate).astype(int)]
            yield part, np.minimum(part + length, seconds), waves

    def enrol(self, clips, emotions, sr=None):
        """Get to know one voice from a few clips of it.

        Parameters
        ----------
        clips : list of str, Path, io.BytesIO or np.ndarray
            As in `predict`, all of them at once: a second call starts from the trained model again.
            One clip of each emotion already helps, three help more, and emotions may be missing.
            A clip that is given twice counts once.
        emotions : list of str
            The emotion of each clip.
        sr : int, optional
            Sample rate of waveforms (in Hz).

        Returns
        -------
        EmotionRecognizer
            For this voice, with the same threshold; this one stays as it is. No sound is kept.

        Raises
        ------
        AudioError
            If a clip cannot be read, is too short, or nobody speaks in it.
        ValueError
            If an emotion is unknown, or the numbers of clips and emotions differ, or one clip is
            given with two emotions.

        Notes
        -----
        `ser_utils.models.adapt_last_layer` says how, ``benchmarks/enrol_scores.csv`` what it is
        worth.
        """
        if not len(clips) or len(clips) != len(emotions):
            both = f"{len(clips)} clips and {len(emotions)} emotions do not fit"
            raise ValueError(f"{both}; give one emotion for each clip, and at least one.")
        if unknown := sorted(set(emotions) - set(self.emotions)):
            known = ", ".join(self.emotions)
            raise ValueError(f"{unknown[0]!r} is no emotion of this model; use some of {known}.")
        heard = {}
        for clip, emotion in zip(clips, emotions, strict=True):
            waves = [y for _, _, waves in self._windows(clip, sr) for y in waves if is_loud(y)]
            if not waves:
                raise AudioError(clip, "nobody speaks in it; record it again, and louder.")
            embedding = self.embed(waves).mean(axis=0)
            if heard.setdefault(embedding.tobytes(), emotion) != emotion:
                both = f"{heard[embedding.tobytes()]} and {emotion}"
                raise ValueError(f"One clip is given as {both}; decide for one of them.")
        embeddings = np.array([np.frombuffer(content, np.float32) for content in heard])
        labels = np.array([self.emotions.index(emotion) for emotion in heard.values()])
        layer = self.model.layers[-1].get_weights()
        kernel, bias = adapt_last_layer(embeddings, labels, *layer, prototypes=self.prototypes)
        counts = {name: list(heard.values()).count(name) for name in self.emotions}
        weights = {"kernel": kernel.round(6).tolist(), "bias": bias.round(6).tolist()}
        voice = {"clips": counts, **weights}
        return self._with_voice(voice | {"format": FORMAT, "model": self.digest()})

    def _with_voice(self, voice):
        """Return a recogniser that shares all with this one but the last layer."""
        other = copy.copy(self)
        other.voice, other._voice_file = voice, None
        other.kernel = np.array(voice["kernel"], "f4").reshape(self.kernel.shape)
        other.bias = np.array(voice["bias"], "f4").reshape(self.bias.shape)
        return other

    def digest(self):
        """Tell one trained model from another: a voice fits to one."""
        layer = b"".join(part.tobytes() for part in self.model.layers[-1].get_weights())
        return hashlib.sha256(layer).hexdigest()[:16]

    def save_voice(self, file):
        """Write what `enrol` learned as JSON: some kilobytes, and no sound.

        Parameters
        ----------
        file : str or Path
            Such as ``output/recognizer-anna.json``, beside the bundle.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        ValueError
            If no voice was enrolled.
        """
        if self.voice is None:
            raise ValueError("No voice is known; enrol one and save what comes back.")
        self._voice_file = Path(file)
        self._voice_file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._voice_file, json.dumps(self.voice).encode())
        return self._voice_file

    def load_voice(self, file):
        """Return the recogniser for a voice that `save_voice` wrote.

        Raises
        ------
        BundleError
            If the file is missing or damaged, or belongs to another model.
        """
        try:
            voice = json.loads(Path(file).read_text(encoding="utf-8"))
            fits = (voice["format"], voice["model"]) == (FORMAT, self.digest())
            other = self._with_voice(voice) if fits else None
        except FileNotFoundError:
            raise BundleError(f"{file} is not there; enrol the voice and save it.") from None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BundleError(f"{file} is damaged ({error}); enrol the voice again.") from None
        if not fits:
            raise BundleError(f"{file} belongs to another model; enrol the voice again.")
        other._voice_file = Path(file)
        return other

    def forget(self):
        """Return to the trained model, and delete the file of the voice; copies of it stay."""
        if self._voice_file:
            self._voice_file.unlink(missing_ok=True)
        self.kernel, self.bias = self.model.layers[-1].get_weights()
        self.voice = self._voice_file = None

    def save(self, folder):
        """Write the bundle: ``model.keras``, ``bundle.json`` and ``golden.wav``.

        Parameters
        ----------
        folder : str or Path
            What is there is replaced, once the new bundle is complete.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        ValueError
            If a voice is enrolled.

        Notes
        -----
        The golden clip is synthetic (CC0); `load` compares what the model says about it.
        """
        if self.voice is not None:
            raise ValueError("A bundle knows no voice; save what this one learned by save_voice.")
        folder = Path(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            new = Path(place) / folder.name
            new.mkdir()
            bare = import_keras().Model(self.model.inputs, self.model.outputs)
            bare.save(new / "model.keras")  # without its optimiser, a third of the size
            sf.write(new / "golden.wav", synthesize("moon", "happy", "SA"), SAMPLE_RATE)
            bundle = {
                "format": FORMAT,
                "emotions": self.emotions,
                "threshold": self.threshold,
                "about": self.about,
                "config": asdict(self.config),
                "prototypes": None if self.prototypes is None else self.prototypes.tolist(),
                "versions": {name: version(name) for name in PACKAGES},
                "golden": self.predict(new / "golden.wav").probabilities,
            }
            (new / "bundle.json").write_text(json.dumps(bundle, indent=1), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            return new.rename(folder)

    @classmethod
    def load(cls, folder):
        """Read a bundle and check that it still answers as it did.

        Parameters
        ----------
        folder : str or Path
            Where `save` wrote it.

        Returns
        -------
        EmotionRecognizer

        Raises
        ------
        BundleError
            If it is missing, damaged, made by newer code, or answers otherwise.
        """
        folder = Path(folder)
        try:
            bundle = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
            if bundle["format"] > FORMAT:
                reason = f"its format, {bundle['format']}, is newer than ours, {FORMAT}"
                raise BundleError(f"{folder}: {reason}; update ser_utils.")
            saved_by = ", ".join(f"{name} {number}" for name, number in bundle["versions"].items())
            golden = np.array([bundle["golden"][name] for name in bundle["emotions"]])
            settings = {name: bundle[name] for name in ("threshold", "about")}
            settings["config"] = FeatureConfig(**bundle["config"])
            if bundle.get("prototypes"):  # older bundles have none
                settings["prototypes"] = np.array(bundle["prototypes"])
        except FileNotFoundError:
            raise BundleError(f"{folder} holds no bundle; notebook 10_deploy makes one.") from None
        except BundleError:
            raise
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise BundleError(f"{folder}/bundle.json is damaged ({error}); save again.") from None
        try:
            model = import_keras().models.load_model(folder / "model.keras", compile=False)
            recognizer = cls(model, bundle["emotions"], **settings)
            if (folder / "MODEL_CARD.md").exists():
                recognizer.card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
            answer = recognizer.predict(folder / "golden.wav").probabilities
        except Exception as error:  # Keras raises whatever an old or damaged file leads to
            reason = f"its model cannot be loaded here ({type(error).__name__})"
            raise BundleError(f"{folder}: {reason}; install {saved_by}, or train again.") from error
        if (change := np.abs(list(answer.values()) - golden).max()) > TOLERANCE:
            reason = f"its golden clip's probabilities are off by {change:.2f}"
            raise BundleError(f"{folder}: {reason}; install {saved_by}, or train again.")
        return recognizer


def main(arguments=None):
    """Print what a saved recogniser says about files; see ``--help``."""
    parser = argparse.ArgumentParser(
        prog="python -m ser_utils.deploy.recognizer", description=__doc__
    )
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--bundle", default=ACTED6, help="folder; default: acted6")
    parser.add_argument("--format", choices=["table", "json", "csv"], default="table")
    parser.add_argument("--timeline", action="store_true", help="a row for each window")
    options = parser.parse_args(arguments)
    try:
        recognizer = EmotionRecognizer.load(options.bundle)
    except ValueError as error:
        sys.exit(str(error))
    tables = []
    for file in options.files:
        try:
            said = recognizer.predict(file)
        except AudioError as error:
            print(error, file=sys.stderr)
            continue
        row = {"start": 0.0, "end": said.timeline["end"].iloc[-1], "emotion": said.emotion}
        table = said.timeline if options.timeline else pd.DataFrame([row | said.probabilities])
        tables.append(table.assign(file=file)[["file", *table.columns]])
    table = pd.concat(tables, ignore_index=True).round(3) if tables else pd.DataFrame()
    writers = {
        "json": partial(table.to_json, orient="records", indent=1),
        "csv": partial(table.to_csv, index=False),
        "table": partial(table.to_string, index=False),
    }
    if tables:
        print(writers[options.format]())
    sys.exit(1 if len(tables) < len(options.files) else 0)


if __name__ == "__main__":
    main()
