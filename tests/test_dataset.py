"""Every clip of a corpus gets its own label, and nothing is dropped in silence."""

import os
from pathlib import Path

import pandas as pd
import pytest
from corpora import write_clip, write_folders, write_tess

from ser_utils import (
    CorpusError,
    data_dir,
    dataset,
    output_dir,
    scan_corpus,
)
from ser_utils.dataset import describe_clips, matched_clips, relative_paths


def test_tess_names_give_speaker_text_and_emotion(tmp_path):
    clips = scan_corpus(write_tess(tmp_path / "tess"))
    assert clips.columns.tolist() == ["path", "emotion", "speaker", "text", "corpus"]
    assert len(clips) == 12
    for row in clips.itertuples():
        assert f"{row.speaker}_{row.text}_{row.emotion}" == Path(row.path).stem
    assert set(clips["corpus"]) == {"tess"}
    assert clips["path"].is_monotonic_increasing


def test_the_typing_error_of_tess_is_no_third_speaker(tmp_path):
    write_tess(tmp_path)
    write_clip(tmp_path / "OAF_neutral" / "OA_bite_neutral.wav")
    assert set(scan_corpus(tmp_path)["speaker"]) == {"OAF", "YAF"}


@pytest.mark.parametrize("emotion", ["angry", "disgust", "fear", "happy", "neutral", "ps", "sad"])
def test_every_emotion_of_tess_keeps_its_name(tmp_path, emotion):
    write_clip(tmp_path / "OAF_x" / f"OAF_back_{emotion}.wav")
    assert scan_corpus(tmp_path)["emotion"].tolist() == [emotion]


OFFICIAL_NAMES = [
    ("OAF_Fear/OAF_back_fear.wav", "fear", "OAF", "back"),
    ("YAF_pleasant_surprised/YAF_back_ps.wav", "ps", "YAF", "back"),
    ("OAF_neutral/OA_bite_neutral.wav", "neutral", "OAF", "bite"),
    ("Actor_16/03-01-01-01-02-01-16.wav", "neutral", "16", "02"),
    ("Actor_16/03-01-02-01-02-01-16.wav", "calm", "16", "02"),
    ("Actor_16/03-01-03-01-02-01-16.wav", "happy", "16", "02"),
    ("Actor_16/03-01-04-01-02-01-16.wav", "sad", "16", "02"),
    ("Actor_16/03-01-05-02-01-02-16.wav", "angry", "16", "01"),
    ("Actor_16/03-01-06-01-02-01-16.wav", "fear", "16", "02"),
    ("Actor_16/03-01-07-01-02-01-16.wav", "disgust", "16", "02"),
    ("Actor_16/03-01-08-01-02-01-16.wav", "surprise", "16", "02"),
    ("wav/03a01Wa.wav", "angry", "03", "a01"),
    ("wav/03a01La.wav", "bored", "03", "a01"),
    ("wav/03a01Ea.wav", "disgust", "03", "a01"),
    ("wav/03b10Aa.wav", "fear", "03", "b10"),
    ("wav/16a01Fd.wav", "happy", "16", "a01"),
    ("wav/03a01Ta.wav", "sad", "03", "a01"),
    ("wav/03a01N.wav", "neutral", "03", "a01"),
    ("DC/a01.wav", "angry", "DC", None),
    ("ALL/JE_d15.wav", "disgust", "JE", None),
    ("ALL/JK_f01.wav", "fear", "JK", None),
    ("ALL/KL_h01.wav", "happy", "KL", None),
    ("ALL/KL_n30.wav", "neutral", "KL", None),
    ("ALL/KL_sa01.wav", "sad", "KL", None),
    ("ALL/KL_su01.wav", "surprise", "KL", None),
    ("AudioWAV/1001_DFA_ANG_XX.wav", "angry", "1001", "DFA"),
    ("AudioWAV/1001_IEO_DIS_HI.wav", "disgust", "1001", "IEO"),
    ("AudioWAV/1001_IEO_FEA_MD.wav", "fear", "1001", "IEO"),
    ("AudioWAV/1001_IEO_HAP_LO.wav", "happy", "1001", "IEO"),
    ("AudioWAV/1091_IEO_NEU_XX.wav", "neutral", "1091", "IEO"),
    ("AudioWAV/1040_ITH_SAD_X.wav", "sad", "1040", "ITH"),
]


@pytest.mark.parametrize(("path", "emotion", "speaker", "text"), OFFICIAL_NAMES)
def test_names_of_the_public_corpora_are_read(tmp_path, path, emotion, speaker, text):
    (tmp_path / path).parent.mkdir()
    (tmp_path / path).touch()  # only names are read
    (clip,) = scan_corpus(tmp_path).itertuples()
    assert (clip.emotion, clip.speaker) == (emotion, speaker)
    assert clip.text == text if text else pd.isna(clip.text)


