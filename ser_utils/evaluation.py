"""What a score is worth: protocols that keep voices and words apart, intervals, and calibration.

Notebook: 05_evaluate.
"""

import tomllib
from functools import lru_cache
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pooch
import scipy
from sklearn import model_selection
from sklearn.base import clone

from .dataset import REGISTRIES, relative_paths
from .models import clip_batches, set_seed
from .parallel import progress_bar

PROTOCOLS = {  # and the column whose values must not be on both sides
    "ordered tail": None,
    "random": None,
    "unseen words": "text",
    "unseen speaker": "speaker",
}
GROUPS = PROTOCOLS | {"unseen corpus": "corpus"}  # the fifth needs several corpora
FIT = ["model", "protocol", "fold", "seed"]
MIN_SPEAKERS = 5  # fewer support no interval
RAVDESS_FOLDS = tomllib.loads((REGISTRIES / "folds.toml").read_text(encoding="utf-8"))["ravdess"]


def classical_model(search, X, labels):
    """Make a model for `evaluate_protocols` from scikit-learn.

    Parameters
    ----------
    search : sklearn.model_selection.GridSearchCV
        Estimator and the settings to choose from; its ``cv`` splits the *training* part by group.
    X : np.ndarray [shape=(n_clips, n_features)]
    labels : np.ndarray of str [shape=(n_clips,)]

    Returns
    -------
    callable
        ``model(train, test, groups, seed)`` gives probabilities, or for estimators without them
        a softmax of the decision function.
    """

    emotions = np.unique(labels)

    def fit_predict(train, test, groups, seed):
        fitted = clone(search).fit(X[train], labels[train], groups=groups)
        if hasattr(fitted, "predict_proba"):
            scores = fitted.predict_proba(X[test])
        else:
            scores = fitted.decision_function(X[test])
            if scores.ndim == 1:  # of two classes scikit-learn gives one column
                scores = np.stack([-scores, scores], axis=1)
            scores = scipy.special.softmax(scores, axis=1)
        probabilities = np.zeros((len(test), len(emotions)))
        probabilities[:, np.searchsorted(emotions, fitted.classes_)] = scores
        return probabilities

    return fit_predict


def network_model(
    build, X, Y, *, epochs=50, batch_size=64, steps=None, augment=None, view=None, n_views=8
):
    """Make a model for `evaluate_protocols` from Keras; its last epoch counts.

    Parameters
    ----------
    build : callable
        ``build(train)`` gives a compiled model; whatever it adapts, it adapts on these rows.
    X : np.ndarray [shape=(n_clips, ...)]
        Features, memory-mapped or not.
    Y : np.ndarray [shape=(n_clips, n_classes)]
        One-hot labels, classes in alphabetical order.
    epochs, batch_size : int
        Passes over the training part, and clips a step.
    steps : int, optional
        Batches to train on, instead of epochs: as many for a small corpus as for a large one.
    augment : callable, optional
        Changes the training part, as in `ser_utils.clip_batches`.
    view : callable, optional
        Changes a tested clip, likewise; the answer is then the mean of the clip's own and of
        those to ``n_views`` changes of it. Each clip is asked about on its own.
    n_views : int
        How many.

    Returns
    -------
    callable
        ``model(train, test, groups, seed)`` gives probabilities.
    """

    def fit_predict(train, test, groups, seed):
        set_seed(seed)
        model = build(train)
        # One long epoch, since to begin one takes as long as several batches.
        rows = np.resize(train, steps * batch_size) if steps else train
        batches = clip_batches(X, Y, rows, batch_size=batch_size, seed=seed, augment=augment)
        model.fit(batches, epochs=1 if steps else epochs, shuffle=False, verbose=0)
        answers = [model.predict(clip_batches(X, Y, test), verbose=0)]
        if view:
            changed = clip_batches(X, Y, test, augment=view)
            for changed.passes in range(n_views):  # each pass draws other changes
                answers.append(model.predict(changed, verbose=0))
        return np.mean(answers, axis=0)

    return fit_predict


def _why_not(clips, protocol):
    """Say why a corpus cannot support a protocol; None if it can."""
    group = GROUPS[protocol]
    if group is None:
        return None
    if clips[group].isna().any():
        return f"the {group} of {clips[group].isna().sum()} clips is not known"
    found, least = clips[group].nunique(), {"text": 5, "speaker": 2, "corpus": 2}[group]
    return f"{found} different {group}s are too few, it needs {least}" if found < least else None


