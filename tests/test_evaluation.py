"""Splits keep apart what they promise, scores are what scikit-learn says, intervals cover."""

import numpy as np
import pandas as pd
import pytest
from corpora import write_folders, write_tess
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.svm import SVC

from ser_utils import build_lstm, evaluation, scan_corpus
from ser_utils.evaluation import (
    PROTOCOLS,
    RAVDESS_FOLDS,
    apply_temperature,
    calibration_error,
    classical_model,
    compare_models,
    evaluate_protocols,
    few_clips_splits,
    fit_temperature,
    network_model,
    protocol_splits,
    score_protocols,
    score_speakers,
    speaker_interval,
)

WORDS = "abcdefghij"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """2 speakers x 3 emotions x 10 words."""
    return scan_corpus(write_tess(tmp_path_factory.mktemp("tess"), words=WORDS))


@pytest.fixture(scope="module")
def X(clips):  # noqa: N802
    """Features that tell the emotion, and the speaker more loudly."""
    rng = np.random.default_rng(0)
    emotion = np.unique(clips["emotion"], return_inverse=True)[1]
    speaker = (clips["speaker"] == "OAF").to_numpy()
    noise = rng.normal(0, 0.3, (len(clips), 4))
    return noise + np.stack([emotion, -emotion, 3.0 * speaker, emotion + 2 * speaker], axis=1)


def rows_of(splits):
    return [(fold, train.tolist(), test.tolist()) for fold, train, test in splits]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_split_keeps_apart_what_its_name_says(clips, protocol):
    splits = list(protocol_splits(clips, protocol))
    assert [fold for fold, _, _ in splits] == (["OAF", "YAF"] if protocol.endswith("er") else ["0"])
    for fold, train, test in splits:
        assert sorted([*train, *test]) == list(range(len(clips)))
        group = PROTOCOLS[protocol]
        if group:
            assert not set(clips[group].iloc[train]) & set(clips[group].iloc[test])
        if group == "speaker":
            assert set(clips["speaker"].iloc[test]) == {fold}
        else:
            assert len(test) == 12  # a fifth


@pytest.fixture
def corpora(tmp_path):
    """Two corpora; the emotions happy and sad are in both."""
    one = write_tess(tmp_path / "tess", words=WORDS[:5], emotions=("happy", "sad", "fear"))
    two = write_folders(tmp_path / "own", emotions=("angry", "happy", "sad"))
    return scan_corpus([one, two])


def test_an_unseen_corpus_is_tested_on_what_all_corpora_have(corpora):
    splits = list(protocol_splits(corpora, "unseen corpus"))
    assert [fold for fold, _, _ in splits] == sorted(corpora["corpus"].unique())
    for fold, train, test in splits:
        assert set(corpora["corpus"].iloc[test]) == {fold}
        assert fold not in set(corpora["corpus"].iloc[train])
        for part in (train, test):
            assert set(corpora["emotion"].iloc[part]) == {"happy", "sad"}
        assert len(train) + len(test) == corpora["emotion"].isin(["happy", "sad"]).sum()


def test_one_corpus_alone_has_no_unseen_corpus(clips):
    with pytest.raises(ValueError, match="1 different corpuss are too few, it needs 2"):
        next(protocol_splits(clips, "unseen corpus"))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_few_clips_of_each_emotion_are_drawn_and_no_text_of_them_is_tested(clips, k):
    voice = clips[clips["speaker"] == "OAF"].reset_index(drop=True)
    drawn = list(few_clips_splits(voice, k, n_draws=5))
    assert len({tuple(support) for support, _, _ in drawn}) > 2
    for support, query, apart in drawn:
        assert voice["emotion"].iloc[support].value_counts().tolist() == [k] * 3
        assert set(voice["emotion"].iloc[query]) == set(voice["emotion"])
        assert not set(voice["text"].iloc[support]) & set(voice["text"].iloc[query])
        assert apart


def test_what_is_left_of_a_text_that_was_learned_is_not_tested(clips):
    voice = clips[clips["speaker"] == "OAF"].reset_index(drop=True)
    voice["text"] = np.where(voice["text"] < "f", "first half", "second half")
    for support, query, apart in few_clips_splits(voice, 2, n_draws=5):
        assert apart
        assert set(voice["text"].iloc[query]).isdisjoint(voice["text"].iloc[support])
        assert (len(support), len(query)) == (6, 15)


