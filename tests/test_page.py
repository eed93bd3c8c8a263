"""The page in a real browser: Debian's Chromium, headless, with a microphone that plays a clip.

Skipped where ``chromium`` and ``chromedriver`` are not installed. Each run leaves two screenshots
in ``output/``, page-desktop.png and page-phone.png, for your eyes.
"""

import os
import shutil
import time

import numpy as np
import pytest
import soundfile as sf

from ser_utils import (
    EmotionRecognizer,
    FeatureConfig,
    build_app,
    build_lstm,
    extract_features,
    import_keras,
    output_dir,
    set_seed,
)
from ser_utils.corpora.demo_corpus import EMOTIONS, SAMPLE_RATE, WORDS, synthesize
from ser_utils.deploy.server import LIMITS, Server

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="the page is not tested: chromium or chromedriver is not installed",
)
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
--disable-background-networking --disable-component-update --disable-dev-shm-usage
--autoplay-policy=no-user-gesture-required --use-fake-ui-for-media-stream
--use-fake-device-for-media-stream --window-size=1200,1100"""
CONFIG = FeatureConfig(duration=3.0)


@pytest.fixture(scope="module")
def listener():
    """A recogniser of one synthetic voice, trained in seconds on windows as notebook 8 has them."""
    rng, names, rows = np.random.default_rng(0), [], []
    for k, emotion in enumerate(EMOTIONS):
        for word in list(WORDS)[1::2]:
            y = synthesize(word, emotion, "SA")[: 3 * SAMPLE_RATE]
            y = np.interp(np.arange(0, len(y), SAMPLE_RATE / 16000), np.arange(len(y)), y)
            for start in rng.integers(0, len(y), 4):
                rows.append(extract_features(np.resize(np.roll(y, -start), 48000), config=CONFIG))
                names.append(k)
    X = np.array(rows)
    frames = X.reshape(-1, X.shape[2])
    scaling = import_keras().layers.Normalization(
        mean=frames.mean(axis=0), variance=frames.var(axis=0)
    )
    set_seed(0)
    model = build_lstm((None, X.shape[2]), 7, units=48, normalization=scaling)
    model.fit(X, np.eye(7)[names], epochs=18, batch_size=32, verbose=0)
    about = {"corpora": ["demo"], "protocol": "one voice", "figures": {}, "licence": "CC0"}
    return EmotionRecognizer(model, EMOTIONS, config=CONFIG, threshold=0.6, about=about)


@pytest.fixture
def page_server(listener):
    server = Server(build_app(listener))
    yield server
    server.stop()


@pytest.fixture
def clip(tmp_path):
    """Write one word in one emotion, again and again, as the fake microphone plays it."""

    def write(emotion, word="moon"):
        path = tmp_path / f"{emotion}.wav"
        sf.write(path, np.tile(synthesize(word, emotion, "SA"), 6), SAMPLE_RATE)
        return path

    return write


class Browser:
    """A headless browser with the page open."""

    def __init__(self, server, profile, heard):
        os.environ["SE_AVOID_STATS"] = "true"
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        flags = [*FLAGS.split(), f"--user-data-dir={profile}"]
        for flag in [*flags, f"--use-file-for-fake-audio-capture={heard}"]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        self.url = server.url
        self.driver.get(server.url)

    def find(self, name):
        return self.driver.find_element("id", name)

    def text(self, name):
        return self.find(name).text

    def shares(self):
        """What the bars say, as the screen reader hears it."""
        bars = self.driver.find_elements("css selector", "#bars [role=meter]")
        return {
            bar.get_attribute("aria-label"): int(bar.get_attribute("aria-valuenow") or 0)
            for bar in bars
        }

    def click(self, name):
        self.find(name).click()

    def upload(self, path):
        self.find("file").send_keys(str(path))

    def example(self, name):
        self.driver.find_element("xpath", f"//div[@id='examples']/button[.='{name}']").click()

    def width(self, pixels, height):
        metrics = {
            "width": pixels,
            "height": height,
            "deviceScaleFactor": 1,
            "mobile": pixels < 600,
        }
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def screenshot(self, name):
        self.driver.save_screenshot(output_dir() / name)

    def complaints(self):
        """Errors of the page's own script, not of the network."""
        log = self.driver.get_log("browser")
        return [line["message"] for line in log if line["source"] != "network"]


@pytest.fixture
def browse(tmp_path, wait_until):
    browsers = []

    def start(server, heard):
        browsers.append(Browser(server, tmp_path / "profile", heard))
        ready = "return document.documentElement.dataset.ready"
        wait_until(lambda: browsers[0].driver.execute_script(ready))
        return browsers[0]

    yield start
    for browser in browsers:
        complaints = browser.complaints()
        browser.driver.quit()
        assert not complaints


@pytest.mark.parametrize("emotion", ["sad", "angry", "happy"])
def test_the_microphone_moves_the_bars_to_the_emotion(
    page_server, browse, clip, wait_until, emotion
):
    browser = browse(page_server, clip(emotion))
    browser.click("microphone")
    wait_until(lambda: browser.text("emotion") == emotion and browser.shares()[emotion] >= 60, 20)
    assert emotion in browser.text("summary")
    seen = set()
    for _ in range(20):
        time.sleep(0.1)
        seen.add(tuple(browser.shares().values()))
    assert len(seen) > 3  # they move while it speaks
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
    browser.width(1200, 1250)
    browser.screenshot("page-desktop.png")
    for width in (390, 320):
        browser.width(width, 2000)
        assert browser.driver.execute_script("return document.body.scrollWidth") <= width
    browser.width(390, 2000)
    browser.screenshot("page-phone.png")


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
    wait_until(lambda: browser.text("emotion") == "sad", 20)
    server.stop()
    wait_until(lambda: browser.text("error"))
    assert browser.find("microphone").get_attribute("aria-pressed") == "false"
    browser.upload(clip("sad"))
    wait_until(lambda: "does not answer" in browser.text("error"))
    again = Server(server.app, port=int(server.url.rsplit(":")[-1]))
    browser.click("microphone")
    wait_until(lambda: browser.text("emotion") == "sad" and not browser.text("error"), 20)
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
        reached.append(
            browser.driver.execute_script(
                "return document.activeElement.id || document.activeElement.textContent"
            )
        )
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
    addresses = browser.driver.execute_script(entries)
    assert len(addresses) >= 4
    assert all(address.startswith((page_server.url, "blob:")) for address in addresses)
