"""Which features carry the emotion, and which the speaker: the long tables of notebook 06.

    SER_DATA_DIR=path/to/emodb python benchmarks/features.py
    SER_DATA_DIR=path/to/tess python benchmarks/features.py --short

Each kind of `FeatureConfig` alone, all of them together, and all but one, as the mean and the
deviation of each column: over the ``whole`` clip, or in each of its ``thirds``, which is a short
sequence. They are normalised by the ``corpus`` (the training part of each split), by each ``clip``
(in thirds only: of a whole clip all means would be 0 and all deviations 1), or by each ``speaker``,
which is transductive. Two protocols, random and unseen speaker; RAVDESS in the folds of
Luna-Jimenez et al.

Rows with the target ``speaker`` are the probe: the same model is asked who speaks, in texts that
it has not heard (protocol ``unseen words``, up to five folds; RAVDESS has two texts). There is no
probe of what was normalised by the speaker, since that has been told who speaks.

An SVM whose setting is chosen inside the training part. One seed: it draws the random split, the
folds of texts and, where there are more than five speakers, their folds; nothing else has chance in
it. Intervals are those of `score_protocols`, over speakers. They stand only where the speakers are
new and at least five; the rest is blank.

Every finished row is appended to ``features.csv`` beside this file with its date and is not made
again: an interrupted run goes on where it stopped. Choices, if any, are made on EmoDB and RAVDESS.
Nothing is chosen on TESS: its rows are a look at the voices that final models are tested on, and
are here to be read, not to pick features by. ``--short`` leaves out the thirds and "all but one".
"""

import argparse

import numpy as np
from protocols import svm
from record import Record, mean_and_deviation
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold

from ser_utils import FeatureConfig, data_dir, drop_flagged, extract_corpus, scan_corpus
from ser_utils.evaluation import (
    RAVDESS_FOLDS,
    classical_model,
    evaluate_protocols,
    score_protocols,
)
from ser_utils.extraction import normalize
from ser_utils.features import KINDS

KEY = ["corpus", "target", "features", "summary", "normalisation", "protocol"]
LIMITS = ["accuracy_low", "accuracy_high", "uar_low", "uar_high"]


def feature_sets(short):
    """Name each set of kinds that is tried."""
    sets = {kind: {kind} for kind in KINDS} | {"all": set(KINDS)}
    if not short:
        sets |= {f"without {kind}": set(KINDS) - {kind} for kind in KINDS}
    return sets


def jobs(short, speakers_known, texts_known):
    """List what is tried: summary, normalisation, set of features, target and protocol."""
    grid = [("whole", "corpus"), ("whole", "speaker")]
    if not short:
        grid += [("thirds", "corpus"), ("thirds", "clip"), ("thirds", "speaker")]
    for summary, normalisation in grid:
        if normalisation == "speaker" and not speakers_known:
            continue
        for features in feature_sets(short or summary == "thirds"):
            yield summary, normalisation, features, "emotion", "random"
            if speakers_known:
                yield summary, normalisation, features, "emotion", "unseen speaker"
            probed = normalisation != "speaker" and not features.startswith("without")
            if speakers_known and texts_known and probed:
                yield summary, normalisation, features, "speaker", "unseen words"


def score_emotion(columns, clips, protocol):
    """Ask how somebody speaks, as a protocol has it."""
    models = {"SVM": classical_model(svm(), columns, clips["emotion"].to_numpy(str))}
    folds = RAVDESS_FOLDS if "actor" in clips else None
    predictions = evaluate_protocols(clips, models, protocols=[protocol], folds=folds)
    row = score_protocols(predictions).iloc[0].drop(["model", "protocol"]).to_dict()
    return row | dict.fromkeys(LIMITS, np.nan) if protocol == "random" else row


def score_speaker(columns, clips):
    """Ask who speaks, in texts that the model has not heard."""
    speakers, texts = clips["speaker"].to_numpy(str), clips["text"].to_numpy(str)
    splitter = StratifiedGroupKFold(min(5, len(set(texts))), shuffle=True, random_state=0)
    answers = np.empty_like(speakers)
    for train, test in splitter.split(columns, speakers, texts):
        groups = texts[train] if len(set(texts[train])) >= 3 else train  # else each clip is one
        model = svm().fit(columns[train], speakers[train], groups=groups)
        answers[test] = model.predict(columns[test])
    row = {"accuracy": accuracy_score(speakers, answers), **dict.fromkeys(LIMITS, np.nan)}
    row |= {"uar": balanced_accuracy_score(speakers, answers)}
    return row | {"n_speakers": len(set(speakers)), "fits": splitter.get_n_splits()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="no thirds, and no 'all but one'")
    short = parser.parse_args().short
    config = FeatureConfig(kinds=tuple(KINDS))
    X, n_frames, clips, _ = extract_corpus(drop_flagged(scan_corpus(data_dir())), config=config)
    corpus, record = clips["corpus"].iloc[0], Record("features.csv", KEY)
    widths = [FeatureConfig(kinds=(kind,)).n_features for kind in KINDS]
    kind_of = np.repeat(list(KINDS), widths)
    known = [clips[name].notna().all() for name in ("speaker", "text")]
    groups = {"clip": np.arange(len(clips)), "speaker": clips["speaker"].to_numpy()}
    made, table = None, None
    for summary, normalisation, features, target, protocol in jobs(short, *known):
        key = (corpus, target, features, summary, normalisation, protocol)
        if key in record:
            continue
        if made != (summary, normalisation):  # the corpus is normalised by the pipeline's scaler
            frames = normalize(X, n_frames, groups[normalisation]) if normalisation in groups else X
            parts = {"whole": 1, "thirds": 3}[summary]
            made, table = (summary, normalisation), mean_and_deviation(frames, n_frames, parts)
        kept = np.isin(kind_of, list(feature_sets(short=False)[features]))
        columns = table[:, np.tile(kept, table.shape[1] // len(kept))]
        if target == "speaker":
            row = score_speaker(columns, clips)
        else:
            row = score_emotion(columns, clips, protocol)
        record.append(key, [row | {"clips": len(clips), "columns": columns.shape[1]}])
        print(*key, f"{row['accuracy']:.3f}", flush=True)


if __name__ == "__main__":
    main()
