"""The recorder and the ear test: in Python, and in a real JupyterLab in Debian's Chromium.

The second half is skipped where ``chromium`` and ``chromedriver`` are not installed. It leaves
pictures in ``output/``, widget-recorder.png and widget-ear-test.png, for your eyes.
"""

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request

import nbformat
import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from browser import CHROMIUM, DRIVER, Browser
from corpora import write_clip, write_folders, write_tess

from ser_utils import output_dir, scan_corpus
from ser_utils.corpora.demo_corpus import EMOTIONS, SAMPLE_RATE, synthesize
from ser_utils.widgets import ear_test, ear_test_answers, ear_test_clips, record_clips

# ---- the recorder


def keep(recorder, emotion, samples, rate=48000):
    """What the browser sends when a take is kept."""
    samples = memoryview(np.asarray(samples, dtype="<i2").tobytes())
    recorder.receive({"emotion": emotion, "rate": rate}, [samples])
    return recorder.shown


def test_a_take_becomes_a_wav_with_the_same_samples(project):
    sent = np.random.default_rng(0).integers(-32768, 32768, 24000)
    shown = keep(record_clips("data/own", ["angry", "sad"]), "sad", sent)
    written, rate = sf.read(project / "data/own/sad/sad_01.wav", dtype="int16")
    assert rate == 48000
    np.testing.assert_array_equal(written, sent)
    assert sf.info(project / "data/own/sad/sad_01.wav").subtype == "PCM_16"
    assert shown["kept"] == [["sad/sad_01.wav", "0.5 s"]]
    assert shown["counts"] == [0, 1]


def test_what_was_recorded_is_a_corpus(project):
    recorder = record_clips("own", ["angry", "sad"])
    for emotion in ("sad", "angry", "sad"):
        keep(recorder, emotion, np.ones(48000))
    assert list(scan_corpus(project / "own")["emotion"]) == ["angry", "sad", "sad"]


def test_no_clip_is_overwritten_and_free_numbers_are_used(project):
    for number in (1, 3):
        write_clip(project / "own" / "sad" / f"sad_{number:02d}.wav", seed=number)
    before = (project / "own/sad/sad_03.wav").read_bytes()
    recorder = record_clips("own", ["sad"])
    assert recorder.shown["counts"] == [2]
    keep(recorder, "sad", np.ones(100))
    shown = keep(recorder, "sad", np.ones(100))
    assert [name for name, _ in shown["kept"]] == ["sad/sad_02.wav", "sad/sad_04.wav"]
    assert (project / "own/sad/sad_03.wav").read_bytes() == before
    assert shown["counts"] == [4]


def test_an_interrupted_write_leaves_no_clip(project, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "disk full")))
    shown = keep(record_clips("own", ["sad"]), "sad", np.ones(100))
    assert "not saved: disk full. Free some disk space" in shown["error"]
    assert shown["kept"] == []
    assert shown["counts"] == [0]  # the part of a file is no audio
    assert not list(project.rglob("*.wav"))


def test_the_same_trouble_twice_is_told_twice(project):
    (project / "own").write_text("a file in the way")
    recorder = record_clips("own", ["sad"])
    first = keep(recorder, "sad", np.ones(100))
    assert "was not saved: " in first["error"]
    assert "choose another folder." in first["error"]
    assert str(project) not in first["error"]
    second = keep(recorder, "sad", np.ones(100))
    assert second["error"] == first["error"]
    assert second != first  # else the browser would hear nothing


@pytest.mark.parametrize("samples", [b"", b"odd"])
def test_a_take_without_sound_is_refused(project, samples):
    recorder = record_clips("own", ["sad"])
    recorder.receive({"emotion": "sad", "rate": 48000}, [samples])
    assert "This take was not saved" in recorder.shown["error"]
    assert not (project / "own").exists()


def test_only_the_emotions_asked_for_become_folders(project):
    shown = keep(record_clips("own", ["sad"]), "../sad", np.ones(100))
    assert "'../sad' is not one of sad" in shown["error"]
    assert not list(project.rglob("*.wav"))


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\\b", "..", ".sad", "sad ", "a:b", "sad\n"])
def test_an_emotion_that_cannot_name_a_folder_is_refused(project, name):
    with pytest.raises(ValueError, match=f"{re.escape(repr(name))} cannot name a folder; use let"):
        record_clips("own", ["angry", name])


