"""The page in a real browser: Debian's Chromium, headless, with a microphone that plays a clip.

Skipped where ``chromium`` and ``chromedriver`` are not installed. Each run leaves two screenshots
in ``output/``, page-desktop.png and page-phone.png, for your eyes.
"""

import copy
import tempfile
import threading
import time

import numpy as np
import pytest
import requests
import soundfile as sf
from browser import CHROMIUM, DRIVER

from ser_utils import (
    FeatureConfig,
    build_app,
    extract_features,
    load_audio,
    output_dir,
)
from ser_utils.corpora.demo_corpus import SAMPLE_RATE, synthesize
from ser_utils.deploy.server import LIMITS, Server, _meet

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="the page is not tested: chromium or chromedriver is not installed",
)


@pytest.fixture
def page_server(listener):
    server = Server(build_app(listener))
    yield server
    server.stop()


@pytest.mark.parametrize("emotion", ["sad", "angry", "happy"])
def test_the_microphone_moves_the_bars_to_the_emotion(
    page_server, browse, clip, wait_until, emotion
):
    browser = browse(page_server, clip(emotion))
    browser.click("microphone")
    wait_until(lambda: browser.text("emotion") == emotion and browser.shares()[emotion] >= 60)
    assert emotion in browser.text("summary")
    seen = set()

    def bars_moved():
        bars = browser.bars()
        for name, number, value, drawn in bars:
            assert number == value == pytest.approx(drawn, abs=0.6), name
        seen.add(tuple(number for _, number, _, _ in bars))
        return len(seen) > 3

    wait_until(bars_moved)
    # Most of the time; which part of the looping clip came first, a moment can still tell.
    wait_until(lambda: browser.text("summary").startswith(emotion))
    browser.click("microphone")
    assert browser.text("microphone") == "Start the microphone"
    wait_until(lambda: not page_server.app.settings["streams"])
    assert not browser.text("error")


def test_a_file_and_an_example_are_answered_and_look_right(page_server, browse, clip, wait_until):
    browser = browse(page_server, clip("angry"))
    browser.upload(clip("sad"))
    wait_until(lambda: browser.text("emotion") == "sad")
    assert browser.text("time-title") == "The file over time"
    assert browser.find("player").is_displayed()
    browser.example("angry")
    wait_until(lambda: browser.text("to").startswith("1."))  # s, it is shorter
    assert sum(browser.shares().values()) == pytest.approx(100, abs=4)
    browser.click("microphone")
    wait_until(lambda: "angry" in browser.text("summary") and browser.text("to") == "now")
    time.sleep(8)  # for a picture with something in it
    browser.width(1200, 1900)
    browser.screenshot(output_dir() / "page-desktop.png")
    for width in (390, 320):
        browser.width(width, 3600)
        assert browser.run("return document.body.scrollWidth") <= width
    browser.width(390, 3600)
    browser.screenshot(output_dir() / "page-phone.png")


def test_the_pictures_are_those_of_the_sound(page_server, browse, tmp_path, wait_until):
    rise = np.concatenate([np.zeros(SAMPLE_RATE), synthesize("moon", "happy", "SA")])
    sf.write(tmp_path / "a.wav", rise, SAMPLE_RATE)  # a second of silence, then a voice
    browser = browse(page_server, tmp_path / "a.wav")
    browser.upload(tmp_path / "a.wav")
    wait_until(lambda: browser.text("heard-end") == f"{len(rise) / SAMPLE_RATE:.1f} s")
    assert browser.text("heard-top") == "8 kHz"
    drawn = browser.canvas("mel")[..., :3].sum(axis=2)[::-1].T.astype(float)  # time, then bands
    y, _ = load_audio(tmp_path / "a.wav")
    mel = extract_features(y, config=FeatureConfig(kinds=("mel",)))
    assert drawn.shape == mel.shape
    assert np.corrcoef(drawn.ravel(), mel.ravel())[0, 1] > 0.95
    level = (browser.canvas("level")[..., 3] > 0).sum(axis=0)  # height of what is drawn
    silence = int(len(level) * SAMPLE_RATE / len(rise))
    assert level[: silence - 5].max() <= 2
    assert level[silence:].max() == pytest.approx(np.abs(y).max() * 70, abs=2)  # of 70 pixels


def test_a_file_that_is_no_sound_or_too_large_is_explained(
    page_server, browse, clip, tmp_path, wait_until
):
    browser = browse(page_server, clip("sad"))
    (tmp_path / "letter.wav").write_bytes(b"no sound")
    browser.upload(tmp_path / "letter.wav")
    wait_until(lambda: "This is not readable audio" in browser.text("error"))
    (tmp_path / "large.wav").write_bytes(bytes(LIMITS["bytes"] + 1))
    browser.upload(tmp_path / "large.wav")
    wait_until(lambda: "over 10 MB" in browser.text("error"))
    browser.upload(clip("sad"))
    wait_until(lambda: browser.text("emotion") == "sad")
    assert not browser.text("error")


