"""How many clips of a new voice does it take until the network knows it?

    SER_DATA_DIR=path/to/ravdess python benchmarks/enrol.py --recipes today balanced
    SER_DATA_DIR=path/to/emodb python benchmarks/enrol.py

For each fold of speakers, a network is trained on the others. Of each speaker in the fold, k clips
of each emotion are drawn and the rest is tested, 20 times; a speaker who has too few clips of an
emotion is left out for this k. Nothing is trained on the k clips but a small classifier on the 128
numbers before the last layer.

Each fit is appended to ``enrol.csv`` (a row for each k and method) and is not made again. The 128
numbers of every tested clip stay in ``output/enrol``, so that another method needs no training.
"""

import argparse
from functools import partial

import numpy as np
from generalize import without_mixup
from record import Record
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from ser_utils import (
    data_dir,
    drop_flagged,
    extract_corpus,
    import_keras,
    output_dir,
    scan_corpus,
    set_seed,
)
from ser_utils.augmentation import new_voices
from ser_utils.evaluation import RAVDESS_FOLDS, protocol_splits
from ser_utils.features import CRNN_CONFIG
from ser_utils.models import CRNN_STEPS, build_crnn

KEYS = ["tested", "recipe", "seed", "fold"]
SHOTS, DRAWS = (0, 1, 2, 3, 5, 10), 20