def test_where_texts_are_too_few_they_are_shared_and_that_is_said(clips):
    voice = clips[clips["speaker"] == "OAF"].reset_index(drop=True)
    for support, query, apart in few_clips_splits(voice.assign(text="one"), 2, n_draws=3):
        assert not apart
        assert sorted([*support, *query]) == list(range(len(voice)))
    for _, _, apart in few_clips_splits(voice.assign(text=None), 2, n_draws=3):
        assert not apart


def test_the_seed_decides_which_clips_are_drawn(clips):
    voice = clips[clips["speaker"] == "OAF"].reset_index(drop=True)
    first, again, other = (next(few_clips_splits(voice, 2, seed=s))[0].tolist() for s in (0, 0, 1))
    assert first == again != other


def test_a_voice_with_too_few_clips_is_refused_in_a_sentence(clips):
    with pytest.raises(ValueError, match=r"10 clips of .* are too few to learn from 10 and test"):
        next(few_clips_splits(clips[clips["speaker"] == "OAF"].reset_index(drop=True), 10))


def test_the_tail_is_the_end_and_the_random_part_is_stratified(clips):
    ((_, _, tail),) = protocol_splits(clips, "ordered tail")
    assert tail.tolist() == list(range(48, 60))
    ((_, _, test),) = protocol_splits(clips, "random")
    assert clips["emotion"].iloc[test].value_counts().tolist() == [4, 4, 4]


@pytest.mark.parametrize("protocol", ["random", "unseen words"])
def test_another_seed_is_another_split_and_the_same_seed_the_same(clips, protocol):
    first, again, other = (rows_of(protocol_splits(clips, protocol, seed=s)) for s in (0, 0, 1))
    assert first == again
    assert first != other


def many_speakers(n, clips):
    return pd.concat([clips] * 2, ignore_index=True).assign(
        speaker=[f"{i % n + 1:02d}" for i in range(2 * len(clips))]
    )


@pytest.fixture
def without_copies(monkeypatch):
    monkeypatch.setattr(evaluation, "_checksums", lambda paths: np.arange(len(paths)))


def test_many_speakers_are_put_into_folds(clips, without_copies):
    many = many_speakers(12, clips)
    splits = list(protocol_splits(many, "unseen speaker", n_folds=4))
    assert [many["speaker"].iloc[test].nunique() for _, _, test in splits] == [3, 3, 3, 3]


def test_folds_can_be_given_by_name(clips, without_copies):
    many = many_speakers(20, clips)
    many = many[many["speaker"].isin([*RAVDESS_FOLDS["0"], *RAVDESS_FOLDS["2"]])]
    splits = list(protocol_splits(many, "unseen speaker", folds=RAVDESS_FOLDS))
    assert [fold for fold, _, _ in splits] == ["0", "2"]
    assert set(many["speaker"].iloc[splits[0][2]]) == set(RAVDESS_FOLDS["0"])
    with pytest.raises(ValueError, match="lacks the speakers 02"):
        list(protocol_splits(many, "unseen speaker", folds={"2": RAVDESS_FOLDS["2"]}))


def test_a_copy_on_both_sides_is_refused(clips):
    doubled = pd.concat([clips, clips], ignore_index=True)
    with pytest.raises(ValueError, match="a copy of it in training; leave copies out"):
        list(protocol_splits(doubled, "random"))


def test_a_group_on_both_sides_is_refused(clips, monkeypatch):
    rows = np.arange(len(clips))
    splitter = evaluation.model_selection.LeaveOneGroupOut
    monkeypatch.setattr(splitter, "split", lambda *args, **kwargs: [(rows[:40], rows[40:])])
    with pytest.raises(ValueError, match="speaker YAF is in training and in test"):
        list(protocol_splits(clips, "unseen speaker"))


@pytest.mark.parametrize(
    ("protocol", "says"),
    [
        ("by chance", "'by chance' is not known; use one of ordered tail"),
        ("unseen speaker", "the speaker of 4 clips is not known"),
    ],
)
def test_a_protocol_that_cannot_be_is_named(tmp_path, protocol, says):
    with pytest.raises(ValueError, match=says):
        list(
            protocol_splits(
                scan_corpus(write_folders(tmp_path, emotions=["sad", "fear"])), protocol
            )
        )