def test_losing_the_server_is_said_and_a_new_one_is_found(listener, browse, clip, wait_until):
    server = Server(build_app(listener))
    browser = browse(server, clip("sad"))
    browser.click("microphone")
    wait_until(lambda: browser.text("emotion") == "sad")
    server.stop()
    wait_until(lambda: browser.text("error"))
    assert browser.text("microphone") == "Start the microphone"
    browser.upload(clip("sad"))
    wait_until(lambda: "does not answer" in browser.text("error"))
    browser.run("document.getElementById('error').textContent = ''")
    browser.click("microphone")
    wait_until(lambda: "does not answer" in browser.text("error"))
    assert len(browser.complaints()) == 1  # the browser's own, about worklet.js
    again = Server(server.app, port=int(server.url.rsplit(":")[-1]))
    browser.click("microphone")
    wait_until(lambda: browser.text("emotion") == "sad" and not browser.text("error"))
    again.stop()


def test_a_busy_server_is_said(page_server, browse, clip, wait_until, monkeypatch):
    browser = browse(page_server, clip("sad"))
    monkeypatch.setitem(LIMITS, "streams", 0)
    browser.click("microphone")
    wait_until(lambda: "busy" in browser.text("error"))


def test_keyboard_and_screen_reader_reach_everything(page_server, browse, clip, wait_until):
    from selenium.webdriver import ActionChains, Keys

    browser = browse(page_server, clip("sad"))
    reached = []
    for _ in range(4):
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        script = "return document.activeElement.id || document.activeElement.textContent"
        reached.append(browser.run(script))
    assert reached == ["microphone", "file", "angry", "disgust"]
    ActionChains(browser.driver).send_keys(Keys.ENTER).perform()
    wait_until(lambda: browser.text("to").endswith(" s"))  # the end of that clip
    tree = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node.get("ignored")
    }
    for role in ("button", "meter", "image", "img", "canvas"):
        assert all(name for found, name in named if found == role), role
    assert ("button", "Start the microphone") in named
    assert ("meter", "sad") in named
    assert browser.find("emotion").get_attribute("role") == "status"
    assert browser.find("error").get_attribute("role") == "alert"


def test_it_asks_nobody_but_its_server(page_server, browse, clip, wait_until):
    browser = browse(page_server, clip("sad"))
    browser.example("sad")
    wait_until(lambda: browser.text("to").endswith(" s"))
    entries = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    addresses = browser.run(entries)
    assert len(addresses) >= 4
    assert all(address.startswith((page_server.url, "blob:")) for address in addresses)


# Teach it your voice


def test_names_are_for_a_taught_voice_until_it_is_forgotten(
    page_server, browse, clip, teach, wait_until
):
    happy, voices = clip("happy", "cheese"), page_server.app.settings["voices"]
    browser = browse(page_server, happy)
    browser.click("microphone")
    wait_until(lambda: browser.text("emotion") == "happy")
    for _ in range(3):
        teach(browser, "sad")
    expected = "It has heard 3 sentences of yours: sad 3. From now on it answers for your voice."
    assert browser.text("taught") == expected
    wait_until(lambda: browser.text("emotion") == "sad")  # the microphone was open all the time
    wait_until(lambda: len(voices) == 1)  # those before are released
    button = browser.driver.switch_to.active_element
    assert button.accessible_name == "Record sad, 3 of 3"
    assert button.get_attribute("aria-disabled") == "true"
    button.click()
    assert browser.text("taught") == expected
    browser.upload(happy)
    wait_until(lambda: browser.text("to").endswith(" s") and browser.text("emotion") == "sad")
    browser.wipe()
    browser.click("microphone")
    wait_until(lambda: browser.text("emotion") == "sad")
    browser.click("forget")
    assert "What it learned from your voice is deleted" in browser.text("taught")
    assert browser.row("sad").text.endswith("0 of 3")
    wait_until(lambda: browser.text("emotion") == "happy" and not voices)


def test_two_voices_do_not_disturb_each_other(page_server, browse, clip, teach, wait_until):
    files = {"sad": clip("happy", "cheese"), "fear": clip("happy", "cheese", "SB")}
    browsers = {emotion: browse(page_server, file) for emotion, file in files.items()}

    def says(emotion):
        browsers[emotion].wipe()
        browsers[emotion].upload(files["sad"])
        wait_until(lambda: browsers[emotion].text("emotion") != "…")
        return browsers[emotion].text("emotion")

    for emotion, browser in browsers.items():
        teach(browser, emotion)
    assert says("sad") == "sad"
    assert says("fear") == "fear"
    browsers["sad"].click("forget")
    wait_until(lambda: len(page_server.app.settings["voices"]) == 1)
    assert says("sad") == "happy"
    assert says("fear") == "fear"
    content = files["sad"].read_bytes()
    assert requests.post(f"{page_server.url}/api/predict", content).json()["emotion"] == "happy"


