"""A strong simple baseline on a corpus that it has not heard: the rows beside `enrol.py --with`.

    python benchmarks/unseen_corpus.py path/to/ravdess path/to/emodb
    python benchmarks/unseen_corpus.py path/to/ravdess path/to/tess

Each of the two corpora is tested in turn by an SVM that was trained on the other one, on the
emotions that both have. Its ``C`` is chosen inside the training set, by speaker, or by text where
there are two speakers. Features are the
mean and deviation of each MFCC, standardised by the training set. ``unseen_corpus.csv`` gets the
UAR with its interval over speakers; with fewer than five speakers, the limits stay empty.
"""

import argparse
from pathlib import Path

import numpy as np
from protocols import svm
from record import Record, mean_and_deviation
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold

from ser_utils import drop_flagged, extract_corpus, scan_corpus
from ser_utils.evaluation import (
    classical_model,
    protocol_splits,
    score_speakers,
    speaker_interval,
)

KEYS = ["trained", "tested", "model"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("roots", nargs=2, type=Path)
    arguments = parser.parse_args()
    # One vocabulary for all: TESS's pleasant surprise is what RAVDESS calls surprise.
    corpus = drop_flagged(scan_corpus(arguments.roots)).replace({"emotion": {"ps": "surprise"}})
    X, n_frames, clips, _ = extract_corpus(corpus)
    statistics, labels = mean_and_deviation(X, n_frames), clips["emotion"].to_numpy(str)
    emotions, record = (
        np.unique(labels),
        Record("unseen_corpus.csv", ["trained", "tested", "model"]),
    )
    dummy = GridSearchCV(DummyClassifier(), {}, cv=GroupKFold(3))
    models = {"most frequent": dummy, "SVM": svm()}
    for tested, train, test in protocol_splits(clips, "unseen corpus"):
        trained, part = clips["corpus"].iloc[train[0]], clips.iloc[train]
        groups = part["speaker" if part["speaker"].nunique() >= 3 else "text"].to_numpy()
        for name, search in models.items():
            if (trained, tested, name) in record:
                continue
            model = classical_model(search, statistics, labels)
            answers = emotions[model(train, test, groups, 0).argmax(axis=1)]
            table = clips.iloc[test].rename(columns={"emotion": "truth"})
            table = table.assign(model=name, protocol="unseen corpus", seed=0, prediction=answers)
            uar = score_speakers(table)["uar"]
            low, high = speaker_interval(uar)
            row = {"emotions": len(set(labels[test])), "speakers": len(uar), "uar": uar.mean()}
            record.append((trained, tested, name), [row | {"low": low, "high": high}])
            print(trained, tested, name, row)


if __name__ == "__main__":
    main()
