"""The network of notebook 09 on voices it has not heard, and what each of its parts is worth.

    SER_DATA_DIR=path/to/tess python benchmarks/generalize.py
    SER_DATA_DIR=path/to/tess python benchmarks/generalize.py --with path/to/emodb path/to/ravdess
    SER_DATA_DIR=path/to/emodb python benchmarks/generalize.py --recipes "no warps" --seeds 1

Each finished fit is appended to ``generalize.csv`` beside this file with the date, the commit and
the answers themselves, a letter for each tested clip (a is the first of its corpus's emotions), and
is not made again. ``generalize_scores.csv`` gets the scores with intervals over speakers, and
``generalize_paired.csv`` each recipe against the final one, on the same folds and seeds.

The recipe was chosen on the folds of EmoDB and RAVDESS only. The rows with TESS as the tested
corpus and "unseen speaker" as protocol are all the looks that were taken at its two voices.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from record import HERE, Record, from_letters, to_letters

from ser_utils import (
    data_dir,
    drop_flagged,
    extract_corpus,
    import_keras,
    scan_corpus,
)
from ser_utils.augmentation import (
    crop_times,
    mask_spectra,
    mix_clips,
    new_voices,
    other_views,
    warp_voices,
)
from ser_utils.evaluation import (
    MIN_SPEAKERS,
    RAVDESS_FOLDS,
    network_model,
    protocol_splits,
    score_protocols,
    score_speakers,
    speaker_interval,
)
from ser_utils.features import CRNN_CONFIG
from ser_utils.models import CRNN_STEPS, build_crnn

KEYS = ["corpora", "tested", "recipe", "protocol", "seed", "fold"]


def without_warps(X, Y, rng):
    return mix_clips(crop_times(X, rng), Y, rng)


def without_mixup(X, Y, rng):
    return warp_voices(crop_times(X, rng), rng), Y


def with_masks(X, Y, rng):
    X, Y = new_voices(X, Y, rng)
    return mask_spectra(X, rng), Y


RECIPES = {
    "final": {},
    "no warps": {"augment": without_warps, "view": None},
    "no views of tested clips": {"view": None},
    "no mixup": {"augment": without_mixup},
    "no masks": {"masked": 0.0},
    "masks before normalising": {"masked": 0.0, "augment": with_masks},
    "by clip only": {"views": ("clip",)},
    "by training only": {"views": ("training",)},
    "a third of the steps": {"steps": CRNN_STEPS // 3},
}


def make_model(recipe, X, Y):
    """Build a model for `evaluate_protocols` by a recipe."""
    options = {"steps": CRNN_STEPS, "augment": new_voices, "view": other_views} | RECIPES[recipe]
    fitting = {name: options.pop(name) for name in ("augment", "view")}
    fitting["steps"] = options["steps"]
    build = partial(build_crnn, X.shape[2], Y.shape[1], **options)
    return network_model(lambda train: build(), X, Y, batch_size=32, **fitting)


def only(clips, corpus):
    """Clips of one of the corpora, its speakers named as if it were alone."""
    part = clips[clips["corpus"] == corpus].reset_index(drop=True)
    return part.assign(speaker=part["speaker"].str.split("/").str[-1])


def fit_all(clips, X, tested, recipe, protocol, seed, record):
    """Fit each fold that is not in the record: trained on the rest of its corpus and all others."""
    emotions, codes = np.unique(clips["emotion"], return_inverse=True)
    model = make_model(recipe, X, import_keras().utils.to_categorical(codes))
    own = np.flatnonzero(clips["corpus"] == tested)
    others = np.flatnonzero(clips["corpus"] != tested)
    possible = np.isin(emotions, clips["emotion"].iloc[own])  # what the tested corpus has names for
    part = only(clips, tested)
    folds = RAVDESS_FOLDS if tested == "ravdess" else None
    corpora = "+".join([tested, *sorted(set(clips["corpus"]) - {tested})])
    for fold, train, test in protocol_splits(part, protocol, seed=seed, folds=folds):
        key = (corpora, tested, recipe, protocol, seed, fold)
        if key in record:
            continue
        start = time.perf_counter()
        probabilities = model(np.r_[own[train], others], own[test], None, seed)[:, possible]
        seconds, answers = time.perf_counter() - start, probabilities.argmax(axis=1)
        truth = np.unique(part["emotion"], return_inverse=True)[1][test]
        right = pd.Series(answers == truth)
        row = {
            "clips": len(test),
            "accuracy": f"{right.mean():.4f}",
            "uar": f"{right.groupby(truth).mean().mean():.4f}",
            "seconds": f"{seconds:.0f}",
        }
        record.append(key, [row | {"answers": to_letters(answers)}])
        print(*key, *row.values(), flush=True)


def vote(answers):
    """Let the networks of all seeds vote on each clip; of a tie, the first in the alphabet counts.

    Folds may differ from seed to seed: none of the networks has heard the clip's speaker.
    """
    clips = answers[answers["protocol"] == "unseen speaker"].groupby(["model", "clip"])
    voted = clips.first().assign(prediction=clips["prediction"].agg(lambda given: given.mode()[0]))
    voted = voted[clips["seed"].nunique() >= 3].reset_index()
    return voted.assign(model=voted["model"] + ", voting")


def compare_recipes(answers, tested):
    """Compare each recipe with the final one on unseen speakers, seed by seed and fold by fold."""
    answers = answers[answers["protocol"] == "unseen speaker"]
    final, rows = answers[answers["model"] == f"{tested}|final"], []
    for model, other in answers.groupby("model"):
        corpora, recipe = model.split("|")
        if corpora != tested or recipe == "final":
            continue
        pair = pd.concat([other, final[final["seed"].isin(other["seed"])]])
        uar = score_speakers(pair).pivot(index="speaker", columns="model", values="uar")
        uar = uar.rename(columns=lambda name: name.split("|")[1])
        voices, means = {"all": uar.index}, {"uar_final": "final", "uar": recipe}
        if len(uar) < MIN_SPEAKERS:  # one number for each
            voices |= {speaker: [speaker] for speaker in uar.index}
        for voice, speakers in voices.items():
            change = (uar[recipe] - uar["final"])[speakers].dropna()
            row = {"tested": tested, "voice": voice, "recipe": recipe}
            row |= {"seeds": other["seed"].nunique(), "n_speakers": len(change)}
            row |= {name: uar[column][change.index].mean() for name, column in means.items()}
            row |= {"difference": change.mean(), "behind": (change < 0).sum()}
            row["low"], row["high"] = speaker_interval(change)
            rows.append(row)
    return pd.DataFrame(rows)


def save(table, name, tested):
    """Put the rows of a corpus into a CSV beside this file, in place of its older ones."""
    file = HERE / name
    if table.empty:
        return
    if file.exists():
        older = pd.read_csv(file)
        table = pd.concat([older[older["tested"] != tested], table])
    table.round(4).to_csv(file, index=False)


def score(clips, tested, record):
    """Score what the record has of this corpus, with intervals."""
    part = only(clips, tested)
    names = np.unique(part["emotion"])
    fits = pd.read_csv(record.path, dtype={"fold": str})
    tables = []
    for row in fits[fits["tested"] == tested].itertuples():
        folds = RAVDESS_FOLDS if tested == "ravdess" else None
        splits = protocol_splits(part, row.protocol, seed=row.seed, folds=folds)
        test = {fold: test for fold, _, test in splits}[row.fold]
        table = part.iloc[test][["speaker", "text"]].assign(clip=test, truth=part["emotion"])
        table["prediction"] = names[from_letters(row.answers)]
        fit = {"protocol": row.protocol, "fold": row.fold, "seed": row.seed}
        tables.append(table.assign(model=f"{row.corpora}|{row.recipe}", **fit))
    answers = pd.concat(tables)
    fits = ["model", "protocol"]
    answers["seeds"] = answers.groupby(fits)["seed"].transform("nunique")
    save(compare_recipes(answers, tested), "generalize_paired.csv", tested)
    answers = pd.concat([answers, vote(answers)])
    scores = score_protocols(answers).join(answers.groupby(fits)["seeds"].first(), on=fits)
    both = scores.pop("model").str.split("|", expand=True)
    scores.insert(0, "corpora", both[0])
    scores.insert(1, "tested", tested)
    scores.insert(2, "recipe", both[1])
    save(scores, "generalize_scores.csv", tested)
    print(scores.round(3).to_string(index=False))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--with", nargs="*", default=[], dest="others", help="more to train on")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--recipes", nargs="*", default=["final"], choices=RECIPES)
    parser.add_argument("--protocols", nargs="*", default=["unseen speaker", "random"])
    parser.add_argument("--show", action="store_true", help="only score what is recorded")
    arguments = parser.parse_args()
    record, tested = Record("generalize.csv", KEYS), scan_corpus(data_dir())["corpus"].iloc[0]
    roots = [data_dir(), *map(Path, arguments.others)] if arguments.others else data_dir()
    # One vocabulary for all: TESS's pleasant surprise is what RAVDESS calls surprise.
    corpus = drop_flagged(scan_corpus(roots)).replace({"emotion": {"ps": "surprise"}})
    X, _, clips, _ = extract_corpus(corpus, config=CRNN_CONFIG)
    for seed in range(
        0 if arguments.show else arguments.seeds
    ):  # seed by seed, so that a run broken off is of use
        for recipe in arguments.recipes:
            for protocol in arguments.protocols:
                fit_all(clips, X, tested, recipe, protocol, seed, record)
    score(clips, tested, record)


if __name__ == "__main__":
    main()