def test_a_recording_that_is_too_short_or_silent_does_not_count(
    page_server, browse, tmp_path, teach, wait_until
):
    voice = np.tile(synthesize("cheese", "happy", "SA"), 6)
    sf.write(tmp_path / "a.wav", np.r_[np.zeros(3 * SAMPLE_RATE), voice], SAMPLE_RATE)
    browser = browse(page_server, tmp_path / "a.wav")
    twice = "const button = arguments[0].querySelector('button'); button.click(); button.click()"
    browser.run(twice, browser.row("sad"))
    wait_until(lambda: "does not count" in browser.text("taught"))
    browser.record("sad")
    wait_until(lambda: browser.recorded("sad") >= 1)
    browser.record("sad")
    wait_until(lambda: "Nobody speaks in it" in browser.text("taught"))
    assert browser.row("sad").text.endswith("0 of 3")
    assert not page_server.app.settings["voices"]
    teach(browser, "sad", seconds=4)
    assert "It has heard 1 sentence of yours: sad 1." in browser.text("taught")


def test_a_voice_that_the_server_lost_is_said_and_the_page_goes_on(
    page_server, browse, clip, teach, wait_until
):
    happy, voices = clip("happy", "cheese"), page_server.app.settings["voices"]
    browser = browse(page_server, happy)
    for ask in (lambda: browser.upload(happy), lambda: browser.click("microphone")):
        teach(browser, "sad")
        voices.clear()
        browser.wipe()
        ask()
        wait_until(lambda: "does not know your voice any more" in browser.text("taught"))
        wait_until(lambda: browser.text("emotion") == "happy")
        assert browser.row("sad").text.endswith("0 of 3")
        assert not browser.text("error")


def test_forget_me_also_ends_what_is_under_way(page_server, browse, clip, wait_until, monkeypatch):
    browser, go_on = browse(page_server, clip("happy")), threading.Event()
    slow = "ser_utils.deploy.server._meet"
    monkeypatch.setattr(slow, lambda *clips: go_on.wait() and _meet(*clips))
    button = browser.row("sad").find_element("tag name", "button")
    browser.record("sad")
    wait_until(lambda: browser.recorded("sad") >= 1)
    browser.click("forget")
    wait_until(lambda: button.get_attribute("aria-disabled") == "false" and button.text == "Record")
    browser.record("sad")
    wait_until(lambda: browser.recorded("sad") >= 1)
    browser.record("sad")
    wait_until(lambda: "Listening to it" in browser.text("taught"))
    browser.click("forget")
    go_on.set()
    wait_until(lambda: button.get_attribute("aria-disabled") == "false")
    assert not page_server.app.settings["voices"]
    assert browser.row("sad").text.endswith("0 of 3")
    assert "What it learned from your voice is deleted" in browser.text("taught")


def test_a_voice_lives_in_memory_and_goes_with_the_page(
    page_server, browse, clip, project, wait_until, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(project))
    monkeypatch.setitem(LIMITS, "clip", 1)
    monkeypatch.setitem(page_server.app.settings["about"]["enrol"], "seconds", 1)

    def listing():
        return {path for path in project.rglob("*") if "profile0" not in path.parts}

    browser = browse(page_server, clip("happy"))
    before = listing()
    browser.record("ps")  # it stops by itself
    wait_until(lambda: browser.row("ps").text.endswith("1 of 3"))
    assert "pleasantly surprised 1" in browser.text("taught")
    assert listing() == before
    assert len(page_server.app.settings["voices"]) == 1
    browser.driver.get("about:blank")
    wait_until(lambda: not page_server.app.settings["voices"])


def test_a_model_of_people_says_so_and_shows_its_card(
    page_server, listener, browse, clip, wait_until
):
    browser = browse(page_server, clip("happy"))
    assert not browser.find("open-card").is_displayed()
    assert "misjudge" not in browser.text("synthetic")
    other = copy.copy(listener)
    other.about, other.card = listener.about | {"corpora": ["tess", "demo"]}, "# What it learned"
    server = Server(build_app(other))
    browser.driver.get(server.url)
    wait_until(browser.is_ready)
    assert "learned from people and may misjudge synthetic voices" in browser.text("synthetic")
    browser.click("open-card")
    assert browser.find("card").find_element("tag name", "h1").text == "What it learned"
    browser.click("close-card")
    assert not browser.find("card").is_displayed()
    server.stop()