def protocol_splits(clips, protocol, *, seed=0, folds=None, n_folds=5):
    """Split a corpus into training and test as a protocol has it, once or in folds.

    Parameters
    ----------
    clips : pd.DataFrame
        From `ser_utils.dataset.scan_corpus`.
    protocol : {"ordered tail", "random", "unseen words", "unseen speaker", "unseen corpus"}
        The last 20 % of the clips in their order; 20 % at random with the same share of each
        emotion; 20 % of the texts; each speaker in turn, or folds of them; each corpus in turn,
        with the emotions that all of them have.
    seed : int
        Draws what is drawn at random.
    folds : dict of str to list of str, optional
        Speakers of each test fold, such as `RAVDESS_FOLDS`; speakers of a fold that are not in
        the corpus are passed over.
    n_folds : int
        Up to so many speakers are left out one by one, more are put into so many folds.

    Yields
    ------
    fold : str
        Its name.
    train, test : np.ndarray of int
        Rows of ``clips``.

    Raises
    ------
    ValueError
        If the protocol is not known, the corpus cannot support it, ``folds`` lacks a speaker, or
        a group or a copy of a clip is on both sides.
    """
    if protocol not in GROUPS:
        raise ValueError(f"protocol={protocol!r} is not known; use one of {', '.join(GROUPS)}.")
    if why := _why_not(clips, protocol):
        raise ValueError(f"The protocol {protocol!r} needs another corpus: {why}.")
    groups = clips[GROUPS[protocol]] if GROUPS[protocol] else None
    names, rows = None, np.arange(len(clips))
    draw = {"test_size": 0.2, "random_state": seed}
    if protocol == "ordered tail":
        splits = [np.split(rows, [len(rows) - int(0.2 * len(rows))])]
    elif protocol == "random":
        splits = model_selection.StratifiedShuffleSplit(1, **draw).split(clips, clips["emotion"])
    elif protocol == "unseen words":
        splits = model_selection.GroupShuffleSplit(1, **draw).split(clips, groups=groups)
    elif protocol == "unseen corpus":
        names = groups
        shared = clips.groupby("emotion")["corpus"].transform("nunique") == groups.nunique()
        rows = np.flatnonzero(shared)
        splits = model_selection.LeaveOneGroupOut().split(rows, groups=groups.iloc[rows])
    elif folds or groups.nunique() <= n_folds:
        names = _fold_names(groups, folds)
        splits = model_selection.LeaveOneGroupOut().split(clips, groups=names)
    else:
        splitter = model_selection.GroupKFold(n_folds, shuffle=True, random_state=seed)
        splits = splitter.split(clips, groups=groups)
    for i, (train, test) in enumerate(splits):
        train, test = rows[train], rows[test]
        _check_apart(clips, groups, train, test)
        yield str(i) if names is None else names.iloc[test[0]], train, test


def few_clips_splits(clips, k, *, seed=0, n_draws=20):
    """Draw a few clips of one voice to learn from; what is left is tested.

    Parameters
    ----------
    clips : pd.DataFrame
        All clips of one speaker.
    k : int
        Clips of each emotion to learn from, 1 or more.
    seed : int
        Draws them.
    n_draws : int
        How often.

    Yields
    ------
    support, query : np.ndarray of int
        Rows of ``clips``: to learn from, and to test.
    apart : bool
        Whether no text is in both. Texts are added in random order until there are k clips of each
        emotion; if none is left to test then, texts are shared.

    Raises
    ------
    ValueError
        If an emotion has no clip left to test.
    """
    rng, cells = np.random.default_rng(seed), clips.groupby("emotion").indices
    emotion, cell = min(cells.items(), key=lambda item: len(item[1]))
    if len(cell) <= k:
        lacking = f"{len(cell)} clips of {emotion} are too few to learn from {k} and test others"
        raise ValueError(f"{lacking}; use a smaller k or another speaker.")
    texts = clips["text"].fillna("").to_numpy()
    for _ in range(n_draws):
        order = rng.permutation(np.unique(texts))
        for n in range(1, len(order) + 1):  # the fewest texts that have k clips of each emotion
            chosen = np.isin(texts, order[:n])
            if all(chosen[rows].sum() >= k for rows in cells.values()):
                break
        apart = not any(chosen[rows].all() for rows in cells.values())
        chosen |= not apart
        drawn = [rng.choice(rows[chosen[rows]], k, replace=False) for rows in cells.values()]
        support = np.concatenate(drawn)
        query = np.flatnonzero(~chosen) if apart else np.setdiff1d(np.arange(len(clips)), support)
        yield support, query, apart


