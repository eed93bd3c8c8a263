"""The demo corpus: the same everywhere, whole or not there, and angry where it says so."""

import hashlib
import platform
import subprocess
import sys

import librosa
import numpy as np
import pytest
import soundfile as sf

from ser_utils.corpora import demo_corpus
from ser_utils.corpora.demo_corpus import EMOTIONS, SAMPLE_RATE, VOICES, WORDS, synthesize

# clip: number of its samples, and those at 10000, 15000 ... 35000, in 16 bits
CLIPS = {
    ("boat", "angry", "SA"): (36635, [-844, -672, 204, 8224, 1838, -7]),
    ("cheese", "ps", "SB"): (41758, [5113, 2760, 5755, -7, 1836, 3381]),
    ("house", "sad", "SC"): (57108, [-1442, -207, 2569, 2850, 3, -1532]),
    ("lamp", "disgust", "SD"): (54078, [2670, -2502, -2726, 1333, 688, -1100]),
}
N_SMALL = 3 * 7


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Where to make a corpus of one voice and three words."""
    monkeypatch.setattr(demo_corpus, "WORDS", {w: WORDS[w] for w in ("boat", "fish", "sun")})
    monkeypatch.setattr(demo_corpus, "VOICES", {"SA": VOICES["SA"]})
    return tmp_path / "data" / "demo"


def make(root):
    return demo_corpus.make_demo_corpus(root, n_jobs=1)


def files(folder):
    """Content of every file at or below a folder, by relative path."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def samples(clip):
    return np.round(synthesize(*clip) * 32768).astype("<i2")


def test_full_size():
    assert (len(VOICES), len(EMOTIONS), len(WORDS)) == (4, 7, 20)
    assert len({name for name, _ in demo_corpus._clip_names()}) == 560


def test_layout_is_that_of_tess(root):
    assert make(root) == root
    names = set(files(root))
    assert len(names) == N_SMALL + 1
    assert {"SA_angry/SA_boat_angry.wav", "SA_pleasant_surprise/SA_fish_ps.wav"} <= names
    assert "no human acted" in " ".join((root / "README.txt").read_text().lower().split())
    assert [path.name for path in root.parent.iterdir()] == ["demo"]  # nothing is left beside it


def test_file_is_16_bit_mono_and_holds_what_synthesize_says(root):
    path = make(root) / "SA_angry" / "SA_boat_angry.wav"
    info = sf.info(path)
    assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE, 1, "PCM_16")
    y, _ = sf.read(path)
    np.testing.assert_allclose(y, synthesize("boat", "angry", "SA"), atol=1 / 32768)


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="the features are x86's"
)
@pytest.mark.parametrize("disabled", ["", "X86_V4 AVX512_ICL"])
def test_a_fresh_process_says_the_same_on_an_older_processor_too(disabled, monkeypatch, tmp_path):
    monkeypatch.setenv("NPY_DISABLE_CPU_FEATURES", disabled)
    if disabled:
        monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    code = f"""
import numpy as np
from ser_utils.corpora.demo_corpus import synthesize
np.savez({str(tmp_path / "clips.npz")!r}, *[synthesize(*clip) for clip in {list(CLIPS)}])
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
    with np.load(tmp_path / "clips.npz") as clips:
        for clip, y in zip(CLIPS, clips.values(), strict=True):
            # BLAS and the functions of the processor differ in the last digits of 64 bits.
            np.testing.assert_allclose(y, synthesize(*clip), atol=1 / 32768)


def test_same_samples_on_any_computer():
    for clip, (n_samples, values) in CLIPS.items():
        y = samples(clip)
        assert len(y) == n_samples
        np.testing.assert_allclose(y[10000:40000:5000], values, atol=4)


def test_clips_of_one_emotion_differ():
    digests = {hashlib.sha256(samples(("sun", "sad", who))).hexdigest() for who in VOICES}
    assert len(digests) == len(VOICES)


def test_second_call_makes_nothing(root, capsys, monkeypatch):
    make(root)
    assert "no human acted" in capsys.readouterr().out
    monkeypatch.setattr(demo_corpus, "synthesize", None)
    assert make(root) == root
    assert capsys.readouterr().out == ""


def test_interrupted_making_is_finished_by_the_next_call(root, monkeypatch):
    made = []

    def interrupted(*clip):
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(clip)
        return synthesize(*clip)

    monkeypatch.setattr(demo_corpus, "synthesize", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(root)
    assert not root.exists()
    monkeypatch.setattr(demo_corpus, "synthesize", lambda *clip: made.append(clip) or y)
    y = synthesize("sun", "sad", "SA")
    make(root)
    assert len(made) == len(set(made)) == N_SMALL  # the five are not made again
    assert [path.name for path in root.parent.iterdir()] == ["demo"]


def test_killed_while_writing_leaves_no_cut_clip(root, monkeypatch):
    def cut(path, content):
        with open(path, "wb") as file:
            file.write(content[:1000])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_bytes", cut)
        with pytest.raises(KeyboardInterrupt):
            make(root)
    make(root)
    assert {sf.info(path).frames > SAMPLE_RATE for path in root.rglob("*.wav")} == {True}
    assert len(files(root)) == N_SMALL + 1


def test_missing_clip_is_made_again(root):
    make(root)
    before = files(root)
    (root / "SA_sad" / "SA_sun_sad.wav").unlink()
    assert files(make(root)) == before


def test_older_version_is_replaced(root):
    make(root)
    before = files(root)
    (root / "README.txt").write_text(f"{demo_corpus.MARKER} 0\n")
    (root / "SA_sad" / "SA_sun_sad.wav").write_bytes(b"old")
    (root / "SA_old.wav").write_bytes(b"old")
    assert files(make(root)) == before
    assert [path.name for path in root.parent.iterdir()] == ["demo"]


def test_empty_folder_is_used(root):
    root.mkdir(parents=True)
    assert len(files(make(root))) == N_SMALL + 1


def test_foreign_folder_is_left_alone(root):
    root.mkdir(parents=True)
    (root / "README.txt").write_bytes(b"\xffmy own recordings")
    (root / "me.wav").write_bytes(b"precious")
    before = files(root)
    with pytest.raises(FileExistsError, match=r"demo exists and is not a demo corpus; move it"):
        make(root)
    assert files(root) == before


def test_two_processes_at_once(root):
    code = f"""