def as_they_come(clips, rng, steps, size=32):
    """Rows of each batch: all clips in a new order, again and again."""
    return np.concatenate(
        [rng.permutation(len(clips)) for _ in range(1 + steps * size // len(clips))]
    )[: steps * size].reshape(steps, size)


def balanced(clips, rng, steps, speakers=4, each=4):
    """Rows of each batch: so many speakers, of each emotion so many clips, drawn with return."""
    cells = clips.groupby(["speaker", "emotion"]).indices
    emotions, names = clips["emotion"].unique(), clips["speaker"].unique()
    batches = []
    for _ in range(steps):
        chosen = rng.choice(names, speakers, replace=len(names) < speakers)
        here = [cells.get((name, emotion), []) for name in chosen for emotion in emotions]
        rows = [rng.choice(cell, each) for cell in here if len(cell)]
        batches.append(np.concatenate(rows))
    return batches


RECIPES = {  # how batches are drawn, and how they are changed
    "today": (as_they_come, new_voices),
    "today, no mixup": (as_they_come, without_mixup),
    "today, batches of 96": (partial(as_they_come, size=96), new_voices),
    "balanced": (balanced, without_mixup),
    "balanced, mixup": (balanced, new_voices),
}


def train(X, Y, clips, rows, recipe, seed):
    """Train the network of notebook 07 on some rows; return it with its last numbers."""
    keras = import_keras()
    set_seed(seed)
    model = build_crnn(X.shape[2], Y.shape[1])
    draw, change = RECIPES[recipe]
    batches = draw(clips.iloc[rows].reset_index(drop=True), np.random.default_rng(seed), CRNN_STEPS)
    for step, batch in enumerate(batches):
        chosen = np.sort(rows[batch])
        changed = change(X[chosen], Y[chosen], np.random.default_rng([seed, step]))
        model.train_on_batch(*changed)
    return keras.Model(model.input, [model.layers[-1].input, model.output])


def to_unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def centre(support, query):
    """Take the support's mean away from both, and keep only the directions."""
    mean = support.mean(axis=0)
    return to_unit(support - mean), to_unit(query - mean)


def by_prototypes(support, labels, query, known):
    """Cosine similarity to the mean of each emotion, after the support's mean is taken away."""
    support, query = centre(support, query)
    means = to_unit(np.array([support[labels == k].mean(axis=0) for k in np.unique(labels)]))
    return np.unique(labels)[(query @ means.T).argmax(axis=1)]


def by_regression(support, labels, query, known, blend=0.5):
    """Logistic regression in the same space; its log probabilities and some of the network's."""
    support, query = centre(support, query)
    fitted = LogisticRegression(C=10, max_iter=1000).fit(support, labels)
    scores = fitted.predict_log_proba(query) + blend * np.log(known[:, fitted.classes_] + 1e-7)
    return fitted.classes_[scores.argmax(axis=1)]


METHODS = {
    "prototypes": by_prototypes,
    "regression": partial(by_regression, blend=0.0),
    "regression, blended": by_regression,
}


def draw_support(labels, k, rng):
    """Rows of k clips of each class."""
    classes = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    return np.concatenate([rng.choice(rows, k, replace=False) for rows in classes])


def score_speaker(embedded, known, labels, seed):
    """Accuracy and UAR of one speaker for each k and method, means of the drawings."""
    scores = {(0, "none"): [(known.argmax(axis=1), np.arange(len(labels)))]}
    for k in SHOTS[1:]:
        if np.unique(labels, return_counts=True)[1].min() <= k:
            continue  # an emotion of this speaker would have no clip left to test
        rng = np.random.default_rng([seed, k])
        for _ in range(DRAWS):
            support = draw_support(labels, k, rng)
            query = np.setdiff1d(np.arange(len(labels)), support)
            for name, method in METHODS.items():
                answers = method(embedded[support], labels[support], embedded[query], known[query])
                scores.setdefault((k, name), []).append((answers, query))
    return {
        key: np.mean(
            [(np.mean(a == labels[q]), balanced_accuracy_score(labels[q], a)) for a, q in answers],
            axis=0,
        )
        for key, answers in scores.items()
    }


def fit(X, Y, clips, labels, split, recipe, seed, file):
    """Train on one side of a split, enrol each speaker of the other; rows for the record."""
    trained, tested = split
    if not file.exists():
        network = train(X, Y, clips, trained, recipe, seed)
        embedded, known = network.predict(X[tested], verbose=0, batch_size=64)
        np.savez_compressed(file, embedded=embedded, known=known, rows=tested)
    saved = np.load(file)
    embedded, known = saved["embedded"], saved["known"]
    speakers = clips["speaker"].iloc[tested].to_numpy()
    people = {
        name: score_speaker(*(a[speakers == name] for a in (embedded, known, labels[tested])), seed)
        for name in np.unique(speakers)
    }
    keys = {key for scores in people.values() for key in scores}
    rows = []
    for k, method in sorted(keys):
        both = np.array([s[k, method] for s in people.values() if (k, method) in s])
        scores = {"accuracy": both[:, 0].mean(), "uar": both[:, 1].mean()}
        by_speaker = " ".join(f"{value:.3f}" for value in both[:, 0])
        row = {"k": k, "method": method, **scores, "speakers": len(both)}
        rows.append(row | {"by_speaker": by_speaker})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="*", default=["today", "balanced"], choices=RECIPES)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--folds", nargs="*", help="some folds only")
    arguments = parser.parse_args()
    corpus = drop_flagged(scan_corpus(data_dir())).replace({"emotion": {"ps": "surprise"}})
    X, _, clips, _ = extract_corpus(corpus, config=CRNN_CONFIG)
    labels = np.unique(clips["emotion"], return_inverse=True)[1]
    Y = import_keras().utils.to_categorical(labels)
    name, record = clips["corpus"].iloc[0], Record("enrol.csv", KEYS)
    folder = output_dir() / "enrol"
    folder.mkdir(exist_ok=True)
    folds = RAVDESS_FOLDS if name == "ravdess" else None
    for seed in arguments.seeds:
        for recipe in arguments.recipes:
            for fold, *split in protocol_splits(clips, "unseen speaker", seed=seed, folds=folds):
                key = (name, recipe, seed, fold)
                if key in record or (arguments.folds and fold not in arguments.folds):
                    continue
                file = folder / f"{'_'.join(map(str, key))}.npz"
                rows = fit(X, Y, clips, labels, split, recipe, seed, file)
                record.append(key, rows)
                print(*key, f"{rows[0]['accuracy']:.3f} without enrolment", flush=True)


if __name__ == "__main__":
    main()
