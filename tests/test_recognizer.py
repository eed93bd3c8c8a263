"""The bundle: what goes in comes out, whatever is asked, and a damaged one says what to do."""

import io
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from ser_utils import AudioError, EmotionRecognizer, FeatureConfig, extract_features
from ser_utils.corpora.demo_corpus import SAMPLE_RATE, synthesize
from ser_utils.deploy.recognizer import NOT_SURE, BundleError, main, sure_threshold

EMOTIONS = ["angry", "happy", "sad"]
CLIP, OTHER = (synthesize("moon", emotion, "SA") for emotion in ("happy", "angry"))


@pytest.fixture(scope="module")
def bundle(tiny_recognizer, tmp_path_factory):
    return tiny_recognizer.save(tmp_path_factory.mktemp("bundle") / "recognizer")


@pytest.fixture
def broken(bundle, tmp_path):
    """A copy of the bundle, to be damaged; returns its folder and a function that edits it."""
    for file in bundle.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())

    def edit(**changes):
        content = json.loads((tmp_path / "bundle.json").read_text())
        (tmp_path / "bundle.json").write_text(json.dumps(content | changes))

    return tmp_path, edit


def test_a_loaded_bundle_answers_as_the_saved_recognizer(tiny_recognizer, bundle):
    loaded = EmotionRecognizer.load(bundle)
    said, says = (one.predict(CLIP, SAMPLE_RATE) for one in (tiny_recognizer, loaded))
    assert said.probabilities == pytest.approx(says.probabilities, abs=1e-5)
    assert loaded.emotions == EMOTIONS
    assert loaded.config == FeatureConfig()
    assert loaded.about == tiny_recognizer.about
    assert sorted(file.name for file in bundle.iterdir()) == [
        "bundle.json",
        "golden.wav",
        "model.keras",
    ]


def test_saving_again_replaces_and_leaves_nothing_behind(tiny_recognizer, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "old").touch()
    tiny_recognizer.save(tmp_path / "r")
    assert not (tmp_path / "r" / "old").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["r"]


def test_compiled_and_padded_it_says_what_the_model_says(tiny_recognizer):
    y = CLIP[:16000].astype(np.float32)
    plain = np.asarray(tiny_recognizer.model(extract_features(y)[None]))[0]
    one = tiny_recognizer.probabilities([y])[0]
    several = tiny_recognizer.probabilities([y, y[:8000], y])
    np.testing.assert_allclose(one, plain, atol=1e-4)
    np.testing.assert_allclose(several[[0, 2]], [plain, plain], atol=1e-4)