def logistic(X, clips):
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=GroupKFold(3))
    return classical_model(search, X, clips["emotion"].to_numpy(str))


def test_what_a_corpus_cannot_support_is_said_and_skipped(tmp_path, capsys):
    clips = scan_corpus(write_folders(tmp_path, emotions=["sad", "fear"], clips=10))
    X = np.random.default_rng(0).normal(size=(len(clips), 3))
    for i, path in enumerate(clips["path"]):  # no two alike
        with open(path, "ab") as file:
            file.write(bytes([i]))
    predictions = evaluate_protocols(clips, {"logistic": logistic(X, clips)})
    assert set(predictions["protocol"]) == {"ordered tail", "random"}
    assert "unseen words: skipped, the text of 20 clips is not known" in capsys.readouterr().out


def test_every_tested_clip_is_in_the_table_with_its_probabilities(clips, X):
    table = evaluate_protocols(clips, {"logistic": logistic(X, clips)}, seeds=(0, 1))
    assert table.groupby(["protocol", "seed"]).size().tolist() == [12] * 4 + [60] * 2 + [12] * 2
    probabilities = table[["p_angry", "p_ps", "p_sad"]]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-3)
    assert (probabilities.idxmax(axis=1).str[2:] == table["prediction"]).all()
    truth = clips.set_index(clips["path"].map(lambda path: path.split("/")[-1]))["emotion"]
    assert (table["clip"].map(lambda clip: truth[clip.split("/")[-1]]) == table["truth"]).all()


def test_a_new_voice_is_harder_where_the_voice_is_louder_than_the_emotion(clips, X):
    table = evaluate_protocols(clips, {"logistic": logistic(X[:, 2:], clips)})
    accuracy = score_protocols(table).set_index("protocol")["accuracy"]
    assert accuracy["random"] > accuracy["unseen speaker"] + 0.2


def test_models_choose_by_groups_of_the_training_part(clips):
    seen = []

    def model(train, test, groups, seed):
        seen.append((train, groups))
        return np.full((len(test), 3), 1 / 3)

    evaluate_protocols(clips, {"m": model}, protocols=["unseen words", "unseen speaker", "random"])
    (train, words), *folds, (all_train, alone) = seen
    assert words.tolist() == clips["text"].iloc[train].tolist()
    for train, groups in folds:  # one speaker is left: by word
        assert groups.tolist() == clips["text"].iloc[train].tolist()
    assert len(set(alone)) == len(all_train)


def test_finished_folds_are_not_computed_again(clips, X, tmp_path):
    calls, file = [], tmp_path / "record.csv"
    fit = logistic(X, clips)

    def model(train, test, groups, seed):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(seed)
        return fit(train, test, groups, seed)

    settings = {"protocols": ["random", "unseen speaker"], "seeds": (0, 1), "file": file}
    with pytest.raises(KeyboardInterrupt):
        evaluate_protocols(clips, {"m": model}, **settings)
    resumed = evaluate_protocols(clips, {"m": fit}, **settings)
    assert len(pd.read_csv(file)) == len(resumed) == 2 * 12 + 2 * 60
    again = evaluate_protocols(clips, {"m": fit}, **settings | {"file": None})
    pd.testing.assert_frame_equal(
        score_protocols(resumed).sort_values("protocol", ignore_index=True),
        score_protocols(again).sort_values("protocol", ignore_index=True),
    )


def test_a_record_of_another_corpus_is_refused(clips, X, tmp_path):
    settings = {"protocols": ["random"], "file": tmp_path / "record.csv"}
    evaluate_protocols(clips, {"m": logistic(X, clips)}, **settings)
    rows = (tmp_path / "record.csv").read_text().splitlines(keepends=True)
    (tmp_path / "record.csv").write_text("".join(rows[:-2]))  # as if killed while writing
    with pytest.raises(ValueError, match=r"has 10 clips .* the corpus 12: .*; delete it"):
        evaluate_protocols(clips, {"m": logistic(X, clips)}, **settings)


def test_speakers_with_numbers_for_names_survive_the_record(clips, X, tmp_path):
    numbered = clips.assign(speaker=clips["speaker"].map({"OAF": "02", "YAF": "10"}))
    settings = {"protocols": ["unseen speaker"], "file": tmp_path / "record.csv"}
    first, second = (
        evaluate_protocols(numbered, {"m": logistic(X, clips)}, **settings) for _ in "ab"
    )
    assert set(second["speaker"]) == set(second["fold"]) == {"02", "10"}
    assert len(first) == len(second) == 60