def _fold_names(speakers, folds):
    """Name the fold that each clip is tested in: its speaker, or the fold that has the speaker."""
    if not folds:
        return speakers
    fold_of = {speaker: name for name, members in folds.items() for speaker in members}
    if lacking := sorted(set(speakers) - set(fold_of)):
        raise ValueError(f"folds= lacks the speakers {', '.join(lacking)}; name each of them once.")
    return speakers.map(fold_of)


def _check_apart(clips, groups, train, test):
    """Refuse a split with a group, or the same file under two names, on both sides."""
    if groups is not None and (shared := set(groups.iloc[train]) & set(groups.iloc[test])):
        raise ValueError(f"{groups.name} {min(shared)} is in training and in test.")
    copies = _checksums(tuple(clips["path"]))
    if shared := set(copies[train]) & set(copies[test]):
        path = clips["path"].iloc[test[np.isin(copies[test], list(shared))][0]]
        problem = f"{path} is in test and a copy of it in training"
        raise ValueError(f"{problem}; leave copies out with drop_flagged.")


@lru_cache(1)
def _checksums(paths):
    """Checksums of files, which are read once for all folds."""
    return np.array([pooch.file_hash(path) for path in paths])


def _inner_groups(clips, train, protocol):
    """Groups by which a model may split the training part: as the protocol does, where it can."""
    for column in (GROUPS[protocol], "text"):
        if column and GROUPS[protocol] and clips[column].iloc[train].nunique() >= 3:
            return clips[column].iloc[train].to_numpy()
    return train  # each clip is a group of its own


def evaluate_protocols(
    clips, models, *, protocols=PROTOCOLS, seeds=(0,), folds=None, n_folds=5, file=None, n_jobs=1
):
    """Train and test models under several protocols, and keep every prediction.

    Parameters
    ----------
    clips : pd.DataFrame
        The clips of the features that the models hold, row by row.
    models : dict of str to callable
        ``model(train, test, groups, seed)`` gives probabilities [shape=(n_test, n_classes)] for
        the emotions in alphabetical order; it may split ``train`` by ``groups`` to choose
        anything. `classical_model` and `network_model` make such.
    protocols : iterable of str
        Which of `protocol_splits`'s; one that the corpus cannot support is named and skipped.
    seeds : iterable of int
        For each of them everything is done again.
    folds, n_folds
        As in `protocol_splits`.
    file : str or Path, optional
        CSV file that each finished fold is appended to. What is in it already is not computed
        again and is returned, too: delete it when a model has changed.
    n_jobs : int
        Folds computed at the same time.

    Returns
    -------
    pd.DataFrame
        A row for each tested clip: ``model, protocol, fold, seed, clip, speaker, text, truth,
        prediction`` and the probability of each emotion in ``p_<emotion>``.

    Raises
    ------
    ValueError
        If ``file`` holds folds of another size, or a split is not clean (see `protocol_splits`).

    Notes
    -----
    Notebook: 05_evaluate.
    """
    emotions = np.unique(clips["emotion"])
    labelled = relative_paths(clips).rename(columns={"path": "clip", "emotion": "truth"})
    labelled = labelled[["speaker", "text", "clip", "truth"]]
    done = pd.DataFrame(columns=FIT)
    if file and Path(file).exists():
        done = pd.read_csv(file, dtype={"fold": str, "speaker": str, "text": str})
    jobs = _unfinished(clips, models, protocols, seeds, folds, n_folds, done)
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator")
    results = parallel(joblib.delayed(model)(*split, fit[-1]) for fit, model, split in jobs)
    bar = progress_bar(results, total=len(jobs), desc="fitted", unit="models")
    tables = [done]
    for (fit, _, (_, test, _)), probabilities in zip(jobs, bar, strict=True):
        table = labelled.iloc[test].assign(**dict(zip(FIT, fit, strict=True)))
        table["prediction"] = emotions[np.argmax(probabilities, axis=1)]
        table[[f"p_{emotion}" for emotion in emotions]] = np.round(probabilities, 4)
        tables.append(table[[*FIT, *(name for name in table if name not in FIT)]])
        if file:
            tables[-1].to_csv(file, mode="a", header=not Path(file).exists(), index=False)
    return pd.concat([table for table in tables if len(table)] or [done], ignore_index=True)