@pytest.mark.parametrize("emotions", ["angry", [], ()])
def test_no_list_of_emotions_is_refused(project, emotions):
    with pytest.raises(ValueError, match="must be a list of names such as"):
        record_clips("own", emotions)


def test_names_in_any_language_are_taken(project):
    keep(record_clips("own", ["très-fâché", "so_so 2"]), "très-fâché", np.ones(100))
    assert (project / "own" / "très-fâché" / "très-fâché_01.wav").is_file()


@pytest.mark.parametrize(
    ("folder", "place"),
    [("data/own", "data/own"), ("{root}/own", "own"), ("{root}/../elsewhere/mine", "mine")],
)
def test_where_no_widget_runs_the_recorder_is_one_sentence(project, folder, place):
    bundle, _ = record_clips(
        os.path.abspath(folder.format(root=project)) if "{" in folder else folder,
        ["angry", "happy", "sad"],
    )._repr_mimebundle_()
    assert bundle["text/plain"] == (
        f"Recorder for angry, happy, sad: run this cell in JupyterLab to record into {place}."
    )
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_a_relative_folder_counts_from_the_project_root(project, monkeypatch):
    (project / "notebooks").mkdir()
    monkeypatch.chdir(project / "notebooks")
    keep(record_clips("own", ["sad"]), "sad", np.ones(100))
    assert (project / "own" / "sad" / "sad_01.wav").is_file()


# ---- the clips of the ear test


def table(*rows):
    """A table of clips that do not exist, from (speaker, emotion, how many)."""
    clips = pd.DataFrame(
        [
            {"path": f"/c/{speaker}_{emotion}_{i}.wav", "emotion": emotion, "speaker": speaker}
            for speaker, emotion, n in rows
            for i in range(n)
        ]
    ).assign(text=pd.NA, corpus="c")
    clips = clips.astype({"speaker": "string", "text": "string"})
    clips.attrs = {"root": "/c", "skipped": [], "conflicts": []}
    return clips


def test_the_clips_are_of_one_voice_and_always_the_same():
    clips = table(*[(who, how, 9) for who in "BA" for how in ("angry", "fear", "happy", "sad")])
    chosen = ear_test_clips(clips)
    pd.testing.assert_frame_equal(chosen, ear_test_clips(clips.copy()))
    assert set(chosen["speaker"]) == {"A"}
    assert dict(chosen["emotion"].value_counts()) == dict.fromkeys(clips["emotion"].unique(), 3)
    assert chosen["path"].is_unique
    assert list(chosen.index) == list(range(12))
    assert chosen.attrs == clips.attrs
    assert not chosen["emotion"].is_monotonic_increasing
    assert (chosen["emotion"] != chosen["emotion"].shift()).sum() > 4  # not in blocks either
    assert len(ear_test_clips(clips, per_emotion=1)) == 4


def test_the_voice_has_the_most_emotions_then_clips():
    clips = table(("A", "sad", 9), ("B", "sad", 1), ("B", "angry", 2), ("C", "sad", 3))
    assert set(ear_test_clips(clips)["speaker"]) == {"B"}  # two emotions
    more = table(("A", "sad", 2), ("A", "angry", 2), ("B", "sad", 2), ("B", "angry", 3))
    assert set(ear_test_clips(more)["speaker"]) == {"B"}  # five clips
    assert len(ear_test_clips(more)) == 5  # where there are fewer, fewer


def test_unknown_speakers_are_one_voice():
    clips = table((pd.NA, "sad", 4), (pd.NA, "angry", 2))
    assert dict(ear_test_clips(clips)["emotion"].value_counts()) == {"sad": 3, "angry": 2}


def test_no_clips_of_an_emotion_are_refused():
    with pytest.raises(ValueError, match="per_emotion=0 must be 1 or more"):
        ear_test_clips(table(("A", "sad", 2)), per_emotion=0)


# ---- the ear test