@pytest.mark.parametrize("sr", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("seconds", [0.3, 1.0, 7.4])
def test_any_rate_channel_count_and_length(tiny_recognizer, tmp_path, sr, channels, seconds):
    y = np.random.default_rng(0).uniform(-0.5, 0.5, (int(np.ceil(seconds * sr)), channels))
    sf.write(tmp_path / "a.wav", y, sr, subtype="FLOAT")
    file = tiny_recognizer.predict(tmp_path / "a.wav")
    array = tiny_recognizer.predict(y, sr)
    content = tiny_recognizer.predict(io.BytesIO((tmp_path / "a.wav").read_bytes()))
    assert sum(file.probabilities.values()) == pytest.approx(1, abs=1e-5)
    for other in (array, content):
        assert other.probabilities == pytest.approx(file.probabilities, abs=0.01)
    assert len(file.timeline) == (6 if seconds > 4 else 1)
    assert file.timeline["end"].iloc[-1] == pytest.approx(seconds, abs=0.01)


def test_a_long_clip_is_its_windows_whatever_the_batches(tiny_recognizer, monkeypatch, tmp_path):
    y = np.tile(CLIP, 25)[: 40 * SAMPLE_RATE]
    sf.write(tmp_path / "a.flac", y, SAMPLE_RATE)
    timeline = tiny_recognizer.predict(tmp_path / "a.flac").timeline
    assert timeline["start"].tolist() == list(range(38))
    assert (timeline["end"] - timeline["start"]).eq(3).all()
    monkeypatch.setattr("ser_utils.deploy.recognizer.BATCH", 5)
    again = tiny_recognizer.predict(tmp_path / "a.flac").timeline
    np.testing.assert_allclose(timeline[EMOTIONS], again[EMOTIONS], atol=0.01)
    alone = tiny_recognizer.predict(y[7 * SAMPLE_RATE : 10 * SAMPLE_RATE], SAMPLE_RATE)
    np.testing.assert_allclose(
        timeline[EMOTIONS].iloc[7], list(alone.probabilities.values()), atol=0.02
    )


def test_integers_are_full_scale_and_several_clips_a_list(tiny_recognizer):
    integers = (CLIP * 32767).astype(np.int16)
    first, second = tiny_recognizer.predict([CLIP, integers], SAMPLE_RATE)
    assert first.probabilities == pytest.approx(second.probabilities, abs=0.01)


def test_unsure_under_the_threshold_and_in_silence(tiny_recognizer, monkeypatch):
    assert tiny_recognizer.predict(CLIP, SAMPLE_RATE).emotion in EMOTIONS
    assert tiny_recognizer.predict(np.zeros(16000), 16000).emotion == NOT_SURE
    assert tiny_recognizer.predict(CLIP * 1e-4, SAMPLE_RATE).emotion == NOT_SURE
    monkeypatch.setattr(tiny_recognizer, "threshold", 0.99)
    said = tiny_recognizer.predict(CLIP, SAMPLE_RATE)
    assert said.emotion == NOT_SURE
    assert said.timeline["emotion"].tolist() == [NOT_SURE]


@pytest.mark.parametrize(
    ("clip", "sr", "error", "says"),
    [
        (CLIP[:2000], SAMPLE_RATE, AudioError, "lasts 0.09 s and must last at least 0.3 s"),
        (np.zeros((0, 2)), 16000, AudioError, "holds no samples"),
        (np.full(16000, np.nan), 16000, AudioError, "a sample is nan"),
        (CLIP, None, ValueError, "sr=None tells no sample rate"),
        (CLIP, 10, AudioError, "sample rate, 10 Hz, is not"),
        ("nowhere.wav", None, AudioError, "nowhere.wav: there is no such file"),
        (io.BytesIO(b"no sound"), None, AudioError, "not readable audio"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_a_sentence(tiny_recognizer, clip, sr, error, says):
    with pytest.raises(error, match=says):
        tiny_recognizer.predict(clip, sr)


def test_parts_that_do_not_fit_are_refused(tiny_recognizer):
    model, about = tiny_recognizer.model, tiny_recognizer.about
    with pytest.raises(ValueError, match="3 outputs and 2 names"):
        EmotionRecognizer(model, EMOTIONS[:2], about=about)
    with pytest.raises(ValueError, match="about lacks protocol, figures, licence; tell all"):
        EmotionRecognizer(model, EMOTIONS, about={"corpora": ["demo"]})
    with pytest.raises(ValueError, match="hide time"):
        EmotionRecognizer(model, EMOTIONS, config=FeatureConfig(offset=0.5), about=about)


def test_another_golden_answer_is_noticed(broken):
    folder, edit = broken
    edit(golden={"angry": 0.9, "happy": 0.05, "sad": 0.05})
    with pytest.raises(BundleError, match=r"golden clip.*; install keras 3.*, or train again"):
        EmotionRecognizer.load(folder)


def test_a_newer_format_says_update(broken):
    folder, edit = broken
    edit(format=99)
    with pytest.raises(BundleError, match="format, 99, is newer than ours, 1; update ser_utils"):
        EmotionRecognizer.load(folder)


def test_unknown_additions_do_no_harm(broken):
    folder, edit = broken
    edit(colour="red")
    assert EmotionRecognizer.load(folder).emotions == EMOTIONS


@pytest.mark.parametrize("name", ["bundle.json", "model.keras", "golden.wav"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\x80\x04K\x01."])
def test_a_damaged_bundle_says_so(broken, name, content):
    folder, _ = broken
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=r"is damaged|cannot be loaded here"):
        EmotionRecognizer.load(folder)


def test_a_missing_bundle_says_where_to_get_one(tmp_path):
    with pytest.raises(BundleError, match="holds no bundle; notebook 10_deploy makes one"):
        EmotionRecognizer.load(tmp_path)


def test_the_threshold_keeps_its_promise():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.45, 0.55]])
    labels = np.array([0, 0, 1, 1, 1])  # right: 0.9, 0.8, 0.7; wrong: 0.6; right: 0.55
    assert sure_threshold(probabilities, labels, accuracy=1) == pytest.approx(0.7)
    assert sure_threshold(probabilities, labels, accuracy=0.8) == pytest.approx(0.55)
    assert sure_threshold(probabilities, 1 - labels, accuracy=0.9) == 1
    with pytest.raises(ValueError, match="5 rows of probabilities and 2 labels do not fit"):
        sure_threshold(probabilities, [0, 1])


def run(*arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(list(map(str, arguments)))
    return exit_.value.code, capsys.readouterr()


def test_the_command_prints_a_table_json_or_csv(bundle, tmp_path, capsys):
    sf.write(tmp_path / "a.wav", np.tile(CLIP, 4), SAMPLE_RATE)
    files = [tmp_path / "a.wav", bundle / "golden.wav"]
    code, printed = run(*files, "--bundle", bundle, capsys=capsys)
    assert code == 0
    assert printed.out.split("\n")[0].split() == ["file", "start", "end", "emotion", *EMOTIONS]
    code, printed = run(*files, "--bundle", bundle, "--format", "json", capsys=capsys)
    assert [row["file"] for row in json.loads(printed.out)] == [str(file) for file in files]
    settings = ["--bundle", bundle, "--format", "csv", "--timeline"]
    code, printed = run(*files, *settings, capsys=capsys)
    assert len(pd.read_csv(io.StringIO(printed.out))) == 7


def test_the_command_goes_on_after_a_bad_file_and_says_so(bundle, tmp_path, capsys):
    (tmp_path / "a.wav").write_bytes(b"no sound")
    files = [tmp_path / "a.wav", bundle / "golden.wav"]
    code, printed = run(*files, "--bundle", bundle, capsys=capsys)
    assert code == 1
    assert "a.wav: this is not readable audio" in printed.err
    assert "golden.wav" in printed.out


def test_the_module_can_be_run(tmp_path):
    command = [sys.executable, "-m", "ser_utils.deploy.recognizer", "a.wav", "--bundle", tmp_path]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == f"{tmp_path} holds no bundle; notebook 10_deploy makes one.\n"


# A voice


@pytest.fixture
def met(tiny_recognizer):
    """The recogniser after a clip of each of two emotions."""
    return tiny_recognizer.enrol([CLIP, OTHER], ["sad", "angry"], SAMPLE_RATE)


def test_enrolling_moves_the_answers_to_what_was_told_and_leaves_the_recognizer_alone(
    tiny_recognizer, met
):
    before = tiny_recognizer.predict(CLIP, SAMPLE_RATE).probabilities
    assert met.predict(CLIP, SAMPLE_RATE).probabilities["sad"] > before["sad"] + 0.02
    assert met.voice["clips"] == {"angry": 1, "happy": 0, "sad": 1}
    assert tiny_recognizer.voice is None
    assert tiny_recognizer.predict(CLIP, SAMPLE_RATE).probabilities == before


def test_a_clip_given_twice_counts_once(tiny_recognizer, met):
    again = tiny_recognizer.enrol([CLIP, OTHER, CLIP], ["sad", "angry", "sad"], SAMPLE_RATE)
    np.testing.assert_allclose(again.kernel, met.kernel)


def test_a_voice_is_saved_as_a_little_json_read_again_and_forgotten(tiny_recognizer, met, tmp_path):
    file = met.save_voice(tmp_path / "anna.json")
    content = json.loads(file.read_text())
    assert sorted(content) == ["bias", "clips", "format", "kernel", "model"]
    weights = 3 * (len(met.kernel) + 1)
    assert np.size(content["kernel"]) + np.size(content["bias"]) == weights  # no room for sound
    again = tiny_recognizer.load_voice(file)
    said, says = (one.predict(CLIP, SAMPLE_RATE).probabilities for one in (met, again))
    assert said == pytest.approx(says)
    again.forget()
    assert not list(tmp_path.iterdir())
    assert again.voice is None
    anybody = tiny_recognizer.predict(CLIP, SAMPLE_RATE).probabilities
    assert again.predict(CLIP, SAMPLE_RATE).probabilities == anybody


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda voice: "{", "is damaged"),
        (lambda voice: json.dumps(voice | {"kernel": [[1.0]]}), "is damaged"),
        (lambda voice: json.dumps(voice | {"kernel": "a"}), "is damaged"),
        (lambda voice: json.dumps(voice | {"model": "another"}), "belongs to another model"),
        (lambda voice: json.dumps(voice | {"format": 99}), "belongs to another model"),
    ],
)
def test_a_voice_that_does_not_fit_is_refused_in_a_sentence(
    tiny_recognizer, met, tmp_path, change, says
):
    (tmp_path / "a.json").write_text(change(met.voice))
    with pytest.raises(BundleError, match=says):
        tiny_recognizer.load_voice(tmp_path / "a.json")


