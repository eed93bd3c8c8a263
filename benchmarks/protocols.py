"""Every model under every protocol, several seeds: the table in README and in notebook 05.

    SER_DATA_DIR=path/to/tess python benchmarks/protocols.py
    SER_DATA_DIR=path/to/tess python benchmarks/protocols.py --models "sequence LSTM" --seeds 1
    SER_DATA_DIR=path/to/tess python benchmarks/protocols.py --show

The answers of each finished fit are appended to ``protocols_answers.csv`` beside this file, a
letter for each tested clip (a is the first emotion of the alphabet), and are not made again: an
interrupted run goes on where it stopped, on any machine with the same corpus. From them
``protocols.csv`` gets the scores with their intervals over speakers, and ``protocols_speakers.csv``
the scores of each speaker; ``--show`` makes only these two anew.
RAVDESS is tested in the folds of Luna-Jimenez et al. Rows marked
transductive use the unlabelled clips of the tested speaker.
"""

import argparse
import contextlib
import hashlib
import importlib.util

import numpy as np
import pandas as pd
from accuracy import fit_normalization
from record import HERE, Record, from_letters, mean_and_deviation, to_letters
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from ser_utils import (
    REFERENCE_CONFIG,
    build_lstm,
    data_dir,
    drop_flagged,
    extract_corpus,
    import_keras,
    load_audio,
    scan_corpus,
)
from ser_utils.evaluation import (
    PROTOCOLS,
    RAVDESS_FOLDS,
    classical_model,
    evaluate_protocols,
    network_model,
    score_protocols,
    score_speakers,
)
from ser_utils.parallel import map_clips

ANSWER = ["model", "seed", "split"]
KEYS = ["corpus", "model", "protocol", "speaker"]


def search(estimator, **settings):
    """Standardise, and choose the settings by three groups of the training part."""
    pipeline = make_pipeline(StandardScaler(), estimator)
    return GridSearchCV(pipeline, settings, cv=GroupKFold(3))


def svm():
    return search(SVC(), svc__C=[1, 10, 100])


def egemaps(path):
    """The 88 functionals of eGeMAPS (Eyben et al., 2016) of one clip."""
    import opensmile

    y, sr = load_audio(path)
    kinds = opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals
    return opensmile.Smile(*kinds).process_signal(y, sr).to_numpy()[0]


def per_speaker(features, speakers):
    """Bring each speaker's clips to mean 0 and deviation 1: transductive in a test."""
    table = pd.DataFrame(features).groupby(np.asarray(speakers))
    return ((features - table.transform("mean")) / (table.transform("std") + 1e-9)).to_numpy()


def make_models(corpus):
    """Build every model that can be built here, and the clips that they are tested on."""
    keras = import_keras()
    X, n_frames, clips, _ = extract_corpus(corpus)
    X_average, *_ = extract_corpus(corpus, config=REFERENCE_CONFIG)
    emotions, classes = np.unique(clips["emotion"], return_inverse=True)
    labels, Y = emotions[classes], keras.utils.to_categorical(classes)
    means = mean_and_deviation(X, n_frames)
    dummy = GridSearchCV(DummyClassifier(), {"strategy": ["most_frequent"]}, cv=GroupKFold(3))
    logistic = search(LogisticRegression(max_iter=2000), logisticregression__C=[0.01, 0.1, 1])

    def reference(train):
        return build_lstm((X_average.shape[1], 1), len(emotions))

    def sequence(train):
        layer = fit_normalization(X, n_frames, train)
        return build_lstm((None, X.shape[2]), len(emotions), normalization=layer)

    models = {
        "most frequent": classical_model(dummy, means, labels),
        "logistic regression": classical_model(logistic, means, labels),
        "SVM": classical_model(svm(), means, labels),
    }
    if importlib.util.find_spec("opensmile"):
        smile = np.array(list(map_clips(egemaps, clips["path"].tolist(), desc="eGeMAPS")))
        models["eGeMAPS + SVM"] = classical_model(svm(), smile, labels)
        if clips["speaker"].notna().all():
            normed = per_speaker(smile, clips["speaker"])
            models["eGeMAPS + SVM, transductive"] = classical_model(svm(), normed, labels)
    models["reference LSTM"] = network_model(reference, X_average[..., None], Y)
    models["sequence LSTM"] = network_model(sequence, X, Y)
    return models, clips