def test_what_else_the_names_of_ravdess_tell_is_kept(tmp_path):
    (tmp_path / "03-01-05-02-01-02-16.wav").touch()
    (tmp_path / "03-02-05-02-01-02-16.wav").touch()  # a song
    clips = scan_corpus(tmp_path, scheme="ravdess")
    kept = clips[["intensity", "statement", "repetition", "actor"]]
    assert kept.values.tolist() == [["02", "01", "02", "16"]]
    assert dict(clips.attrs["skipped"]).keys() == {"03-02-05-02-01-02-16.wav"}


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


@pytest.mark.parametrize(
    ("trust", "emotions"),
    [(None, ["angry"]), ("name", ["angry", "sad"]), ("folder", ["angry", "angry"])],
)
def test_a_clip_whose_name_and_folder_disagree_is_left_out_unless_told(tmp_path, trust, emotions):
    touch(tmp_path, "OAF_angry/OAF_a_angry.wav", "OAF_angry/OAF_b_sad.wav")
    clips = scan_corpus(tmp_path, trust=trust)
    assert clips["emotion"].tolist() == emotions
    skipped = [("OAF_angry/OAF_b_sad.wav", "the name says sad, the folder angry")]
    assert clips.attrs["skipped"] == ([] if trust else skipped)


def test_whom_to_trust_is_checked(tmp_path):
    with pytest.raises(CorpusError, match="trust='me' is not known"):
        scan_corpus(tmp_path, trust="me")


def test_a_folder_called_surprise_holds_pleasant_surprise(tmp_path):
    touch(tmp_path, "Surprise/OAF_a_ps.wav")
    assert scan_corpus(tmp_path)["emotion"].tolist() == ["ps"]


@pytest.mark.parametrize("copy", ["tess", "TESS/TESS", "a"])
def test_a_release_with_a_copy_of_itself_is_one_corpus(tmp_path, copy, capsys):
    write_tess(tmp_path / "tess")
    write_tess(tmp_path / "tess" / copy)
    clips = scan_corpus(tmp_path / "tess")
    assert len(clips) == 12
    assert {Path(path).parents[1] for path in clips["path"]} == {tmp_path / "tess"}
    assert "12 audio files left out" in capsys.readouterr().out


def test_a_release_that_lies_there_twice_is_one_corpus(tmp_path):
    touch(tmp_path, "wav/OAF_angry/OAF_a_angry.wav", "flac/OAF_angry/OAF_a_angry.flac")
    clips = scan_corpus(tmp_path)
    assert relative_paths(clips)["path"].tolist() == ["flac/OAF_angry/OAF_a_angry.flac"]
    reason = "second copy of flac/OAF_angry/OAF_a_angry.flac"
    assert clips.attrs["skipped"] == [("wav/OAF_angry/OAF_a_angry.wav", reason)]


def test_a_copy_of_emotion_folders_inside_itself_is_found(tmp_path):
    write_folders(tmp_path)
    write_folders(tmp_path / "my recordings")
    write_clip(tmp_path / "new" / "Happy" / "clip 0.flac", seed=7, seconds=1)  # another recording
    clips = scan_corpus(tmp_path)
    assert len(clips) == 7
    assert "second copy of Happy/clip 0.flac" in dict(clips.attrs["skipped"]).values()


def test_speakers_with_equal_names_in_savee_folders_stay_apart(tmp_path):
    touch(tmp_path, *(f"{speaker}/a01.wav" for speaker in ("DC", "JE", "JK", "KL")))
    assert scan_corpus(tmp_path)["speaker"].tolist() == ["DC", "JE", "JK", "KL"]


def test_several_corpora_become_one_table(tmp_path):
    touch(tmp_path / "emodb", "03a01Fa.wav", "03a01La.wav")
    touch(tmp_path / "ravdess", "Actor_03/03-01-02-01-02-01-03.wav", "read me.txt")
    write_folders(tmp_path / "mine", emotions=["sad"], clips=1)
    roots = [tmp_path / name for name in ("emodb", "ravdess", "mine")]
    clips = scan_corpus(roots, emotions={"calm": "neutral", "bored": None})
    assert clips["emotion"].tolist() == ["happy", "sad", "neutral"]
    assert clips["corpus"].tolist() == ["emodb", "mine", "ravdess"]
    assert clips["speaker"].fillna("-").tolist() == ["emodb/03", "-", "ravdess/03"]
    assert clips.attrs["skipped"] == [("ravdess/read me.txt", "not audio")]
    assert relative_paths(clips)["path"].tolist()[1] == "mine/sad/clip 0.flac"