def _unfinished(clips, models, protocols, seeds, folds, n_folds, done):
    """List what is to be fitted: names, model, and its split."""
    sizes, jobs = done.groupby(FIT).size().to_dict(), []
    for protocol in protocols:
        if why := _why_not(clips, protocol):
            print(f"{protocol}: skipped, {why}")
            continue
        for seed in seeds:
            splits = protocol_splits(clips, protocol, seed=seed, folds=folds, n_folds=n_folds)
            for fold, train, test in splits:
                split = train, test, _inner_groups(clips, train, protocol)
                for name, model in models.items():
                    fit = (name, protocol, fold, seed)
                    if sizes.get(fit, len(test)) != len(test):
                        found = f"The file of predictions has {sizes[fit]} clips of {fit}"
                        corpus = f"the corpus {len(test)}: it is of another corpus or damaged"
                        raise ValueError(f"{found}, {corpus}; delete it.")
                    if fit not in sizes:
                        jobs.append((fit, model, split))
    return jobs


def speaker_interval(values):
    """95 % bootstrap interval of a mean over speakers.

    Parameters
    ----------
    values : array-like [shape=(n_speakers,)]
        One value for each speaker.

    Returns
    -------
    low, high : float
        NaN for fewer than five speakers: so few cannot show how other speakers vary.

    Notes
    -----
    Percentile bootstrap (Efron, 1979) by SciPy, seeded. Notebook: 05_evaluate.
    """
    if len(values) < MIN_SPEAKERS:
        return np.nan, np.nan
    drawn = scipy.stats.bootstrap((np.asarray(values),), np.mean, method="percentile", rng=0)
    return tuple(map(float, drawn.confidence_interval))


def score_speakers(predictions):
    """Score what `evaluate_protocols` returned for each tested speaker.

    Parameters
    ----------
    predictions : pd.DataFrame
        From `evaluate_protocols`.

    Returns
    -------
    pd.DataFrame
        A row for each model, protocol and speaker: ``accuracy`` and ``uar`` (unweighted average
        recall, over the emotions that the speaker has), means over the seeds. Speakers who are not
        known are called "unknown".

    Notes
    -----
    Notebook: 05_evaluate.
    """
    right = predictions.fillna({"speaker": "unknown"})
    right = right.assign(right=right["truth"] == right["prediction"])
    fits = ["model", "protocol", "speaker", "seed"]
    recalls = right.groupby([*fits, "truth"], sort=False)["right"].mean()
    scores = {"accuracy": right.groupby(fits, sort=False)["right"].mean()}
    scores["uar"] = recalls.groupby(fits, sort=False).mean()
    return pd.DataFrame(scores).groupby(fits[:-1], sort=False).mean().reset_index()


def _recalls(predictions):
    """Right answers and clips of each emotion (columns) of each speaker (rows)."""
    right = predictions["truth"] == predictions["prediction"]
    by = [predictions["speaker"].fillna("unknown"), predictions["truth"]]
    table = right.groupby(by).agg(["sum", "size"]).unstack(fill_value=0)
    return table["sum"].to_numpy(), table["size"].to_numpy()


def _accuracy(right, size):
    return right.sum() / size.sum()


def _uar(right, size):
    there = size.sum(axis=0) > 0  # a drawing may lack an emotion
    return np.mean(right.sum(axis=0)[there] / size.sum(axis=0)[there])


def _limits(score, right, size, n_resamples):
    """95 % bootstrap interval of a score of what `_recalls` returned; NaN for few speakers."""
    if len(right) < MIN_SPEAKERS:
        return np.nan, np.nan
    settings = {"n_resamples": n_resamples, "method": "percentile", "vectorized": False, "rng": 0}
    speakers = (np.arange(len(right)),)
    drawn = scipy.stats.bootstrap(speakers, lambda i: score(right[i], size[i]), **settings)
    return tuple(drawn.confidence_interval)


