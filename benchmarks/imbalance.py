"""One emotion of the training part cut to a tenth, and what is done about it: for notebook 08.

    SER_DATA_DIR=path/to/ravdess python benchmarks/imbalance.py

Each emotion is made rare in turn, in a random split and on new voices: each speaker in turn, folds
of speakers where there are more than five, and on RAVDESS the folds of Luna-Jimenez et al. The
rows of a fit are appended to ``imbalance.csv`` beside this file and are not made again: an
interrupted run goes on where it stopped.

A row for each tested speaker of a fit, so that methods can be compared speaker by speaker: how
many clips were tested, how many of them were of the rare emotion, how many answers were right, how
many rare clips were found, and how often another clip was called rare. The test part stays
complete; see `pooled` for how its rare clips are weighted. The rows of TESS were made before these
columns: those of the random split do not tell the speakers apart ("all"), false alarms are
computed back from a precision with four digits, they are empty where nothing was found, and
neither the SVM nor the most frequent emotion was fitted.

Nothing is chosen from this table: the models, their settings and the methods stood before the
first run, and no epoch is picked: 300 steps are as many as the 40 epochs that TESS was run with
took in its random split. Only "augment all" was added afterwards, when "augmentation" had
run on TESS: it warps the repeated clips of the rare emotion alone, and whatever sounded like
another voice was taken for the rare emotion.
"""

import argparse
import time
from functools import lru_cache

import numpy as np
import pandas as pd
from record import Record, mean_and_deviation
from sklearn.dummy import DummyClassifier
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from ser_utils import (
    FeatureConfig,
    data_dir,
    drop_flagged,
    extract_corpus,
    import_keras,
    scan_corpus,
    set_seed,
)
from ser_utils.augmentation import count_frames, warp_voices
from ser_utils.evaluation import RAVDESS_FOLDS, protocol_splits

FIT = ["corpus", "protocol", "fold", "seed", "rare", "method"]
STEPS, BATCH_SIZE = 300, 256
METHODS = (
    "as it is",
    "class weights",
    "oversampling",
    "augmentation",
    "augment all",
    "focal loss",
    "most frequent",
    "SVM",
    "SVM, class weights",
)
CLASSICAL = {
    "most frequent": DummyClassifier(),
    "SVM": SVC(C=10),
    "SVM, class weights": SVC(C=10, class_weight="balanced"),
}


def describe(X):
    """Mean and deviation of each band over the frames that are not filling."""
    return mean_and_deviation(X, count_frames(X))


@lru_cache
def network(loss, n_features, n_classes):
    """Build a small network once for each loss: building costs more than training it."""
    keras = import_keras()
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((n_features,)),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(n_classes, activation="softmax"),
        ]
    )
    if loss == "focal":
        loss = keras.losses.CategoricalFocalCrossentropy(alpha=1, gamma=2)
    model.compile(optimizer="adam", loss=loss, weighted_metrics=[], steps_per_execution=10)
    model.optimizer.build(model.trainable_variables)
    return model, [v.numpy() for v in model.optimizer.variables]


def start_again(model, optimizer_state, seed):
    """Draw new weights, and let the optimizer forget what it knows."""
    set_seed(seed)
    draw = import_keras().initializers.GlorotUniform(seed)
    for variable in model.trainable_variables:
        variable.assign(draw(variable.shape) if len(variable.shape) == 2 else 0 * variable)
    for variable, value in zip(model.optimizer.variables, optimizer_state, strict=True):
        variable.assign(value)