def test_folds_in_parallel_give_the_same(clips, X):
    models = {"logistic": logistic(X, clips)}
    alone, together = (evaluate_protocols(clips, models, n_jobs=n) for n in (1, 2))
    # Worker processes have other BLAS threads: the last of four digits is not promised.
    pd.testing.assert_frame_equal(alone, together, check_exact=False, rtol=0, atol=2e-4)


def test_an_svm_tells_two_emotions_apart(clips, X):
    two = (clips["emotion"] != "sad").to_numpy()
    search = GridSearchCV(SVC(), {"C": [1]}, cv=GroupKFold(3))
    part = clips[two].reset_index(drop=True)
    model = classical_model(search, X[two], part["emotion"].to_numpy(str))
    table = evaluate_protocols(part, {"svm": model}, protocols=["random"])
    assert accuracy_score(table["truth"], table["prediction"]) > 0.8
    chances = table.filter(like="p_")
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-3)
    assert (chances.idxmax(axis=1).str.removeprefix("p_") == table["prediction"]).all()


def test_a_network_repeats_itself(clips, X):
    Y = np.eye(3)[np.unique(clips["emotion"], return_inverse=True)[1]]
    build = lambda train: build_lstm((4, 1), 3, units=4)  # noqa: E731
    models = {"lstm": network_model(build, X[..., None], Y, epochs=2)}
    columns = [f"p_{emotion}" for emotion in np.unique(clips["emotion"])]
    first, second, other = (
        evaluate_protocols(clips, models, protocols=["random"], seeds=[seed])[columns].to_numpy()
        for seed in (0, 0, 1)
    )
    # Threads may add up in another order, so the last digits are not promised.
    np.testing.assert_allclose(first, second, atol=1e-3)
    assert np.abs(first - other).max() > 0.01


def test_steps_count_batches_and_views_are_averaged(clips, X):
    Y = np.eye(3)[np.unique(clips["emotion"], return_inverse=True)[1]]
    built, seen = [], []

    def build(train):
        built.append(build_lstm((4, 1), 3, units=4))
        return built[-1]

    def view(X, Y, rng):
        seen.append(len(X))
        return X + 5, Y

    train, test = np.arange(0, 60, 2), np.arange(1, 60, 2)
    options = {"steps": 7, "batch_size": 8}
    plain = network_model(build, X[..., None], Y, **options)(train, test, None, 0)
    assert built[-1].optimizer.iterations == 7
    viewed = network_model(build, X[..., None], Y, view=view, n_views=3, **options)
    mean = viewed(train, test, None, 0)
    other = built[-1].predict(X[test][..., None] + 5, verbose=0)
    np.testing.assert_allclose(mean, (plain + 3 * other) / 4, atol=1e-3)
    assert sum(seen) >= 3 * len(test)
    again = network_model(build, X[..., None], Y, view=view, n_views=3, **options)
    np.testing.assert_allclose(again(train, test, None, 0), mean, atol=1e-3)


def made_up(right, protocol="unseen speaker", model="m"):
    """Predictions of 10 speakers x 2 emotions; ``right[speaker]`` of the two are right."""
    rows = []
    for speaker, n in enumerate(right):
        for i, emotion in enumerate(("happy", "sad")):
            answer = emotion if i < n else "fear"
            clip = f"{speaker} {emotion}"
            rows.append([model, protocol, "0", 0, clip, str(speaker), emotion, answer])
    names = ["model", "protocol", "fold", "seed", "clip", "speaker", "truth", "prediction"]
    return pd.DataFrame(rows, columns=names)


def test_scores_are_those_of_scikit_learn(clips, X):
    table = evaluate_protocols(clips, {"logistic": logistic(X, clips)}, protocols=["random"])
    (row,) = score_protocols(table).itertuples()
    assert row.accuracy == pytest.approx(accuracy_score(table["truth"], table["prediction"]))
    uar = balanced_accuracy_score(table["truth"], table["prediction"])
    assert row.uar == pytest.approx(uar)


