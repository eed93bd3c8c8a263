"""How many clips of a new voice does it take until the network knows it?

    SER_DATA_DIR=path/to/ravdess python benchmarks/enrol.py
    SER_DATA_DIR=path/to/emodb python benchmarks/enrol.py --recipes today --seeds 0 1 2 3 4
    SER_DATA_DIR=path/to/tess python benchmarks/enrol.py --with path/to/ravdess path/to/emodb
    python benchmarks/enrol.py --show

For each fold of speakers, a network is trained on the others; ``--with`` trains on other corpora
alone, and all voices of this one are new. Of each new voice, k clips of each emotion are drawn and
learned from, 20 times. The rest is tested; a speaker who has too few clips is left out for this k.

Each fit is appended to ``enrol.csv`` (a row for each k and method) and is not made again. What the
network says about the tested clips stays in ``output/enrol``, so that another method needs no
training. The recipe and the pull of the last layer were chosen on RAVDESS and EmoDB; the rows of
TESS are all the looks that were taken at its two voices.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
from generalize import without_mixup
from record import HERE, Record, mean_and_deviation
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
from ser_utils.augmentation import (
    add_noise,
    count_frames,
    crop_times,
    new_voices,
    warp_voices,
)
from ser_utils.evaluation import (
    RAVDESS_FOLDS,
    few_clips_splits,
    protocol_splits,
    speaker_interval,
)
from ser_utils.features import CRNN_CONFIG
from ser_utils.models import CRNN_STEPS, adapt_last_layer, build_crnn

KEYS = ["trained", "tested", "recipe", "seed", "fold"]
SHOTS, VIEWS = (1, 2, 3, 5, 10), 8


def as_they_come(clips, rng, size):
    """Rows of each batch: all clips in a new order, again and again."""
    rows = [rng.permutation(len(clips)) for _ in range(1 + CRNN_STEPS * size // len(clips))]
    return np.concatenate(rows)[: CRNN_STEPS * size].reshape(CRNN_STEPS, size)


def balanced(clips, rng, size, speakers=4):
    """Rows of each batch: of each emotion of some speakers the same number, drawn with return."""
    cells = clips.groupby(["speaker", "emotion"]).indices
    emotions, names = clips["emotion"].unique(), clips["speaker"].unique()
    each, batches = size // (speakers * len(emotions)), []
    for _ in range(CRNN_STEPS):
        chosen = rng.choice(names, speakers, replace=len(names) < speakers)
        here = [cells.get((name, emotion), []) for name in chosen for emotion in emotions]
        batches.append(np.concatenate([rng.choice(cell, each) for cell in here if len(cell)]))
    return batches


def with_noise(X, Y, rng):
    return add_noise(warp_voices(crop_times(X, rng), rng), rng), Y


RECIPES = {  # how batches are drawn, how large they are, and how they are changed
    "today": (as_they_come, 32, new_voices),
    "balanced, no mixup": (balanced, 32, without_mixup),
    "balanced, noise, no mixup": (balanced, 32, with_noise),
}


def train(X, Y, clips, recipe, seed):
    """Train the network of notebook 09; return it with the 128 numbers before its last layer."""
    keras = import_keras()
    set_seed(seed)
    model = build_crnn(X.shape[2], Y.shape[1])
    draw, size, change = RECIPES[recipe]
    for step, batch in enumerate(draw(clips, np.random.default_rng(seed), size)):
        rows = np.sort(batch)
        model.train_on_batch(*change(X[rows], Y[rows], np.random.default_rng([seed, step])))
    return keras.Model(model.input, [model.layers[-1].input, model.output])


def embed(network, X):
    """The 128 numbers and the probabilities of each clip and of 8 warps of it, a view after it."""
    views = [X, *(warp_voices(X, np.random.default_rng([0, i])) for i in range(VIEWS))]
    answers = [network.predict(view, verbose=0, batch_size=64) for view in views]
    return [np.stack(part, axis=1) for part in zip(*answers, strict=True)]


def describe(X, labels, trained, tested):
    """Numbers without a network: mean and deviation of MFCCs, scaled by the training part."""
    mfcc = scipy.fft.dct(X, norm="ortho")[..., :40]
    table = mean_and_deviation(mfcc, count_frames(X))
    return (table[tested] - table[trained].mean(axis=0)) / table[trained].std(axis=0)


def hear(X, Y, clips, trained, tested, recipe, seed, file):
    """Train on some rows and describe the others; read it from a file where this has been done."""
    if not file.exists():
        network = train(X[trained], Y[trained], clips.iloc[trained], recipe, seed)
        embedded, known = embed(network, X[tested])
        own = network.predict(X[trained], verbose=0, batch_size=64)[0]
        prototypes = [own[Y[trained, k] == 1].mean(axis=0) for k in range(Y.shape[1])]
        kernel, bias = network.layers[-1].get_weights()
        parts = {"embedded": embedded, "known": known, "kernel": kernel, "bias": bias}
        np.savez_compressed(file, **parts, prototypes=prototypes)
    return np.load(file)


def by_means(support, labels, query):
    """Answer with the emotion whose mean is nearest."""
    emotions = np.unique(labels)
    means = [support[labels == emotion].mean(axis=0) for emotion in emotions]
    return emotions[scipy.spatial.distance.cdist(query, means).argmin(axis=1)]


def by_directions(support, labels, query):
    """Answer by the cosine of the angle to each mean, the mean of all taken away before."""
    centred = [z - support.mean(axis=0) for z in (support, query)]
    support, query = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in centred)
    return by_means(support, labels, query)


def score_speaker(clips, labels, said, described, seed):
    """Accuracy, UAR and whether texts were kept apart, for each k and method; means of draws."""
    embedded, known = said["embedded"], said["known"]
    layer, prototypes = (said["kernel"], said["bias"]), said["prototypes"]
    once, often = embedded[:, 0], embedded.mean(axis=1)
    answers = {(0, "the network"): [(known[:, 0].argmax(axis=1), slice(None), True)]}
    answers[0, "the network, nine looks"] = [(known.mean(axis=1).argmax(axis=1), slice(None), True)]
    for k in SHOTS:
        if clips["emotion"].value_counts().min() <= k:
            continue
        for support, query, apart in few_clips_splits(clips, k, seed=seed):
            learned = labels[support]
            kernel, bias = adapt_last_layer(once[support], learned, *layer, prototypes=prototypes)
            given = {
                "last layer": (once[query] @ kernel + bias).argmax(axis=1),
                "last layer, nine looks": (often[query] @ kernel + bias).argmax(axis=1),
                "prototypes": by_directions(once[support], learned, once[query]),
                "no network": by_means(described[support], learned, described[query]),
            }
            for method, answer in given.items():
                answers.setdefault((k, method), []).append((answer, query, apart))
    for row in np.flatnonzero(clips["emotion"] == "neutral")[:20]:
        alone = once[[row]], labels[[row]]
        kernel, bias = adapt_last_layer(*alone, *layer, prototypes=prototypes)
        query = np.delete(np.arange(len(clips)), row)
        answer = (once[query] @ kernel + bias).argmax(axis=1)
        answers.setdefault((1, "one neutral clip alone"), []).append((answer, query, False))
    return {
        key: np.mean(
            [
                (np.mean(a == labels[q]), balanced_accuracy_score(labels[q], a), apart)
                for a, q, apart in drawn
            ],
            axis=0,
        )
        for key, drawn in answers.items()
    }


def score(clips, labels, said, described, seed):
    """Meet each speaker of the tested part; rows for the record."""
    speakers = clips["speaker"].to_numpy()
    people = {}
    for name in np.unique(speakers):
        own = np.flatnonzero(speakers == name)
        parts = {part: said[part][own] for part in ("embedded", "known")}
        parts |= {part: said[part] for part in ("kernel", "bias", "prototypes")}
        people[name] = score_speaker(clips.iloc[own], labels[own], parts, described[own], seed)
    rows = []
    for k, method in sorted({key for scores in people.values() for key in scores}):
        scores = {name: each[k, method] for name, each in people.items() if (k, method) in each}
        accuracy, uar, apart = np.mean(list(scores.values()), axis=0)
        by_speaker = " ".join(f"{name}:{each[1]:.3f}" for name, each in scores.items())
        row = {"k": k, "method": method, "accuracy": accuracy, "uar": uar, "texts_apart": apart}
        rows.append(row | {"uar_by_speaker": by_speaker})
    return rows


def fine_tune(X, Y, clips, trained, tested, seed):
    """Train the whole network on the k clips: a dear baseline, so three draws for k = 1 and 3.

    Learning rate and steps are the best of three pairs (0.0001, 30; 0.001, 30; 0.0003, 60) on one
    fold of RAVDESS.
    """
    network = train(X[trained], Y[trained], clips.iloc[trained], "today", seed)
    keras = import_keras()
    model = keras.Model(network.input, network.output[1])
    before, people = network.get_weights(), {}
    part, labels = clips.iloc[tested].reset_index(drop=True), Y[tested].argmax(axis=1)
    for k in (1, 3):
        for name, own in part.groupby("speaker"):
            for support, query, apart in few_clips_splits(own, k, seed=seed, n_draws=3):
                support, query = own.index[support], own.index[query]
                model.set_weights(before)
                smoothed = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
                model.compile(optimizer=keras.optimizers.Adam(3e-4), loss=smoothed)
                rng = np.random.default_rng(seed)
                for _ in range(60):
                    rows = tested[support]
                    model.train_on_batch(warp_voices(X[rows], rng), Y[rows])
                answers = model.predict(X[tested[query]], verbose=0).argmax(axis=1)
                truth = labels[query]
                scores = np.mean(answers == truth), balanced_accuracy_score(truth, answers), apart
                people.setdefault((k, name), []).append(scores)
    rows = []
    for k in (1, 3):
        scores = {name: np.mean(drawn, axis=0) for (n, name), drawn in people.items() if n == k}
        accuracy, uar, apart = np.mean(list(scores.values()), axis=0)
        by_speaker = " ".join(f"{name}:{each[1]:.3f}" for name, each in scores.items())
        row = {"k": k, "method": "whole network", "accuracy": accuracy, "uar": uar}
        rows.append(row | {"texts_apart": apart, "uar_by_speaker": by_speaker})
    return rows


def show(record):
    """Print and keep UAR over all folds and seeds, with an interval over speakers."""
    table = pd.read_csv(record.path, dtype={"fold": str})
    rows = []
    groups = ["trained", "tested", "recipe", "k", "method"]
    for key, part in table.groupby(groups, sort=False):
        pairs = " ".join(part["uar_by_speaker"]).split()
        speakers = pd.DataFrame([pair.split(":") for pair in pairs], columns=["speaker", "uar"])
        each = speakers.astype({"uar": float}).groupby("speaker")["uar"].mean()
        low, high = speaker_interval(each)
        row = {"seeds": part["seed"].nunique(), "speakers": len(each), "uar": each.mean()}
        row |= {"low": low, "high": high, "texts_apart": part["texts_apart"].mean()}
        rows.append(dict(zip(groups, key, strict=True)) | row)
    scores = pd.DataFrame(rows).round(4)
    scores.to_csv(HERE / "enrol_scores.csv", index=False)
    print(scores.round(3).to_string(index=False))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="*", default=["today"], choices=RECIPES)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--with", nargs="*", default=[], dest="others", help="train on these alone")
    parser.add_argument("--tune", action="store_true", help="only train the whole network on them")
    parser.add_argument("--show", action="store_true", help="only the scores of what is recorded")
    arguments = parser.parse_args()
    record = Record("enrol.csv", KEYS)
    if arguments.show:
        return show(record)
    roots = [data_dir(), *map(Path, arguments.others)] if arguments.others else data_dir()
    corpus = drop_flagged(scan_corpus(roots)).replace({"emotion": {"ps": "surprise"}})
    tested = scan_corpus(data_dir())["corpus"].iloc[0]
    shared = corpus.groupby("emotion")["corpus"].transform("nunique") == corpus["corpus"].nunique()
    X, _, clips, _ = extract_corpus(corpus[shared].reset_index(drop=True), config=CRNN_CONFIG)
    labels = np.unique(clips["emotion"], return_inverse=True)[1]
    Y = import_keras().utils.to_categorical(labels)
    (output_dir() / "enrol").mkdir(exist_ok=True)
    folds = RAVDESS_FOLDS if tested == "ravdess" else None
    trained = "+".join(sorted(set(clips["corpus"]) - {tested})) or tested
    for seed in arguments.seeds:
        for recipe in arguments.recipes:
            protocol = "unseen corpus" if arguments.others else "unseen speaker"
            for fold, *split in protocol_splits(clips, protocol, seed=seed, folds=folds):
                key = (trained, tested, recipe + ", fine-tuned" * arguments.tune, seed, fold)
                if key in record or (arguments.others and fold != tested):
                    continue
                if arguments.tune:
                    record.append(key, fine_tune(X, Y, clips, *split, seed))
                    continue
                file = output_dir() / "enrol" / f"{'_'.join(map(str, key))}.npz"
                said = hear(X, Y, clips, *split, recipe, seed, file)
                described = describe(X, labels, *split)
                part = clips.iloc[split[1]]
                rows = score(part, labels[split[1]], said, described, seed)
                record.append(key, rows)
                print(*key, *(f"{row['uar']:.3f}" for row in rows[:2]), flush=True)


if __name__ == "__main__":
    main()
