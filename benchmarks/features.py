"""Which features carry the emotion, and which the speaker: the long tables of notebook 06.

    SER_DATA_DIR=path/to/emodb python benchmarks/features.py
    SER_DATA_DIR=path/to/tess python benchmarks/features.py --short

Each kind of `FeatureConfig` alone, all of them together, and all but one, as the mean and the
deviation of each column: over the ``whole`` clip, or in each of its ``thirds``, which is a short
sequence. They are normalised by the ``corpus`` (the training part of each split), by each ``clip``
(in thirds only: of a whole clip all means would be 0 and all deviations 1), or by each ``speaker``,
which is transductive. Two protocols, random and unseen speaker; RAVDESS in the folds of
Luna-Jimenez et al. Rows with the target ``speaker`` are the probe: the same split and the same
model, asked who speaks instead of how.

An SVM whose setting is chosen inside the training part. One seed: it draws the random split and,
where there are more than five speakers, their folds; nothing else has chance in it. Intervals are
those of `score_protocols`.

Every finished row is appended to ``features.csv`` beside this file with its date and is not made
again: an interrupted run goes on where it stopped. Choices, if any, are made on EmoDB and RAVDESS.
Nothing is chosen on TESS: its rows are a look at the voices that final models are tested on, and
are here to be read, not to pick features by. ``--short`` leaves out the thirds and "all but one".
"""

import argparse

import numpy as np
from protocols import svm
from record import Record, mean_and_deviation

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


def feature_sets(short):
    """Name each set of kinds that is tried."""
    sets = {kind: {kind} for kind in KINDS} | {"all": set(KINDS)}
    if not short:
        sets |= {f"without {kind}": set(KINDS) - {kind} for kind in KINDS}
    return sets


def jobs(short, speakers_known):
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
            if speakers_known and not features.startswith("without"):
                yield summary, normalisation, features, "speaker", "random"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="no thirds, and no 'all but one'")
    short = parser.parse_args().short
    config = FeatureConfig(kinds=tuple(KINDS))
    X, n_frames, clips, _ = extract_corpus(drop_flagged(scan_corpus(data_dir())), config=config)
    corpus, record = clips["corpus"].iloc[0], Record("features.csv", KEY)
    widths = [FeatureConfig(kinds=(kind,)).n_features for kind in KINDS]
    kind_of = np.repeat(list(KINDS), widths)
    known = clips["speaker"].notna().all()
    groups = {"clip": np.arange(len(clips)), "speaker": clips["speaker"].to_numpy()}
    made, table = None, None
    for summary, normalisation, features, target, protocol in jobs(short, known):
        key = (corpus, target, features, summary, normalisation, protocol)
        if key in record:
            continue
        if made != (summary, normalisation):  # the corpus is normalised by the pipeline's scaler
            frames = normalize(X, n_frames, groups[normalisation]) if normalisation in groups else X
            parts = {"whole": 1, "thirds": 3}[summary]
            made, table = (summary, normalisation), mean_and_deviation(frames, n_frames, parts)
        kept = np.isin(kind_of, list(feature_sets(short=False)[features]))
        columns = table[:, np.tile(kept, table.shape[1] // len(kept))]
        asked = clips.assign(emotion=clips[target])
        predictions = evaluate_protocols(
            asked,
            {features: classical_model(svm(), columns, asked["emotion"].to_numpy(str))},
            protocols=[protocol],
            folds=RAVDESS_FOLDS if "actor" in clips else None,
        )
        row = score_protocols(predictions).drop(columns=["model", "protocol"])
        record.append(key, row.assign(clips=len(clips), columns=columns.shape[1]))
        print(*key, f"{row['accuracy'].iloc[0]:.3f}", flush=True)


if __name__ == "__main__":
    main()