def test_accuracy_and_uar_part_where_a_rare_emotion_fails():
    table = made_up([1] * 10)  # happy right, sad wrong
    table = table[(table["truth"] == "happy") | (table["speaker"] == "0")]
    (row,) = score_protocols(table).itertuples()
    assert row.accuracy == pytest.approx(10 / 11)
    assert row.uar == pytest.approx(0.5)


@pytest.mark.parametrize("protocol", ["random", "unseen speaker"])
def test_intervals_draw_speakers_and_not_clips(protocol):
    (row,) = score_protocols(made_up([2, 0] * 5, protocol)).itertuples()
    assert row.n_speakers == 10
    # whole speakers are right or wrong: 10 draws, not 20
    width = row.accuracy_high - row.accuracy_low
    assert width == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 10), abs=0.1)


def test_few_speakers_have_a_score_each_and_no_interval():
    table = made_up([2, 1, 1, 0])
    (row,) = score_protocols(table).itertuples()
    assert row.uar == pytest.approx(0.5)
    assert np.isnan([row.uar_low, row.uar_high, row.accuracy_low, row.accuracy_high]).all()
    each = score_speakers(table).set_index("speaker")
    assert each["uar"].to_dict() == {"0": 1, "1": 0.5, "2": 0.5, "3": 0}
    assert np.isnan(speaker_interval(each["uar"])).all()


def test_the_score_of_a_speaker_is_a_mean_over_seeds_and_emotions():
    first, second = made_up([2, 1]), made_up([0, 1]).assign(seed=1)
    table = pd.concat([first, second]).fillna({"speaker": "0"})
    assert score_speakers(table)["uar"].tolist() == [0.5, 0.5]
    unknown = score_speakers(table.assign(speaker=None))
    assert unknown["speaker"].tolist() == ["unknown"]


def test_the_interval_of_a_mean_over_speakers():
    values = np.linspace(0.4, 0.6, 15)
    low, high = speaker_interval(values)
    assert low < 0.5 < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(15), rel=0.15)


def test_an_interval_covers_the_truth_about_95_times_of_100():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(100):
        right = 2 * (rng.random(40) < 0.7)
        (row,) = score_protocols(made_up(right), n_resamples=200).itertuples()
        hits += row.accuracy_low <= 0.7 <= row.accuracy_high
    assert 85 <= hits <= 100


def test_models_are_compared_on_the_same_clips():
    better, worse = made_up([2] * 8 + [0] * 2, model="a"), made_up([1] * 8 + [0] * 2, model="b")
    (row,) = compare_models(pd.concat([better, worse]), "a", "b").itertuples()
    assert row.difference == pytest.approx(0.4)
    assert 0 < row.low < row.difference < row.high
    assert (row.ahead, row.n_speakers) == (8, 10)
    with pytest.raises(ValueError, match="a and b were not tested on the same clips"):
        compare_models(pd.concat([better, worse.head(3)]), "a", "b")


def test_few_speakers_are_compared_without_an_interval():
    table = pd.concat([made_up([2, 2, 0], model="a"), made_up([1, 1, 1], model="b")])
    (row,) = compare_models(table, "a", "b").itertuples()
    assert row.difference == pytest.approx(1 / 6)
    assert np.isnan([row.low, row.high]).all()
    assert (row.ahead, row.n_speakers) == (2, 3)


def test_calibration_error_is_the_distance_of_confidence_and_accuracy():
    error, bins = calibration_error(np.full(100, 0.9), np.arange(100) < 60)
    assert error == pytest.approx(0.3)
    assert bins[["confidence", "accuracy", "clips"]].round(3).values.tolist() == [[0.9, 0.6, 100]]
    assert calibration_error(np.array([1.0, 0.0]), np.array([True, False]))[0] == 0


def test_the_temperature_undoes_what_made_a_model_too_sure():
    rng = np.random.default_rng(0)
    honest = rng.dirichlet([0.6] * 4, 4000)
    labels = np.array([rng.choice(4, p=p) for p in honest])
    too_sure = apply_temperature(honest, 0.4)
    temperature = fit_temperature(too_sure, labels)
    assert temperature == pytest.approx(1 / 0.4, rel=0.1)
    cooled = apply_temperature(too_sure, temperature)
    assert (cooled.argmax(axis=1) == too_sure.argmax(axis=1)).all()
    np.testing.assert_allclose(cooled, honest, atol=0.03)