def score_protocols(predictions, *, n_resamples=1000):
    """Score what `evaluate_protocols` returned, with intervals over speakers.

    Parameters
    ----------
    predictions : pd.DataFrame
        From `evaluate_protocols`.
    n_resamples : int
        Drawings of the bootstrap.

    Returns
    -------
    pd.DataFrame
        A row for each model and protocol: ``accuracy`` and ``uar`` (unweighted average recall)
        over all its folds and seeds, ``_low`` and ``_high`` of their 95 % intervals,
        ``n_speakers`` and ``fits``. With fewer than five speakers the limits are NaN; then
        `score_speakers` gives one number for each.

    Notes
    -----
    The bootstrap draws speakers, since the clips of one speaker are right or wrong together. It
    says nothing about the spread over seeds. Notebook: 05_evaluate.
    """
    rows = []
    for (model, protocol), part in predictions.groupby(["model", "protocol"], sort=False):
        right, size = _recalls(part)
        row = {"model": model, "protocol": protocol}
        for name, score in (("accuracy", _accuracy), ("uar", _uar)):
            limits = _limits(score, right, size, n_resamples)
            row |= {name: score(right, size), f"{name}_low": limits[0], f"{name}_high": limits[1]}
        fits = len(part[FIT].drop_duplicates())
        rows.append(row | {"n_speakers": len(right), "fits": fits})
    return pd.DataFrame(rows)


def compare_models(predictions, first, second):
    """Compare two models on the same clips, speaker by speaker.

    Parameters
    ----------
    predictions : pd.DataFrame
        From `evaluate_protocols`, with the same folds and seeds of both models.
    first, second : str
        Their names.

    Returns
    -------
    pd.DataFrame
        A row for each protocol: ``difference`` of a speaker's UAR, first minus second, mean over
        the speakers; its 95 % interval ``low`` to ``high`` (see `speaker_interval`); ``ahead``, the
        number of speakers on whom the first is better; and ``n_speakers``.

    Raises
    ------
    ValueError
        If a protocol has not the same clips for both.

    Notes
    -----
    Paired: what makes a speaker easy or hard for both models cancels out. Notebook: 05_evaluate.
    """
    rows = []
    for protocol, part in predictions.groupby("protocol", sort=False):
        pair = [part[part["model"] == name] for name in (first, second)]
        keys = [set(zip(half["clip"], half["fold"], half["seed"], strict=True)) for half in pair]
        if keys[0] != keys[1]:
            raise ValueError(f"{first} and {second} were not tested on the same clips: {protocol}.")
        uar = score_speakers(part).pivot(index="speaker", columns="model", values="uar")
        change = uar[first] - uar[second]
        row = {"protocol": protocol, "difference": change.mean()}
        row["low"], row["high"] = speaker_interval(change)
        rows.append(row | {"ahead": (change > 0).sum(), "n_speakers": len(change)})
    return pd.DataFrame(rows)


def calibration_error(confidence, right, *, n_bins=10):
    """Measure how far confidence and accuracy lie apart.

    Parameters
    ----------
    confidence : np.ndarray [shape=(n,)]
        Probability that the model gave to its answer, 0 to 1.
    right : np.ndarray of bool [shape=(n,)]
        Whether the answer was right.
    n_bins : int
        Bins of equal width.

    Returns
    -------
    error : float
        Expected calibration error (Guo et al., 2017): the mean distance of both, 0 to 1.
    bins : pd.DataFrame
        ``confidence``, ``accuracy`` and number of ``clips`` of each bin that is not empty.
    """
    table = pd.DataFrame({"confidence": confidence, "accuracy": right})
    bins = table.groupby(np.minimum(n_bins - 1, (table["confidence"] * n_bins).astype(int)))
    bins = bins.mean().assign(clips=bins.size())
    distance = (bins["confidence"] - bins["accuracy"]).abs()
    return float(np.average(distance, weights=bins["clips"])), bins


def fit_temperature(probabilities, labels):
    """Find the temperature that makes a model as sure as it is right.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_clips, n_classes)]
        Of a validation part: never of the clips that are tested afterwards.
    labels : np.ndarray of int [shape=(n_clips,)]
        The right classes.

    Returns
    -------
    float
        Above 1 if the model is too sure; for `apply_temperature`.

    Notes
    -----
    Guo et al. (2017): least cross-entropy on the validation part. Notebook: 05_evaluate.
    """

    def loss(temperature):
        scaled = apply_temperature(probabilities, temperature)
        return -np.mean(np.log(np.maximum(scaled[np.arange(len(labels)), labels], 1e-12)))

    return scipy.optimize.minimize_scalar(loss, bounds=(0.05, 20), method="bounded").x


def apply_temperature(probabilities, temperature):
    """Make probabilities less (above 1) or more (below 1) sure; the answer stays the same."""
    logits = np.log(np.maximum(probabilities, 1e-12)) / temperature
    return scipy.special.softmax(logits, axis=1)
