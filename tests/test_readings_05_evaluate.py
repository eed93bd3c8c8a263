"""What notebook 05 says about the demo corpus and the records is true: see `lessons.reading`."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lessons import check_every_sentence, reading, run

from ser_utils.evaluation import speaker_interval

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
NOTEBOOK = "05_evaluate"


@pytest.fixture(scope="module")
def lesson(demo_corpus):
    return run(NOTEBOOK, skip=("relplot", "listen_row({"))


def speakers_of(lesson, corpus):
    """UAR of each speaker on whom no model was trained: a column for each model."""
    table = lesson.record[lesson.record["corpus"] == corpus]
    table = table[table["protocol"] == "unseen speaker"]
    return table.pivot(index="speaker", columns="model", values="uar")


def test_every_sentence_about_the_demo_corpus_is_tested():
    check_every_sentence(NOTEBOOK)


@reading(
    NOTEBOOK,
    "every dot of the two trained models lies above 0.85 for random clips and for unseen words.",
    "For unseen speakers, every dot lies below 0.75.",
    "So a new word is no problem, but a new voice is.",
)
def test_the_four_scores(lesson):
    trained = lesson.each[lesson.each["model"] != "most frequent"].set_index("protocol")["uar"]
    assert trained[["random", "unseen words"]].min() > 0.85
    assert trained["unseen speaker"].max() < 0.75


@reading(
    NOTEBOOK,
    "the interval over clips is about 8 points wide, and the accuracies of the four voices differ "
    "by more than that.",
)
def test_the_interval_over_clips(lesson):
    width = np.ptp(np.quantile(lesson.drawn, [0.025, 0.975]))
    assert 0.07 < width < 0.09
    assert len(lesson.ours) == 4
    assert np.ptp(lesson.ours["accuracy"]) > 0.1


@reading(
    NOTEBOOK,
    "The first two intervals overlap, but the interval of the paired difference lies above 0.",
    "eGeMAPS + SVM is better for most actors, though not for all.",
    "on EmoDB, the paired difference is -1 point (-6 to 6).",
)
def test_the_paired_comparison(lesson):
    first, second, paired = (
        lesson.evaluation.speaker_interval(values)
        for values in (lesson.uar["eGeMAPS + SVM"], lesson.uar["SVM"], lesson.d)
    )
    assert first[0] < second[1]
    assert paired[0] > 0
    assert len(lesson.d) / 2 < (lesson.d > 0).sum() < len(lesson.d)
    emodb = speakers_of(lesson, "emodb")
    d = 100 * (emodb["eGeMAPS + SVM"] - emodb["SVM"])
    assert np.round([d.mean(), *speaker_interval(d)]).tolist() == [-1, -6, 6]


@reading(
    NOTEBOOK,
    "all trained models are close to 1. When the voice is new, all of them lose 40 points or more.",
    "eGeMAPS + SVM, the better one on RAVDESS, is at guessing for a new voice of TESS.",
)
def test_tess(lesson):
    scores = lesson.tess.groupby(["model", "protocol"])["uar"].mean().unstack()
    scores = scores.drop(index="most frequent")
    assert scores["random"].min() > 0.98
    assert (scores["random"] - scores["unseen speaker"]).min() > 0.4
    assert abs(scores.loc["eGeMAPS + SVM", "unseen speaker"] - 1 / 7) < 0.02


@reading(
    NOTEBOOK,
    "On both corpora, two simple SVMs have a higher UAR than both LSTMs of notebook 4. Paired, "
    "this is clear on RAVDESS. On EmoDB, the interval of SVM minus sequence LSTM just contains 0.",
    "there it has 74 (OAF) and 66 (YAF)",
    "`build_crnn` is the best row that is not transductive",
)
def test_the_table_of_real_speech(lesson):
    uar = lesson.scores["uar"]
    lstms, svms = uar.loc[["reference LSTM", "sequence LSTM"]], uar.loc[["SVM", "eGeMAPS + SVM"]]
    assert (svms.min() > lstms.max()).all()
    assert set(uar.drop(index="eGeMAPS + SVM, transductive").idxmax()) == {"build_crnn"}
    for corpus, clear in (("ravdess", True), ("emodb", False)):
        each = speakers_of(lesson, corpus)
        assert (speaker_interval(each["SVM"] - each["sequence LSTM"])[0] > 0) == clear
    fits = pd.read_csv(BENCHMARKS / "generalize.csv", dtype={"fold": str})
    fits = fits.query("corpora == 'tess' and recipe == 'final' and protocol == 'unseen speaker'")
    assert (100 * fits.groupby("fold")["uar"].mean()).round().to_dict() == {"OAF": 74, "YAF": 66}


@reading(
    NOTEBOOK,
    "the 80 numbers name the speaker of a new sentence in more than 80% of the clips.",
    "The wrong split in their order reports at least ten points less for the speaker, and at least "
    "ten points more than the truth for the emotion.",
)
def test_the_probes(lesson):
    right, trap = (
        {asked: probe[name] for asked, probe in lesson.probes.items()}
        for name in ("grouped, shuffled", "trap: in their order")
    )
    assert right["speaker"] > 0.8
    assert right["speaker"] - trap["speaker"] > 0.1
    assert trap["emotion"] - right["emotion"] > 0.1


@reading(
    NOTEBOOK,
    "its UAR is 5 points higher on RAVDESS (95% interval over speakers: 2 to 7) and 14 points "
    "higher on EmoDB (8 to 19). With as many clips as four people have, it is still 5 points on "
    "RAVDESS (3 to 7).",
    "Its record (one seed) shows no clear gap: 1 point on RAVDESS (-5 to 8) and 5 points on EmoDB "
    "(-3 to 13).",
    "the UAR of the network rises from 34 to 54.",
)
def test_the_learning_curves():
    record = pd.read_csv(BENCHMARKS / "learning_curve.csv")
    keys = ["corpus", "model", "n_speakers"]
    uar = record.groupby([*keys, "speaker", "along"])["uar"].mean().unstack()
    gap = 100 * (uar["clips"] - uar["speakers"])
    expected = {("ravdess", "SVM"): (5, 2, 7), ("emodb", "SVM"): (14, 8, 19)}
    expected |= {("ravdess", "build_crnn"): (1, -5, 8), ("emodb", "build_crnn"): (5, -3, 13)}
    for key, (mean, low, high) in expected.items():
        two = gap[(*key, 2)]
        limits = speaker_interval(two)
        np.testing.assert_allclose([two.mean(), *limits], [mean, low, high], atol=0.51)
    means = gap.groupby(keys).mean()
    four = gap["ravdess", "SVM", 4]
    limits = np.round([four.mean(), *speaker_interval(four)])
    assert limits.tolist() == [5, 3, 7]
    assert (means.groupby(["corpus", "model"]).tail(1) == 0).all()
    assert record.query("model == 'build_crnn'")["seed"].nunique() == 1
    network = 100 * uar["speakers"]["ravdess", "build_crnn"].groupby("n_speakers").mean()
    assert network[[2, 10]].round().tolist() == [34, 54]


@reading(
    NOTEBOOK,
    "the model is well calibrated on known voices and far too sure on new ones.",
    "Of the clips of a new voice that it names with 90% confidence or more, it gets about two in "
    "three right.",
)
def test_the_calibration(lesson):
    errors = {}
    for protocol in ("random", "unseen speaker"):
        part = lesson.logistic[lesson.logistic["protocol"] == protocol]
        sure, right = part[lesson.probability].max(axis=1), part["truth"] == part["prediction"]
        errors[protocol] = lesson.evaluation.calibration_error(sure, right)[0]
    assert errors["random"] < 0.1
    assert errors["unseen speaker"] > 0.2
    assert 0.6 < right[sure >= 0.9].mean() < 0.73  # of the last one, unseen speaker


@reading(
    NOTEBOOK,
    "known voices ask for a $T$ below 1, which makes the model surer and the error larger for "
    "every stranger.",
    "New voices ask for a $T$ above 3, which helps with the hardest stranger and makes the error "
    "larger for at least two others.",
    "The models behind this $T$ had heard only two voices, so they were even less reliable than "
    "the final model.",
)
def test_the_temperatures(lesson):
    table = pd.DataFrame(lesson.rows).T
    assert (table["T, known"] < 1).all()
    assert (table["ECE, known"] > table["ECE"]).all()
    assert (table["T, new"] > 3).all()
    worse = table["ECE, new"] > table["ECE"]
    assert not worse[table["ECE"].idxmax()]
    assert worse.sum() >= 2
    assert len(table) - 2 == 2  # without the stranger, and one more to fit T


@reading(NOTEBOOK, "has an ECE of 0.04 on actors that it had not heard")
def test_the_calibration_of_acted6():
    record = pd.read_csv(BENCHMARKS / "acted6.csv")
    heard = record.query("tested == 'ravdess' and condition == 'as recorded' and by == 'all'")
    assert round(heard["calibration_error"].item(), 2) == 0.04


@reading(
    NOTEBOOK,
    "The sequence LSTM and the logistic regression score 7 and 6 points higher for women. For the "
    "other models, the gap is at most one point.",
)
def test_the_gap_between_women_and_men(lesson):
    gap = lesson.groups.mean().T
    gap = (100 * (gap["women"] - gap["men"])).abs()
    wide = ["sequence LSTM", "logistic regression"]
    assert gap[wide].round().tolist() == [7, 6]
    assert gap.drop(wide).max() < 1.05