@pytest.fixture
def clips(project):
    """Two clips each of three emotions, of one voice."""
    write_tess(project / "corpus", speakers=("OAF",))
    return ear_test_clips(scan_corpus(project / "corpus"), per_emotion=2)


def take(test, answers):
    """Start and give these answers as the browser does; return what it showed, step by step."""
    test.receive({}, [])
    steps = [test.shown]
    for i, answer in enumerate(answers):
        test.receive({"answer": test.emotions.index(answer), "clip": i}, [])
        steps.append(test.shown)
    return steps


def test_the_browser_learns_no_label_before_the_end(clips):
    test = ear_test(clips)
    states = [test.get_state(), *take(test, ["angry"] * 5)]
    for i, state in enumerate(states):
        sent = repr({key: value for key, value in state.items() if key not in ("_esm", "_css")})
        sent = sent.replace(repr(["angry", "pleasant surprise", "sad"]), "")  # the choices
        for secret in ("angry", r"\bps\b", "surprise", "sad", "OAF", r"\.wav", "corpus"):
            assert not re.search(secret, sent), (i, secret)
    assert test.get_state()["shown"]["status"] == "Clip 6 of 6"


def test_the_sounds_are_those_of_the_clips_in_order(clips, project):
    steps = take(ear_test(clips), ["sad"] * 5)
    assert [step["status"] for step in steps] == [f"Clip {i} of 6" for i in range(1, 7)]
    for step, path in zip(steps, clips["path"], strict=True):
        (project / "a.mp3").write_bytes(step["sound"])
        (y, sr), (heard, heard_sr) = sf.read(path), sf.read(project / "a.mp3")
        assert heard_sr == sr
        assert np.corrcoef(y, heard[: len(y)])[0, 1] > 0.8, path  # noise is hard for MP3


def test_the_result_is_as_computed_by_hand(clips):
    answers = list(clips["emotion"])
    wrong = answers.index("ps")
    answers[wrong] = "sad"
    test = ear_test(clips)
    assert test.shown["chance"] == "A random guess is right one time in three (33%)."
    end = take(test, answers)[-1]
    assert end["stage"] == "end"
    assert end["table"] == [[2, 0, 0], [0, 1, 1], [0, 0, 2]]
    # Wilson, z = 1.96, 5 of 6: (5/6 + z2/12 -+ z sqrt(5/36/6 + z2/144)) / (1 + z2/6)
    z2 = 1.959964**2
    middle, half = 5 / 6 + z2 / 12, np.sqrt(z2 * (5 / 36 / 6 + z2 / 144))
    low, high = (100 * (middle - half) / (1 + z2 / 6), 100 * (middle + half) / (1 + z2 / 6))
    assert end["status"] == (
        f"You named 5 of 6 clips correctly: 83% (95% interval {low:.0f} to {high:.0f}%). "
        "Chance is 33%. The whole interval lies above chance, so you did better than guessing."
    )


@pytest.mark.parametrize(
    ("right", "verdict"), [(2, "Chance lies inside the interval"), (0, "this may be luck")]
)
def test_luck_is_called_luck(clips, right, verdict):
    wrong = {"angry": "ps", "ps": "sad", "sad": "angry"}
    truth = list(clips["emotion"])
    answers = truth[:right] + [wrong[emotion] for emotion in truth[right:]]
    assert verdict in take(ear_test(clips), answers)[-1]["status"]


def test_worse_than_guessing_is_said(project):
    write_folders(project / "two", emotions=("happy", "sad"), clips=8)
    clips = ear_test_clips(scan_corpus(project / "two"), per_emotion=8)
    test = ear_test(clips)
    assert "one time in two (50%)" in test.shown["chance"]
    swapped = clips["emotion"].map({"happy": "sad", "sad": "happy"})
    assert "lies below chance" in take(test, swapped)[-1]["status"]


def test_many_emotions_are_counted_in_digits(project):
    write_folders(project / "many", emotions=["sad", *(f"mood{i}" for i in range(11))], clips=1)
    clips = ear_test_clips(scan_corpus(project / "many"))
    assert "one time in 12 (8%)" in ear_test(clips).shown["chance"]