def test_a_missing_voice_and_a_bundle_of_a_voice_are_refused(tiny_recognizer, met, tmp_path):
    with pytest.raises(BundleError, match="is not there; enrol the voice"):
        tiny_recognizer.load_voice(tmp_path / "a.json")
    with pytest.raises(ValueError, match="No voice is known; enrol one"):
        tiny_recognizer.save_voice(tmp_path / "a.json")
    with pytest.raises(ValueError, match="A bundle knows no voice"):
        met.save(tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("clips", "emotions", "says"),
    [
        ([CLIP[:2000]], ["sad"], "lasts 0.09 s and must last at least 0.3 s"),
        ([np.zeros(SAMPLE_RATE)], ["sad"], "nobody speaks in it; record it again"),
        ([CLIP], ["joy"], "'joy' is no emotion of this model; use some of angry, happy, sad"),
        ([CLIP, CLIP], ["sad", "angry"], "One clip is given as sad and angry; decide"),
        ([CLIP], ["sad", "angry"], "1 clips and 2 emotions do not fit"),
        ([], [], "0 clips and 0 emotions do not fit"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_in_a_sentence(
    tiny_recognizer, clips, emotions, says
):
    with pytest.raises(ValueError, match=says):
        tiny_recognizer.enrol(clips, emotions, SAMPLE_RATE)


def test_prototypes_and_the_model_card_travel_with_the_bundle(tiny_recognizer, tmp_path):
    model, about = tiny_recognizer.model, tiny_recognizer.about
    prototypes = np.eye(3, len(tiny_recognizer.kernel))
    whole = EmotionRecognizer(model, EMOTIONS, about=about, prototypes=prototypes)
    folder = whole.save(tmp_path / "bundle")
    (folder / "MODEL_CARD.md").write_text("# A card")
    loaded = EmotionRecognizer.load(folder)
    np.testing.assert_array_equal(loaded.prototypes, prototypes)
    assert loaded.card == "# A card"
    assert tiny_recognizer.card is None
    one = [
        recognizer.enrol([CLIP], ["sad"], SAMPLE_RATE) for recognizer in (whole, tiny_recognizer)
    ]
    angry = [met.predict(CLIP, SAMPLE_RATE).probabilities["sad"] for met in one]
    assert angry[0] != pytest.approx(angry[1], abs=1e-4)  # they stand in for the others