def fit_predict(method, X, S, classes, train, test, rare, seed):
    """Train in one of the ways; return the answers to the tested clips."""
    if method in CLASSICAL:
        model = make_pipeline(StandardScaler(), CLASSICAL[method])
        return model.fit(S[train], classes[train]).predict(S[test])
    rows, origin = S[train], train
    if method in ("oversampling", "augmentation", "augment all"):
        rng, there = np.random.default_rng(seed), train[classes[train] == rare]
        extra = rng.choice(there, np.bincount(classes[train]).max() - len(there))
        origin = np.r_[train, extra]
        rows = S[origin]
        if method != "oversampling":
            warped = slice(None) if method == "augment all" else slice(len(train), None)
            rows[warped] = describe(warp_voices(X[origin[warped]], rng))
    n_classes = int(classes.max()) + 1
    scaler, weights = StandardScaler().fit(rows), np.ones(len(origin))
    if method == "class weights":
        weights = (len(train) / (n_classes * np.bincount(classes[train])))[classes[train]]
    loss = "focal" if method == "focal loss" else "categorical_crossentropy"
    model, state = network(loss, S.shape[1], n_classes)
    start_again(model, state, seed)
    draw, size = np.random.default_rng(seed), STEPS * BATCH_SIZE
    order = [draw.permutation(len(rows)) for _ in range(size // len(rows) + 1)]
    order = np.concatenate(order)[:size]  # one long epoch
    rows, Y = scaler.transform(rows), np.eye(n_classes, dtype=np.float32)[classes[origin]]
    settings = {"sample_weight": weights[order], "batch_size": BATCH_SIZE, "shuffle": False}
    model.fit(rows[order], Y[order], **settings, verbose=0)
    return np.argmax(model(scaler.transform(S[test]).astype(np.float32)), axis=1)


def make_rare(train, classes, rare, seed):
    """Keep a tenth of the training clips of one emotion."""
    there = train[classes[train] == rare]
    kept = np.random.default_rng(seed).choice(there, max(2, len(there) // 10), replace=False)
    return np.r_[train[classes[train] != rare], kept]


def count(truth, answers, speakers, rare):
    """Count for each tested speaker what the scores are made of."""
    for speaker in np.unique(speakers):
        of = speakers == speaker
        is_rare, right, called = truth[of] == rare, truth[of] == answers[of], answers[of] == rare
        yield {
            "speaker": speaker,
            "clips": of.sum(),
            "rare_clips": is_rare.sum(),
            "right": right.sum(),
            "found": (is_rare & right).sum(),
            "false_alarms": (called & ~is_rare).sum(),
            "uar": uar(truth[of], answers[of]),
        }


def uar(truth, answers):
    """Mean recall of the emotions that there are."""
    return recall_score(truth, answers, labels=np.unique(truth), average="macro")


def pooled(table):
    """Score rows of the record together.

    In a world where one emotion is rare its test clips are rare, too. So for accuracy and
    precision each of them counts a tenth. Precision is NaN where the emotion was never named.
    """
    total = table[["clips", "rare_clips", "right", "found", "false_alarms"]].sum()
    others, found = total["clips"] - total["rare_clips"], 0.1 * total["found"]
    right = total["right"] - total["found"] + found
    named = found + total["false_alarms"]
    return pd.Series(
        {
            "accuracy": right / (others + 0.1 * total["rare_clips"]),
            "uar": table["uar"].mean(),
            "recall": total["found"] / total["rare_clips"],
            "precision": found / named if named else np.nan,
            "seconds": table["seconds"].mean(),
        }
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--protocols", nargs="*", default=["random", "unseen speaker"])
    arguments = parser.parse_args()
    corpus = drop_flagged(scan_corpus(data_dir()))
    X, _, clips, _ = extract_corpus(corpus, config=FeatureConfig(kinds=("mel",)))
    emotions, classes = np.unique(clips["emotion"].to_numpy(str), return_inverse=True)
    S, name, record = describe(X), clips["corpus"].iloc[0], Record("imbalance.csv", FIT)
    speakers = clips["speaker"].fillna("all").to_numpy(str)
    folds = RAVDESS_FOLDS if name == "ravdess" else None
    jobs = [
        (protocol, fold, seed, rare, method, split)
        for seed in range(arguments.seeds)
        for protocol in arguments.protocols
        for fold, *split in protocol_splits(clips, protocol, seed=seed, folds=folds)
        for rare in range(len(emotions))
        for method in METHODS
    ]
    for protocol, fold, seed, rare, method, (train, test) in jobs:
        key = (name, protocol, fold, seed, emotions[rare], method)
        if key in record:
            continue
        start = time.perf_counter()
        fewer = make_rare(train, classes, rare, seed)
        answers = fit_predict(method, X, S, classes, fewer, test, rare, seed)
        rows = pd.DataFrame(count(classes[test], answers, speakers[test], rare))
        record.append(key, rows.assign(seconds=round(time.perf_counter() - start, 2)))
    table = pd.read_csv(record.path)
    table = table[table["corpus"] == name].groupby(["protocol", "method"], sort=False)
    print(table.apply(pooled).round(3).to_string())


if __name__ == "__main__":
    main()
