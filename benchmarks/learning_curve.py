"""More clips or more voices: the learning curve of notebook 05 and README.

    SER_DATA_DIR=path/to/ravdess python benchmarks/learning_curve.py
    SER_DATA_DIR=path/to/emodb python benchmarks/learning_curve.py --models "SVM" --seeds 10

The speakers of a fold are tested. The training set is a part of the other speakers, along two ways:

- ``speakers``: all clips of 2, 4, 6, ... speakers, drawn at random,
- ``clips``: as many clips, but drawn from all of the training speakers.

Where the curve of ``clips`` lies above that of ``speakers``, the same number of clips teaches more
if it comes from more voices. RAVDESS is tested in the folds of Luna-Jimenez et al., EmoDB in five
folds of two speakers. The SVM chooses ``C`` inside its training set, by speaker. Of each finished
fit, ``learning_curve.csv`` gets a row for each tested speaker. It is not made again: an
interrupted run goes on where it stopped.
"""

import argparse

import numpy as np
import pandas as pd
from generalize import make_model
from protocols import svm
from record import Record, mean_and_deviation

from ser_utils import data_dir, drop_flagged, extract_corpus, import_keras, scan_corpus
from ser_utils.evaluation import RAVDESS_FOLDS, classical_model, protocol_splits
from ser_utils.features import CRNN_CONFIG

KEYS = ["corpus", "model", "along", "n_speakers", "seed", "fold"]


def make_models(corpus):
    """Build the SVM and the network, and the clips that both are tested on."""
    X, n_frames, clips, _ = extract_corpus(corpus)
    labels = clips["emotion"].to_numpy(str)
    codes = np.unique(labels, return_inverse=True)[1]
    mels, *_ = extract_corpus(corpus, config=CRNN_CONFIG)
    models = {
        "SVM": classical_model(svm(), mean_and_deviation(X, n_frames), labels),
        "build_crnn": make_model("final", mels, import_keras().utils.to_categorical(codes)),
    }
    return models, clips


def draw(clips, train, along, n_speakers, rng):
    """Draw a part of the training clips: whole speakers, or as many clips of all of them."""
    speakers = clips["speaker"].iloc[train]
    chosen = rng.choice(speakers.unique(), n_speakers, replace=False)
    rows = train[speakers.isin(chosen)]
    return rows if along == "speakers" else rng.choice(train, len(rows), replace=False)


def score(truth, answers, speakers):
    """Unweighted average recall of each speaker."""
    table = pd.DataFrame({"speaker": speakers, "truth": truth, "right": answers == truth})
    recalls = table.groupby(["speaker", "truth"])["right"].mean()
    return recalls.groupby("speaker").mean().rename("uar").reset_index()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=["SVM", "build_crnn"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="speakers from point to point")
    arguments = parser.parse_args()
    models, clips = make_models(drop_flagged(scan_corpus(data_dir())))
    codes = np.unique(clips["emotion"].to_numpy(str), return_inverse=True)[1]
    corpus, record = clips["corpus"].iloc[0], Record("learning_curve.csv", KEYS)
    folds = RAVDESS_FOLDS if "actor" in clips else None
    jobs = [
        (model, along, n_speakers, seed, fold, train, test)
        for seed in range(arguments.seeds)
        for model in arguments.models
        for fold, train, test in protocol_splits(clips, "unseen speaker", seed=seed, folds=folds)
        for n_speakers in range(2, clips["speaker"].iloc[train].nunique() + 1, arguments.steps)
        for along in ("speakers", "clips")
    ]
    for model, along, n_speakers, seed, fold, train, test in jobs:
        key = (corpus, model, along, n_speakers, seed, fold)
        if key in record:
            continue
        rows = draw(clips, train, along, n_speakers, np.random.default_rng([seed, n_speakers]))
        speakers = (corpus, model, "speakers", n_speakers, seed, fold)
        if len(rows) == len(train) and speakers in record:  # both ways end at all clips
            scores = record.rows(speakers)[["clips", "speaker", "uar"]]
        else:
            groups = clips["speaker"].iloc[rows].to_numpy()
            if len(set(groups)) < 3:  # the SVM needs three groups to choose by
                groups = rows
            answers = models[model](rows, test, groups, seed).argmax(axis=1)
            scores = score(codes[test], answers, clips["speaker"].iloc[test].to_numpy())
            scores = scores.assign(clips=len(rows))
        record.append(key, scores)
        print(*key, len(rows), f"{scores['uar'].astype(float).mean():.3f}", flush=True)


if __name__ == "__main__":
    main()
