"""One emotion of the training part cut to a tenth, and four remedies: the table of notebook 08.

    SER_DATA_DIR=path/to/tess python benchmarks/imbalance.py

Each emotion is made rare in turn, in a random split and on each speaker as a stranger (folds of
speakers where there are more than five). A row for each fit is appended to ``imbalance.csv``
beside this file and is not made again: an interrupted run goes on where it stopped. The test part
stays complete; for ``accuracy`` its rare clips count a tenth, as they would in such a world.
``recall`` and ``precision`` are those of the rare emotion. Nothing is chosen from this table: the
network, its settings and the methods stood before the first run, and no epoch is picked. Only
"augment all" was added afterwards: with "augmentation", which warps the repeated clips of the rare
emotion alone, whatever sounds like another voice was taken for the rare emotion.
"""

import argparse
import time
from functools import lru_cache

import numpy as np
import pandas as pd
from record import Record, mean_and_deviation
from sklearn.metrics import precision_score, recall_score
from sklearn.preprocessing import StandardScaler

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
from ser_utils.evaluation import protocol_splits

FIT = ["corpus", "protocol", "fold", "seed", "rare", "method"]
EPOCHS = 40
METHODS = (
    "as it is",
    "class weights",
    "oversampling",
    "augmentation",
    "augment all",
    "focal loss",
)


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
    """Train the network in one of the ways; return its answers to the tested clips."""
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
    draw = np.random.default_rng(seed)
    order = np.concatenate([draw.permutation(len(rows)) for _ in range(EPOCHS)])  # one long epoch
    rows, Y = scaler.transform(rows), np.eye(n_classes, dtype=np.float32)[classes[origin]]
    settings = {"sample_weight": weights[order], "batch_size": 256, "shuffle": False}
    model.fit(rows[order], Y[order], **settings, verbose=0)
    return np.argmax(model(scaler.transform(S[test]).astype(np.float32)), axis=1)


def make_rare(train, classes, rare, seed):
    """Keep a tenth of the training clips of one emotion."""
    there = train[classes[train] == rare]
    kept = np.random.default_rng(seed).choice(there, max(2, len(there) // 10), replace=False)
    return np.r_[train[classes[train] != rare], kept]


def score(truth, answers, rare):
    """Score the answers to a complete test part as if the rare emotion were rare there, too."""
    of = {"labels": [rare], "average": "macro", "zero_division": 0}
    weights = np.where(truth == rare, 0.1, 1)
    return {
        "clips": len(truth),
        "accuracy": np.average(truth == answers, weights=weights),
        "uar": recall_score(truth, answers, average="macro"),
        "recall": recall_score(truth, answers, **of),
        "precision": precision_score(truth, answers, sample_weight=weights, **of),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--protocols", nargs="*", default=["random", "unseen speaker"])
    arguments = parser.parse_args()
    corpus = drop_flagged(scan_corpus(data_dir()))
    X, _, clips, _ = extract_corpus(corpus, config=FeatureConfig(kinds=("mel",)))
    emotions, classes = np.unique(clips["emotion"].to_numpy(str), return_inverse=True)
    S, name, record = describe(X), clips["corpus"].iloc[0], Record("imbalance.csv", FIT)
    jobs = [
        (protocol, fold, seed, rare, method, split)
        for seed in range(arguments.seeds)
        for protocol in arguments.protocols
        for fold, *split in protocol_splits(clips, protocol, seed=seed)
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
        row = score(classes[test], answers, rare)
        row["seconds"] = round(time.perf_counter() - start, 2)
        record.append(key, [row])
    table = pd.read_csv(record.path)
    table = table[table["corpus"] == name].groupby(["protocol", "method"], sort=False)
    print(table[["accuracy", "uar", "recall", "precision", "seconds"]].mean().round(3))


if __name__ == "__main__":
    main()