def test_a_corpus_is_not_counted_twice(tmp_path):
    write_folders(tmp_path / "mine")
    with pytest.raises(CorpusError, match="inside another"):
        scan_corpus([tmp_path, tmp_path / "mine"])
    with pytest.raises(CorpusError, match="have one name"):
        scan_corpus([tmp_path / "mine", tmp_path / "mine"])


def test_an_emotion_to_rename_must_be_there(tmp_path):
    touch(tmp_path, "sad/a.wav")
    with pytest.raises(CorpusError, match=r"names boring; the corpus has sad"):
        scan_corpus(tmp_path, emotions={"boring": None})


def write_csv(tmp_path, text, **options):
    touch(tmp_path, "sound/a.wav", "sound/ü b.wav")
    (tmp_path / "labels.csv").write_text(text, **{"encoding": "utf-8"} | options)
    return tmp_path / "labels.csv"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_csv_table_is_a_corpus(tmp_path, encoding):
    text = "path,emotion,speaker,age\nsound/a.wav,Anger,1,30\nsound/ü b.wav,sad,,\n"
    clips = scan_corpus(write_csv(tmp_path, text, encoding=encoding))
    assert clips["emotion"].tolist() == ["angry", "sad"]
    assert clips["speaker"].fillna("-").tolist() == ["1", "-"]
    assert clips["text"].isna().all()
    assert clips["age"].fillna("-").tolist() == ["30", "-"]
    assert set(clips["corpus"]) == {"labels"}
    assert relative_paths(clips)["path"].tolist() == ["sound/a.wav", "sound/ü b.wav"]


def test_rows_of_a_csv_that_name_no_clip_are_listed(tmp_path):
    rows = ["sound/a.wav,sad", "sound/a.wav,angry", "gone.wav,sad", ",sad", "sound/ü b.wav,"]
    clips = scan_corpus(write_csv(tmp_path, "\n".join(["path,emotion", *rows])))
    assert clips["emotion"].tolist() == ["sad"]
    reasons = [reason for _, reason in clips.attrs["skipped"]]
    assert reasons == [
        "named in two rows",
        "there is no such file",
        "its row names no path or no emotion",
        "its row names no path or no emotion",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot be read"),
        ("path;emotion\nsound/a.wav;sad\n", "path;emotion; it needs path,emotion"),
        ("path,emotion\ngone.wav,sad\n", "first: gone.wav: there is no such file"),
        ('path,emotion\n"sound', "cannot be read"),
    ],
)
def test_an_unusable_csv_is_one_sentence(tmp_path, text, says):
    with pytest.raises(CorpusError, match=says) as caught:
        scan_corpus(write_csv(tmp_path, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("folder", "emotion"),
    [
        ("anger", "angry"),
        ("Boredom", "bored"),
        ("disgusted", "disgust"),
        ("FEARFUL", "fear"),
        ("happiness", "happy"),
        ("Pleasant surprise", "ps"),
        ("pleasant-surprised", "ps"),
        ("sadness", "sad"),
        ("surprised", "surprise"),
        ("calm", "calm"),
    ],
)
def test_spellings_of_a_folder_are_mapped_to_one_vocabulary(tmp_path, folder, emotion):
    write_clip(tmp_path / folder / "a.wav")
    assert scan_corpus(tmp_path)["emotion"].tolist() == [emotion]
    assert emotion in dataset.EMOTIONS


def test_one_folder_an_emotion_has_no_speaker_and_no_text(tmp_path, capsys):
    clips = scan_corpus(write_folders(tmp_path))
    assert clips["emotion"].value_counts().to_dict() == {"angry": 2, "excited": 2, "happy": 2}
    assert clips[["speaker", "text"]].isna().all(axis=None)
    assert "kept as they are: excited" in capsys.readouterr().out  # said once


@pytest.mark.parametrize("parts", [("angry", "session 1"), ("speaker 1", "angry")])
def test_the_nearest_known_emotion_above_a_clip_counts(tmp_path, parts):
    write_clip(tmp_path.joinpath(*parts, "a.wav"))
    write_clip(tmp_path / "sad" / "b.wav")
    assert sorted(scan_corpus(tmp_path)["emotion"]) == ["angry", "sad"]


def test_equal_names_in_two_folders_are_two_clips(tmp_path):
    write_folders(tmp_path, clips=1)
    clips = scan_corpus(tmp_path)
    assert clips["path"].map(os.path.basename).nunique() == 1
    assert clips["path"].nunique() == 3


def test_what_is_left_out_is_listed(tmp_path, capsys):
    write_tess(tmp_path)
    (tmp_path / "notes.txt").write_text("read me")
    write_clip(tmp_path / "rehearsal.wav")
    skipped = dict(scan_corpus(tmp_path).attrs["skipped"])
    assert skipped["notes.txt"] == "not audio"
    assert "does not fit" in skipped["rehearsal.wav"]
    assert "1 audio files left out" in capsys.readouterr().out


def test_hidden_files_are_no_clips(tmp_path):
    write_tess(tmp_path)
    (tmp_path / "OAF_angry" / "._OAF_a_angry.wav").write_bytes(b"of another system")
    assert len(scan_corpus(tmp_path)) == 12


def test_a_loop_of_links_ends_and_no_clip_comes_twice(tmp_path):
    write_tess(tmp_path)
    (tmp_path / "OAF_angry" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert len(scan_corpus(tmp_path)) == 12


def test_a_linked_folder_is_followed(tmp_path):
    write_tess(tmp_path / "elsewhere")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert len(scan_corpus(tmp_path / "corpus")) == 12


def unusable_root(tmp_path, what):
    root = tmp_path / what
    if what == "a file":
        root.write_text("no folder")
    elif what != "missing":
        root.mkdir()
    if what == "no audio":
        (root / "notes.txt").write_text("nothing to hear")
    if what == "unknown layout":
        write_clip(root / "Actor_02" / "03-01-01.wav")
    if what == "no folders":
        write_clip(root / "a.wav")
    return root


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("missing", "does not exist"),
        ("a file", "is a file, not a folder"),
        ("empty", "holds 0 files"),
        ("no audio", "none of them is audio"),
        ("unknown layout", r"found Actor_02.03-01-01.wav.*OAF_back_angry.*one folder per emotion"),
        ("no folders", "not known"),
    ],
)
def test_an_unusable_root_is_one_sentence_with_a_way_out(tmp_path, what, says):
    root = unusable_root(tmp_path, what)
    with pytest.raises(CorpusError, match=says) as caught:
        scan_corpus(root)
    assert str(root) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_scheme_can_be_forced(tmp_path):
    write_clip(tmp_path / "Freude" / "a.wav")
    assert scan_corpus(tmp_path, scheme="folders")["emotion"].tolist() == ["freude"]
    with pytest.raises(CorpusError, match="No file"):
        scan_corpus(tmp_path, scheme="tess")
    with pytest.raises(CorpusError, match="'klatt' is not known; use one of tess, ravdess"):
        scan_corpus(tmp_path, scheme="klatt")


