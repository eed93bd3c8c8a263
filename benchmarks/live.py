"""What the speech gate lets through, and how fast and steady the names on the page are.

    python benchmarks/live.py --ravdess FOLDER --emodb FOLDER

Nobody speaks in the sounds of ``noises.py``. The speech is that of actors whom the networks of
``train_acted6.py`` (in ``output/acted6``) have not heard: clips of one actor joined, silence over
0.3 s at either end cut off, two clips of an emotion before the next. Fold 1 is left out, since the
gate was chosen on it. The threshold is that of the bundle. A decision comes every 0.25 s, as in the
stream of the page. The table goes to ``live.csv``.
"""

import argparse
from functools import partial

import librosa
import numpy as np
import pandas as pd
from noises import KINDS, SR, noise
from record import HERE
from train_acted6 import CONDITIONS, EMOTIONS, read, trained

from ser_utils import EmotionRecognizer, load_audio
from ser_utils.deploy.live import HEARD, Steady, is_loud, is_speech
from ser_utils.deploy.recognizer import ACTED6, WINDOW
from ser_utils.deploy.server import EVERY
from ser_utils.evaluation import RAVDESS_FOLDS

SEEDS, KEPT = range(100, 106), 0.3  # of the sounds; s of silence that joined clips keep
BUNDLE = EmotionRecognizer.load(ACTED6)
THRESHOLD = BUNDLE.threshold


def past(y, seconds):
    """What a stream holds at each of its decisions."""
    ends = np.arange(int(2 * EVERY * SR), len(y) + 1, int(EVERY * SR))
    return ends, [y[max(0, end - int(seconds * SR)) : end] for end in ends]


def decide(recognizer, y, *, gate=True, heard=HEARD, mean=1, rule=None):
    """Name each decision of a stream: the column of an emotion, or -1."""
    rule = rule or Steady(THRESHOLD)
    asked = recognizer.probabilities(past(y, heard)[1])
    asked = pd.DataFrame(asked).rolling(mean, min_periods=1).mean().to_numpy()
    check = partial(is_speech, sr=SR) if gate else is_loud
    speech = [check(window) for window in past(y, WINDOW)[1]]
    shown = [
        rule.show(p) if spoken else rule.forget() for p, spoken in zip(asked, speech, strict=True)
    ]
    return np.array([-1 if name is None else name for name in shown])


def join(clips, rng, each=2, change=lambda y, rng: y):
    """Join clips of one actor, some of an emotion before the next; with the ends of these parts."""
    left = {name: list(rng.permutation(part["path"])) for name, part in clips.groupby("emotion")}
    parts, names, behind = [], [], np.random.default_rng(0)
    while choices := [name for name in left if len(left[name]) >= each and name not in names[-1:]]:
        names.append(str(rng.choice(choices)))
        part = []
        for path in [left[names[-1]].pop() for _ in range(each)]:
            y, kept = load_audio(path, sr=SR)[0], int(KEPT * SR)
            start, end = librosa.effects.trim(y, top_db=35)[1]
            part.append(change(y[max(0, start - kept) : end + kept], behind))
        parts.append(np.concatenate(part))
    return np.concatenate(parts), np.array(names), np.cumsum([len(part) for part in parts])


def measure_sounds(recognizer):
    """How often a sound passes the gate, and is named with and without it; a row for each kind."""
    rows = []
    for kind in KINDS:
        sounds = [noise(kind, seed) for seed in SEEDS]
        passed = [is_speech(y, SR) for sound in sounds for y in past(sound, WINDOW)[1]]
        row = {"what": kind, "passes the gate": np.mean(passed)}
        for gate, name in ((True, "named"), (False, "named without the gate")):
            shown = [decide(recognizer, sound, gate=gate) for sound in sounds]
            row[name] = np.mean(np.concatenate(shown) >= 0)
        rows.append(row)
        print(row, flush=True)
    return rows


def measure_speech(corpus, clips):
    """How often speech passes the gate, as recorded and with noise under each clip."""
    rows = []
    for condition in ("as recorded", "noise, 20 dB", "noise, 10 dB"):
        passed = []
        for _, own in clips.groupby("speaker"):
            change = CONDITIONS[condition]
            y, _, _ = join(own, np.random.default_rng(0), each=1, change=change)
            passed += [is_speech(window, SR) for window in past(y, WINDOW)[1]]
        rows.append({"what": f"{corpus}, {condition}", "passes the gate": np.mean(passed)})
        print(rows[-1], flush=True)
    return rows


RULES = {
    f"every decision, {WINDOW} s": lambda: {"heard": WINDOW, "rule": Steady(THRESHOLD, lead=0)},
    f"every decision, {HEARD} s": lambda: {"rule": Steady(THRESHOLD, lead=0)},
    f"mean of three, {HEARD} s": lambda: {"mean": 3, "rule": Steady(THRESHOLD, lead=0)},
    f"steady, {HEARD} s (the page)": lambda: {},
    f"steady, {HEARD} s, no gate": lambda: {"gate": False},
}


def measure_names(recognizers, clips):
    """How right, fast and steady the names of a stream are under each rule."""
    streams = []
    for fold, recognizer in recognizers.items():
        for speaker in set(RAVDESS_FOLDS[fold]) & set(clips["speaker"]):
            own = clips[clips["speaker"] == speaker]
            streams.append((recognizer, *join(own, np.random.default_rng(int(speaker)))))
    rows = []
    for rule, settings in RULES.items():
        right, named, switches, seconds, delays, changes = [], [], 0, 0, [], 0
        for recognizer, y, names, ends in streams:
            shown, at = decide(recognizer, y, **settings()), past(y, HEARD)[0]
            truth = np.array([EMOTIONS.index(name) for name in names])
            part = np.searchsorted(ends, at)  # of the joined clip, that a decision falls into
            right += list(shown == truth[part])
            named += list(shown >= 0)
            switches, seconds = switches + np.sum(np.diff(shown) != 0), seconds + len(y) / SR
            for i in range(1, len(names)):
                reached = at[(part == i) & (shown == truth[i])]
                delays += [(reached[0] - ends[i - 1]) / SR] if len(reached) else []
                changes += 1
        row = {"what": rule, "right": np.mean(right), "named": np.mean(named)}
        row["right of named"] = np.sum(right) / np.sum(named)
        row["switches a minute"] = 60 * switches / seconds
        row["delay (s), median"] = np.median(delays)
        row["delay from the first sound (s)"] = np.median(delays) - KEPT
        rows.append(row | {"never named": 1 - len(delays) / changes, "changes": changes})
        print(rows[-1], flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ravdess", required=True)
    parser.add_argument("--emodb", required=True)
    options = parser.parse_args()
    actors = read(options.ravdess)
    recognizers = {fold: trained(f"fold {fold}, seed 0", None, None, 0) for fold in "02"}
    # The networks are as sure as the bundle, whose last layer is divided by its temperature.
    temperature = trained("all actors, seed 0", None, None, 0).kernel.std() / BUNDLE.kernel.std()
    for recognizer in recognizers.values():
        recognizer.kernel, recognizer.bias = (
            recognizer.kernel / temperature,
            recognizer.bias / temperature,
        )
    rows = measure_sounds(recognizers["0"])
    new = actors[~actors["speaker"].isin(RAVDESS_FOLDS["1"])]
    rows += measure_speech("ravdess", new) + measure_speech("emodb", read(options.emodb))
    rows += measure_names(recognizers, actors)
    pd.DataFrame(rows).round(4).to_csv(HERE / "live.csv", index=False)


if __name__ == "__main__":
    main()
