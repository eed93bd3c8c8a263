"""The scores that notebook 04 compares, for several seeds: two baselines and two LSTMs.

    python benchmarks/lesson.py                            # the demo corpus
    SER_DATA_DIR=path/to/corpus python benchmarks/lesson.py

The features and models are those of notebook 04. The seed determines the test set, the validation
set, the initial weights and the order of the batches; notebook 04 has the sets of seed 0. The
strength C of the baselines is chosen on the validation set, and nothing is chosen for the LSTMs:
their scores come from the last epoch. Each finished seed is appended to ``lesson.csv`` and skipped
on later runs.
"""

import argparse

import numpy as np
import pandas as pd
from accuracy import build_network
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
    clip_batches,
    data_dir,
    drop_flagged,
    extract_corpus,
    import_keras,
    scan_corpus,
)

CONFIG = FeatureConfig(hop_length=768)
BASELINES = {
    "most frequent": [DummyClassifier()],
    "logistic regression": [LogisticRegression(C=C, max_iter=2000) for C in (0.1, 1, 10, 100)],
    "SVM": [SVC(C=C) for C in (0.1, 1, 10, 100)],
}


def fit_baseline(candidates, statistics, labels, parts):
    """Fit each candidate and keep the best on the validation set; return its two accuracies."""
    train, valid, test = parts
    models = [make_pipeline(StandardScaler(), classifier) for classifier in candidates]
    fitted = [model.fit(statistics[train], labels[train]) for model in models]
    # Where several are best, max takes the first: the weakest C.
    best = max(fitted, key=lambda model: model.score(statistics[valid], labels[valid]))
    return [best.score(statistics[part], labels[part]) for part in (valid, test)]


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
    averages, _, clips, _ = extract_corpus(corpus, config=REFERENCE_CONFIG)
    X, n_frames, clips, _ = extract_corpus(clips, config=CONFIG)
    emotions, labels = np.unique(clips["emotion"], return_inverse=True)
    Y = import_keras().utils.to_categorical(labels)
    rows = np.arange(len(labels))
    rest, test = train_test_split(rows, test_size=0.2, stratify=labels, random_state=seed)
    train, valid = train_test_split(rest, test_size=0.25, stratify=labels[rest], random_state=seed)
    parts, statistics = (train, valid, test), mean_and_deviation(X, n_frames)
    scores = {
        name: fit_baseline(candidates, statistics, labels, parts)
        for name, candidates in BASELINES.items()
    }
    for model, inputs in {"reference": averages[..., None], "sequence": X}.items():
        network = build_network(model, inputs, n_frames, len(emotions), train, seed)
        scores[f"{model} LSTM"] = fit_network(network, inputs, Y, parts, seed, epochs)
    return [
        {"model": name, "validation": valid, "test": test} for name, (valid, test) in scores.items()
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
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