def remember(name, model, clips, record):
    """Wrap a model so that its answers are kept, and looked up instead of being made again."""
    emotions, labels = np.unique(clips["emotion"], return_inverse=True)

    def fit_predict(train, test, groups, seed):
        split = hashlib.sha256(np.r_[test, labels].astype("<i8").tobytes()).hexdigest()[:12]
        key = (name, seed, split)
        if key not in record:
            codes = model(train, test, groups, seed).argmax(axis=1)
            record.append(key, [{"answers": to_letters(codes)}])
        return np.eye(len(emotions))[from_letters(record.rows(key)["answers"].iloc[-1])]

    return fit_predict


def not_fitted(train, test, groups, seed):
    """Stand in for a model whose answers are only looked up."""
    raise LookupError


def recorded(clips, record, folds):
    """Collect the answers of the record to these clips."""
    tables = []
    for name, seed in record.table[["model", "seed"]].drop_duplicates().itertuples(index=False):
        model = {name: remember(name, not_fitted, clips, record)}
        for protocol in PROTOCOLS:
            split = {"protocols": [protocol], "seeds": [int(seed)], "folds": folds}
            with contextlib.suppress(LookupError):  # of another corpus, or never run
                tables.append(evaluate_protocols(clips, model, **split))
    return pd.concat(tables)


def save(table, name, corpus):
    """Put the rows of a corpus into a CSV beside this file, in place of its older ones."""
    table.insert(0, "corpus", corpus)
    if (HERE / name).exists():
        older = pd.read_csv(HERE / name, dtype={"speaker": str})
        table = pd.concat([older[older["corpus"] != corpus], table])
    table = table.sort_values([key for key in KEYS if key in table])
    table.round(4).to_csv(HERE / name, index=False)


def score(predictions, corpus):
    """Write the scores with their intervals, and those of each speaker."""
    scores = score_protocols(predictions)
    seeds = predictions.groupby(["model", "protocol"])["seed"].nunique().rename("seeds")
    scores = scores.join(seeds, on=["model", "protocol"])
    save(scores, "protocols.csv", corpus)
    each = pd.concat(score_speakers(part) for _, part in predictions.groupby("seed"))
    by = each.groupby(["model", "protocol", "speaker"], sort=False)
    speakers = by[["accuracy", "uar"]].mean()
    speakers["uar_lowest"], speakers["uar_highest"] = by["uar"].min(), by["uar"].max()
    save(speakers.join(by.size().rename("seeds")).reset_index(), "protocols_speakers.csv", corpus)
    return scores


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--models", nargs="*", help="names of models; all if none is named")
    parser.add_argument("--protocols", nargs="*", default=list(PROTOCOLS))
    parser.add_argument("--show", action="store_true", help="only score what is recorded")
    arguments = parser.parse_args()
    corpus = drop_flagged(scan_corpus(data_dir()))
    folds = RAVDESS_FOLDS if "actor" in corpus else None
    record = Record("protocols_answers.csv", ANSWER)
    if arguments.show:
        clips = extract_corpus(corpus).clips
        record.rows(("", "", ""))  # reads the file
        predictions = recorded(clips, record, folds)
    else:
        models, clips = make_models(corpus)
        names = arguments.models or models
        predictions = evaluate_protocols(
            clips,
            {name: remember(name, models[name], clips, record) for name in names},
            protocols=arguments.protocols,
            seeds=range(arguments.seeds),
            folds=folds,
        )
    corpus = clips["corpus"].iloc[0]
    print(score(predictions, corpus).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
