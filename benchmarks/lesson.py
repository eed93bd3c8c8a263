"""The scores that notebook 04 compares, for several seeds: two baselines and two LSTMs.

    python benchmarks/lesson.py                            # the demo corpus
    SER_DATA_DIR=path/to/corpus python benchmarks/lesson.py

The split, features and models are those of notebook 04. A fifth of the clips form the test set,
which is the same for every seed. The seed determines the validation set, the initial weights and
the order of the batches. No epoch is selected: every score comes from the last one. Each finished
seed is appended to ``lesson.csv`` and skipped on later runs.
"""

import argparse

import numpy as np
import pandas as pd
from accuracy import fit_normalization
from record import Record, mean_and_deviation
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from ser_utils import (
    REFERENCE_CONFIG,
    FeatureConfig,
    build_lstm,
    clip_batches,
    data_dir,
    drop_flagged,
    extract_corpus,
    import_keras,
    scan_corpus,
    set_seed,
)

CONFIG = FeatureConfig(hop_length=768)
BASELINES = {
    "most frequent": DummyClassifier(),
    "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
    "SVM": make_pipeline(StandardScaler(), SVC()),
}


def fit_network(model, X, Y, parts, seed, epochs):
    """Train one LSTM as notebook 04 does; return its validation and its test accuracy."""
    train, valid, test = parts
    model.fit(
        clip_batches(X, Y, train, seed=seed),
        validation_data=clip_batches(X, Y, valid),
        epochs=epochs,
        shuffle=False,
        verbose=0,
    )
    return [model.evaluate(clip_batches(X, Y, part), verbose=0)[1] for part in (valid, test)]


def score_models(corpus, seed, epochs):
    """Fit every model of notebook 04 with one seed; return a row for each."""
    X, n_frames, clips, _ = extract_corpus(corpus, config=CONFIG)
    averages = extract_corpus(corpus, config=REFERENCE_CONFIG).X[..., None]
    emotions, labels = np.unique(clips["emotion"], return_inverse=True)
    Y = import_keras().utils.to_categorical(labels)
    rest, test = train_test_split(
        np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0
    )
    train, valid = train_test_split(rest, test_size=0.25, stratify=labels[rest], random_state=seed)
    scores = {}
    statistics = mean_and_deviation(X, n_frames)
    for name, model in BASELINES.items():
        model.fit(statistics[train], labels[train])
        scores[name] = [model.score(statistics[part], labels[part]) for part in (valid, test)]
    set_seed(seed)
    reference = build_lstm((averages.shape[1], 1), len(emotions))
    scores["reference LSTM"] = fit_network(
        reference, averages, Y, (train, valid, test), seed, epochs
    )
    normalization = fit_normalization(X, n_frames, train)
    set_seed(seed)
    sequence = build_lstm((None, X.shape[2]), len(emotions), normalization=normalization)
    scores["sequence LSTM"] = fit_network(sequence, X, Y, (train, valid, test), seed, epochs)
    return [
        {"model": name, "validation": valid, "test": test} for name, (valid, test) in scores.items()
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=50)
    arguments = parser.parse_args()
    corpus = drop_flagged(scan_corpus(data_dir()))
    name, record = corpus["corpus"].iloc[0], Record("lesson.csv", ["corpus", "seed"])
    for seed in range(arguments.seeds):
        if [name, seed] not in record:
            record.append([name, seed], score_models(corpus, seed, arguments.epochs))
    table = pd.read_csv(record.path)
    table = table[table["corpus"] == name]
    print(table.groupby("model", sort=False)[["validation", "test"]].agg(["mean", "min", "max"]))


if __name__ == "__main__":
    main()