from ser_utils.corpora import demo_corpus
demo_corpus.WORDS, demo_corpus.VOICES = {demo_corpus.WORDS}, {{"SA": demo_corpus.VOICES["SA"]}}
demo_corpus.make_demo_corpus({str(root)!r}, n_jobs=1)
"""
    python, pipe = [sys.executable, "-c", code], subprocess.PIPE
    both = [subprocess.Popen(python, stdout=pipe, stderr=subprocess.STDOUT) for _ in range(2)]
    for process in both:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output.decode()
    assert [path.name for path in root.parent.iterdir()] == ["demo"]
    assert files(root) == files(make(root.with_name("other")))


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(28, "full")])
def test_what_cannot_be_written_is_said_in_one_sentence(root, error, monkeypatch):
    def refuse(*_):
        raise error

    monkeypatch.setattr("pathlib.Path.write_bytes", refuse)
    with pytest.raises(OSError, match=rf"demo.*\({error.strerror}\).*SER_DATA_DIR") as caught:
        make(root)
    assert caught.value.__suppress_context__
    assert "\n" not in str(caught.value)
    assert not root.exists()


@pytest.mark.parametrize(
    ("clip", "sentence"),
    [
        (("cat", "sad", "SA"), r"unknown word 'cat'; choose one of boat, cheese"),
        (("sun", "bored", "SA"), r"unknown emotion 'bored'; choose one of angry, disgust"),
        (("sun", "sad", "OAF"), r"unknown speaker 'OAF'; choose one of SA, SB, SC, SD"),
    ],
)
def test_unknown_names_are_said(clip, sentence):
    with pytest.raises(ValueError, match=sentence):
        synthesize(*clip)


def test_level_and_length():
    for emotion in EMOTIONS:
        for speaker, word in zip(VOICES, ("house", "yes", "cheese", "dog"), strict=True):
            y = synthesize(word, emotion, speaker)
            assert 0.02 < np.abs(y).max() <= 0.97
            assert 1.2 < len(y) / SAMPLE_RATE < 3.2


def test_no_sample_is_larger_than_the_peak(monkeypatch):
    loud = {"SA": VOICES["SA"]._replace(level=0)}
    monkeypatch.setattr(demo_corpus, "VOICES", loud)
    assert 0.9 < np.abs(synthesize("sun", "angry", "SA")).max() <= 0.97


def test_spread_makes_clips_vary(monkeypatch):
    monkeypatch.setattr(demo_corpus, "CLIP_SPREAD", 0)
    alike = {demo_corpus._clip_settings(word, "sad", "SA").f0 for word in WORDS}
    monkeypatch.setattr(demo_corpus, "CLIP_SPREAD", 1)
    varied = {demo_corpus._clip_settings(word, "sad", "SA").f0 for word in WORDS}
    assert len(alike) == 1
    assert len(varied) == len(WORDS)


def median_f0(emotion, speaker):
    """Median fundamental frequency (Hz) of the loud frames of a clip."""
    y = synthesize("moon", emotion, speaker)
    f0 = librosa.yin(y, fmin=70, fmax=500, sr=SAMPLE_RATE)
    level = librosa.feature.rms(y=y)[0]
    return np.median(f0[level > 0.5 * level.max()])


@pytest.mark.parametrize("speaker", VOICES)
def test_angry_and_fear_are_higher_than_neutral(speaker):
    neutral = median_f0("neutral", speaker)
    assert median_f0("angry", speaker) > 1.1 * neutral
    assert median_f0("fear", speaker) > 1.3 * neutral


@pytest.mark.parametrize("speaker", VOICES)
def test_sad_is_duller_than_angry(speaker):
    def brightness(emotion):
        power = np.abs(np.fft.rfft(synthesize("moon", emotion, speaker))) ** 2
        hertz = np.linspace(0, SAMPLE_RATE / 2, len(power))
        return power[(hertz > 1000) & (hertz < 5000)].sum() / power[hertz < 1000].sum()

    assert brightness("angry") > 4 * brightness("sad")
