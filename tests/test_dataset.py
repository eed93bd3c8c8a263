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
    describe_clips,
    matched_clips,
    output_dir,
    relative_paths,
    scan_corpus,
)


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
    with pytest.raises(CorpusError, match="'klatt' is not known; use one of tess, folders"):
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