def test_paths_are_shown_from_the_root(tmp_path):
    clips = scan_corpus(write_folders(tmp_path, clips=1))
    assert relative_paths(clips)["path"].tolist()[0] == "Happy/clip 0.flac"


def test_headers_of_good_and_bad_clips(tmp_path):
    write_clip(tmp_path / "sad" / "a.wav", seconds=0.5, sr=8000)
    (tmp_path / "sad" / "b.wav").write_text("not sound")
    good, bad = describe_clips(scan_corpus(tmp_path)).itertuples()
    assert (good.sr, good.channels, good.subtype, good.seconds) == (8000, 1, "PCM_16", 0.5)
    assert pd.isna(good.problem)
    assert "not readable audio" in bad.problem
    assert pd.isna(bad.seconds)


def test_matched_clips_share_voice_and_word(tmp_path):
    write_tess(tmp_path)
    (tmp_path / "OAF_angry" / "OAF_a_angry.wav").unlink()
    matched = matched_clips(scan_corpus(tmp_path))
    assert matched["emotion"].tolist() == ["angry", "ps", "sad"]
    assert (matched["speaker"].nunique(), set(matched["text"])) == (1, {"b"})


def test_matched_clips_without_speakers_are_the_first_of_each(tmp_path):
    matched = matched_clips(scan_corpus(write_folders(tmp_path)))
    assert matched["emotion"].tolist() == ["angry", "excited", "happy"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "environment.yml").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path


def test_a_relative_data_dir_counts_from_the_project(project, monkeypatch):
    monkeypatch.setenv("SER_DATA_DIR", "corpora/tess")
    assert data_dir() == project / "corpora" / "tess"
    monkeypatch.setenv("SER_DATA_DIR", str(project / "elsewhere"))
    assert data_dir() == project / "elsewhere"


def test_without_a_name_the_demo_corpus_is_made(project, monkeypatch):
    monkeypatch.delenv("SER_DATA_DIR", raising=False)
    monkeypatch.setattr(dataset, "make_demo_corpus", lambda root: root)
    assert data_dir() == project / "data" / "demo"


def test_a_read_only_project_is_one_sentence(project, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(CorpusError, match=r"output.*Permission denied.*make that place writable"):
        output_dir()


@pytest.mark.real_data
def test_the_named_corpus_is_read_whole(real_corpus):
    clips = scan_corpus(real_corpus)
    assert not [path for path, reason in clips.attrs["skipped"] if reason != "not audio"]
    assert clips["emotion"].isin(dataset.EMOTIONS).all()
    assert describe_clips(clips)["problem"].isna().all()