def test_an_answer_clicked_twice_counts_once(clips):
    test = ear_test(clips)
    take(test, ["sad"])
    test.receive({"answer": 0, "clip": 0}, [])
    assert test.shown["status"] == "Clip 2 of 6"
    assert test.answers == ["sad"]


def test_where_no_widget_runs_the_ear_test_is_one_sentence(clips):
    bundle, _ = ear_test(clips)._repr_mimebundle_()
    sentence = "Ear test of 6 clips: run this cell in JupyterLab to take it."
    assert bundle["text/plain"] == sentence
    assert "application/vnd.jupyter.widget-view+json" in bundle


# ---- the stored answers


def test_answers_are_stored_and_read_again(clips, project):
    answers = ["sad", "ps", "angry", "sad", "sad", "ps"]
    test = ear_test(clips)
    take(test, answers)
    answered = ear_test_answers(clips)
    expected = clips[["path", "emotion"]].assign(answer=answers)
    pd.testing.assert_frame_equal(answered, expected, check_dtype=False)
    assert answered.attrs["taken"] == pd.Timestamp.today().date().isoformat()
    assert answered.attrs == clips.attrs | {"taken": answered.attrs["taken"]}
    assert "taken" not in clips.attrs
    (stored,) = (project / "output").iterdir()
    assert stored.name == "ear_test_corpus.json"
    assert str(project) not in stored.read_text()
    take(test, ["sad"] * 6)  # taken again
    assert set(ear_test_answers(clips)["answer"]) == {"sad"}


def test_half_a_test_is_not_stored(clips):
    take(ear_test(clips), ["sad"] * 5)
    assert ear_test_answers(clips).attrs["taken"] is None


def test_other_clips_have_no_answers(clips):
    take(ear_test(clips), ["sad"] * 6)
    other = clips.iloc[::-1].reset_index(drop=True)
    assert ear_test_answers(other).attrs["taken"] is None
    assert ear_test_answers(clips.head(5)).attrs["taken"] is None


BROKEN = ["", "{", "[1]", "null", "{}", "[" * 99999, "\udcff", '"taken"']
CHANGES = [("answer", "sad"), ("answer", [[]] * 6), ("answer", ["gone"] * 6), ("answer", None)]
CHANGES += [("answer", ["sad"] * 5), ("taken", "today"), ("taken", 3), ("path", 1)]


@pytest.mark.parametrize("content", [*BROKEN, *CHANGES], ids=lambda content: repr(content)[:20])
def test_a_broken_file_gives_the_same_guesses_as_none(clips, project, content):
    guesses = ear_test_answers(clips)
    assert list(guesses.columns) == ["path", "emotion", "answer"]
    assert set(guesses["answer"]) <= set(clips["emotion"])
    assert guesses.attrs["taken"] is None
    take(ear_test(clips), ["sad"] * 6)
    assert ear_test_answers(clips).attrs["taken"]
    path = project / "output" / "ear_test_corpus.json"
    if isinstance(content, tuple):
        content = json.dumps(json.loads(path.read_text()) | dict([content]))
    path.write_bytes(content.encode(errors="surrogateescape"))
    again = ear_test_answers(clips)
    assert again.attrs["taken"] is None
    pd.testing.assert_frame_equal(again, guesses)


def test_answers_that_cannot_be_stored_are_shown_all_the_same(clips, project):
    (project / "output").write_text("a file in the way")
    end = take(ear_test(clips), clips["emotion"])[-1]
    assert end["status"].startswith("You named 6 of 6 clips correctly: 100%")
    assert "could not be stored" in end["status"]
    assert ear_test_answers(clips).attrs["taken"] is None


def test_importing_the_package_imports_no_widgets():
    code = "import sys, ser_utils; print({'anywidget', 'ipywidgets'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "set()", result.stderr


# ---- both in JupyterLab

needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="the widgets are not tested in JupyterLab: chromium or chromedriver is not installed",
)
CELLS = {
    "ear": "from ser_utils import scan_corpus\n"
    "from ser_utils.widgets import ear_test, ear_test_clips\n"
    'ear_test(ear_test_clips(scan_corpus("voices"), per_emotion=2))',
    "recorder": "from ser_utils.widgets import record_clips\n"
    'record_clips("recordings", ["angry", "happy", "sad"])',
}
NO_NEWS = {"fetchNews": "false", "checkForUpdates": False}  # it would ask the network
COUNT_PLAYS = """
    window.played = [];
    const play = HTMLMediaElement.prototype.play;
    HTMLMediaElement.prototype.play = function () {
      window.played.push(this.src);
      return play.call(this);
    };"""


@pytest.fixture(scope="module")
def lab_folder(tmp_path_factory):
    """A project with a small corpus of one synthetic voice and a notebook for each widget."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "environment.yml").touch()
    for emotion in EMOTIONS:
        (folder / "voices" / f"SA_{emotion}").mkdir(parents=True)
        for word in ("moon", "boat"):
            path = folder / "voices" / f"SA_{emotion}" / f"SA_{word}_{emotion}.wav"
            sf.write(path, synthesize(word, emotion, "SA"), SAMPLE_RATE)
    for name, code in CELLS.items():
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder


@pytest.fixture(scope="module")
def lab(lab_folder, tmp_path_factory):
    """Address of a JupyterLab with settings of its own."""
    config = tmp_path_factory.mktemp("jupyter")
    settings = config / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(NO_NEWS))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"--no-browser --allow-root --ip=127.0.0.1 --port={port} --ServerApp.port_retries=0"
    command = [sys.executable, "-m", "jupyterlab", *options.split(), "--ServerApp.token="]
    process = subprocess.Popen(
        [*command, f"--ServerApp.root_dir={lab_folder}"],
        env=os.environ | {"JUPYTER_CONFIG_DIR": str(config), "JUPYTER_RUNTIME_DIR": str(config)},
        stderr=(config / "log.txt").open("wb"),
    )
    yield f"http://127.0.0.1:{port}"
    process.terminate()  # it ends its kernels, too
    process.wait(60)


@pytest.fixture(scope="module")
def browser(lab_folder, tmp_path_factory):
    """A browser whose microphone hears 440 Hz."""
    folder = tmp_path_factory.mktemp("browser")
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(4 * 48000) / 48000)
    sf.write(folder / "tone.wav", tone, 48000)
    browser = Browser("about:blank", folder / "profile", folder / "tone.wav")
    yield browser
    browser.driver.quit()


class Widget:
    """A widget in an open notebook, as a learner sees it."""

    def __init__(self, browser, wait_until):
        self.browser, self.wait_until, self.run = browser, wait_until, browser.run

    def all(self, selector):
        return self.browser.driver.find_elements("css selector", f".ser-widget {selector}")

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).innerText", selector)

    def status(self):
        return self.text(".ser-status")

    def button(self, name):
        (found,) = [button for button in self.all("button, label") if name in button.text]
        return found

    def click(self, name):
        self.wait_until(lambda: self.button(name).is_enabled())
        self.button(name).click()

    def press(self, keys):
        from selenium.webdriver import ActionChains

        ActionChains(self.browser.driver).send_keys(keys).perform()

    def focused(self):
        return self.run("return document.activeElement.textContent")

    def save_picture(self, name):
        self.browser.driver.find_element("css selector", ".ser-widget").screenshot(
            str(output_dir() / name)
        )


@pytest.fixture
def open_widget(lab, browser, wait_until):
    """Open a notebook in JupyterLab, with a script that runs first, and run its only cell."""
    scripts, driver = [], browser.driver

    def can_reach():
        try:
            return urllib.request.urlopen(f"{lab}/api", timeout=5).status == 200
        except OSError:
            return False

    def start(name, script):
        wait_until(can_reach)
        added = driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
        scripts.append(added)
        driver.get(f"{lab}/lab/tree/{name}.ipynb?reset")
        bar = "return document.getElementById('jp-main-statusbar')?.innerText ?? ''"
        wait_until(lambda: ") | Idle" in browser.run(bar))
        run = "[data-command='notebook:run-cell-and-select-next']"
        driver.find_element("css selector", run).click()
        wait_until(lambda: driver.find_elements("css selector", ".ser-widget"))
        return Widget(browser, wait_until)

    yield start
    for script in scripts:
        driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def names_outside_the_choices(widget):
    """Emotions and file names anywhere in the page but on the buttons to answer with."""
    html = widget.run("""
        const page = document.body.cloneNode(true);
        page.querySelector(".ser-widget [role=group]").remove();
        page.querySelectorAll("style").forEach((style) => style.remove());  // has icons of moods
        return page.outerHTML""")
    return re.findall(r"\b(?:angry|disgust|fear|happy|ps|sad)\b|SA_\w+|\w+\.wav", html)


@needs_chromium
def test_the_ear_test_is_taken_by_keyboard_and_mouse(open_widget, lab_folder, wait_until):
    widget = open_widget("ear", COUNT_PLAYS)
    clips = ear_test_clips(scan_corpus(lab_folder / "voices"), per_emotion=2)
    assert "one time in seven (14%)" in widget.text(".ser-widget")
    assert not names_outside_the_choices(widget)
    assert not widget.run("return played.length")  # nothing plays before it is asked for
    assert not widget.all(".ser-row button")[1].is_displayed()  # nor is there what to answer
    widget.click("Start")
    choices = sorted(EMOTIONS)
    answers = [*clips["emotion"][:9], *["sad"] * 5]
    for i, answer in enumerate(answers):
        wait_until(lambda i=i: widget.status() == f"Clip {i + 1} of 14")
        wait_until(lambda: widget.focused() == "Play again")
        assert widget.run("return played.length") == i + 1  # by itself
        if i == 3:
            widget.save_picture("widget-ear-test-clip.png")
            assert not names_outside_the_choices(widget)
        if i % 2:
            widget.click("pleasant surprise" if answer == "ps" else answer)
        else:
            widget.press(str(choices.index(answer) + 1))
    wait_until(lambda: widget.all("table"))
    head = [th.text for th in widget.all("thead th")]
    assert head == ["pleasant surprise" if name == "ps" else name for name in choices]
    assert [th.text for th in widget.all("tbody th")] == head
    assert {th.get_attribute("scope") for th in widget.all("tbody th")} == {"row"}
    shown = [
        [int(td.text) for td in row.find_elements("css selector", "td")]
        for row in widget.all("tbody tr")
    ]
    expected = np.zeros((7, 7), dtype=int)
    for emotion, answer in zip(clips["emotion"], answers, strict=True):
        expected[choices.index(emotion), choices.index(answer)] += 1
    np.testing.assert_array_equal(shown, expected)
    right = np.trace(expected)
    assert widget.status().startswith(f"You named {right} of 14 clips correctly")
    assert "above chance" in widget.status()
    stored = json.loads((lab_folder / "output" / "ear_test_voices.json").read_text())
    assert stored["answer"] == answers
    assert stored["path"][0].startswith("SA_")
    widget.save_picture("widget-ear-test.png")


@needs_chromium
def test_keys_are_for_the_test_and_not_for_jupyter(open_widget, wait_until):
    widget = open_widget("ear", COUNT_PLAYS)
    widget.click("Start")
    wait_until(lambda: widget.status() == "Clip 1 of 14")
    for key in ("p", "P", " "):
        widget.press(key)
    wait_until(lambda: widget.run("return played.length") == 4)
    assert len(set(widget.run("return played"))) == 1  # one sound, four times
    widget.press("9")  # there are seven emotions
    widget.press("a")  # in JupyterLab: a new cell above
    widget.press("1")  # in JupyterLab: make this cell a heading
    wait_until(lambda: widget.status() == "Clip 2 of 14")
    cells = widget.run("return document.querySelectorAll('.jp-Notebook .jp-CodeCell').length")
    assert cells == 2  # ours and the empty one below it
    assert not widget.run("return document.querySelectorAll('.jp-MarkdownCell').length")
    tree = widget.browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {(node["role"]["value"], node["name"]["value"]) for node in tree if "name" in node}
    assert {("group", "Ear test"), ("button", "Play again"), ("button", "sad")} <= named
    assert [p.text for p in widget.all("[aria-live=polite]")] == ["Clip 2 of 14"]
    heights = [button.size["height"] for button in widget.all("button")]
    assert min(heights) >= 44
    widget.press("\t")  # from Play again to the first answer
    widget.press(" ")
    wait_until(lambda: widget.status() == "Clip 3 of 14")


@needs_chromium
def test_after_a_reload_the_test_goes_on_and_is_silent(open_widget, browser, wait_until):
    widget = open_widget("ear", COUNT_PLAYS)
    widget.click("Start")
    wait_until(lambda: widget.status() == "Clip 1 of 14")
    widget.press("1")
    wait_until(lambda: widget.status() == "Clip 2 of 14")
    browser.driver.find_element("css selector", "[data-command='docmanager:save']").click()
    wait_until(lambda: not browser.driver.find_elements("css selector", ".jp-mod-dirty"))
    browser.driver.refresh()
    wait_until(lambda: widget.all(".ser-status"))
    assert widget.status() == "Clip 2 of 14"
    assert not widget.run("return played.length")
    widget.click("Play again")
    wait_until(lambda: widget.run("return played.length") == 1)


@needs_chromium
def test_a_take_is_recorded_heard_and_kept(open_widget, lab_folder, wait_until):
    widget = open_widget("recorder", COUNT_PLAYS)
    folder = lab_folder / "recordings"
    assert "Your recordings stay on this machine" in widget.text(".ser-widget")

    def record(seconds):
        widget.click("Record")
        wait_until(lambda: widget.text(".ser-timer") >= f"{seconds} of 10 s")

    widget.click("sad")
    record(0.5)
    level = "return document.querySelector('.ser-widget meter').value"
    wait_until(lambda: 0.3 < widget.run(level) < 0.7)  # the tone's is 0.5
    widget.run("const now = performance.now(); performance.now = () => now + 10000")
    wait_until(lambda: "Listen, then keep or discard" in widget.status())  # stopped at 10 s
    widget.click("Discard")
    assert not folder.exists()
    widget.run("delete performance.now")
    widget.click("happy")
    record(1.5)
    widget.click("Stop")
    wait_until(lambda: "Recorded" in widget.status())
    folder.write_text("a file in the way")
    widget.click("Keep as happy")
    wait_until(lambda: "This take was not saved" in widget.text(".ser-error"))
    folder.unlink()
    widget.save_picture("widget-recorder-trouble.png")
    widget.click("Keep as happy")
    wait_until(lambda: widget.status() == "Kept as happy/happy_01.wav.")
    (path,) = folder.rglob("*.*")
    assert path == folder / "happy" / "happy_01.wav"
    y, sr = sf.read(path)
    assert 1.2 < len(y) / sr < 10
    hertz = np.argmax(np.abs(np.fft.rfft(y))) * sr / len(y)
    assert hertz == pytest.approx(440, abs=2)
    assert np.percentile(np.abs(y), 99) == pytest.approx(0.5, abs=0.05)
    assert widget.text(".ser-widget li") == f"happy/happy_01.wav, {len(y) / sr:.1f} s"
    assert "angry 0, happy 1, sad 0" in widget.text(".ser-widget")
    assert not widget.text(".ser-error")
    record(0.5)
    widget.save_picture("widget-recorder.png")
    widget.click("Stop")


NO_MICROPHONE = {
    "Object.defineProperty(navigator, 'mediaDevices', { value: undefined })": (
        "Open JupyterLab on http://localhost or over https"
    ),
    **{
        "navigator.mediaDevices.getUserMedia = () => "
        f"Promise.reject(new DOMException('', '{name}'))": sentence
        for name, sentence in [
            ("NotAllowedError", "The microphone is blocked. Allow it"),
            ("NotFoundError", "No microphone was found. Connect one"),
        ]
    },
}


@needs_chromium
@pytest.mark.parametrize("script", NO_MICROPHONE, ids=["insecure", "denied", "missing"])
def test_why_there_is_no_microphone_is_one_sentence(open_widget, wait_until, script):
    widget = open_widget("recorder", script)
    if widget.button("Record").is_enabled():
        widget.click("Record")
    wait_until(lambda: NO_MICROPHONE[script] in widget.text(".ser-error"))
    assert "put the files into recordings/angry and so on" in widget.text(".ser-error")
