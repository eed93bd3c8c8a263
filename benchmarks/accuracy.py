"""The accuracies in README's results table: both models of notebook 04, several seeds.

    SER_DATA_DIR=path/to/tess python benchmarks/accuracy.py

Each finished fit is appended to ``accuracy.csv`` beside this file, one row an epoch, and is not
made again: an interrupted run goes on where it stopped. The seed draws the split, the weights and
the order of the batches. No epoch is chosen: the figure is that of the last one.
The sequence model reads every frame here, every third in the notebook, where time counts.
"""

import argparse

import numpy as np
import pandas as pd
from record import Record
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from ser_utils import (
    REFERENCE_CONFIG,
    build_lstm,
    clip_batches,
    data_dir,
    drop_flagged,
    extract_corpus,
    import_keras,
    scan_corpus,
    set_seed,
)

FIT = ["corpus", "model", "protocol", "seed"]


def split(labels, protocol, seed):
    """Rows of training and validation: drawn at random, or the tail of the sorted clips."""
    rows = np.arange(len(labels))
    if protocol == "ordered tail":
        return np.split(rows, [len(rows) - int(0.2 * len(rows))])
    return train_test_split(rows, test_size=0.2, stratify=labels, random_state=seed)


def fit_normalization(X, n_frames, rows):
    """Normalise by the real frames of some clips, read one by one."""
    scaler = StandardScaler()
    for i in rows:
        scaler.partial_fit(X[i, : n_frames[i]])
    return import_keras().layers.Normalization(mean=scaler.mean_, variance=scaler.var_)


def build_network(model, X, n_frames, n_classes, rows, seed):
    """Build one LSTM of notebook 04 for its features; it normalises by the clips of ``rows``."""
    set_seed(seed)
    if model == "reference":
        return build_lstm((X.shape[1], 1), n_classes)
    normalization = fit_normalization(X, n_frames, rows)
    return build_lstm((None, X.shape[2]), n_classes, normalization=normalization)


def prepare(model, protocol, seed, corpus):
    """Build one model of notebook 04 and the arrays it is trained and validated with."""
    keras = import_keras()
    config = REFERENCE_CONFIG if model == "reference" else None
    X, n_frames, clips, _ = extract_corpus(corpus, config=config)
    emotions, labels = np.unique(clips["emotion"], return_inverse=True)
    Y = keras.utils.to_categorical(labels)
    train, valid = split(labels, protocol, seed)
    X = X[..., None] if model == "reference" else X
    network = build_network(model, X, n_frames, len(emotions), train, seed)
    batches = clip_batches(X, Y, train, seed=seed)
    return network, {"x": batches, "validation_data": clip_batches(X, Y, valid), "shuffle": False}


def fit(model, protocol, seed, corpus, epochs):
    """Train one model as notebook 04 does; return a row for each epoch."""
    network, data = prepare(model, protocol, seed, corpus)
    history = network.fit(**data, epochs=epochs, verbose=0).history
    return pd.DataFrame(history).assign(epoch=np.arange(1, epochs + 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=50)
    arguments = parser.parse_args()
    corpus = drop_flagged(scan_corpus(data_dir()))
    name, record = corpus["corpus"].iloc[0], Record("accuracy.csv", FIT)
    fits = [
        (model, "random", seed)
        for seed in range(arguments.seeds)
        for model in ("reference", "sequence")
    ]
    for model, protocol, seed in [*fits, ("reference", "ordered tail", 0)]:
        key = [name, model, protocol, seed]
        if key in record:
            continue
        rows = fit(model, protocol, seed, corpus, arguments.epochs)
        record.append(key, rows)
        print(*key, f"{rows['val_accuracy'].iloc[-1]:.4f}", flush=True)
    table = pd.read_csv(record.path)
    last = table[(table["corpus"] == name) & (table["epoch"] == arguments.epochs)]
    print(last.groupby(FIT[:3])["val_accuracy"].agg(["count", "mean", "min", "max"]).round(4))


if __name__ == "__main__":
    main()
