"""The page in a real browser: Chromium, headless, with a microphone that plays a file."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np

from ser_utils.deploy import server

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
--disable-background-networking --disable-component-update --disable-dev-shm-usage
--autoplay-policy=no-user-gesture-required --use-fake-ui-for-media-stream
--use-fake-device-for-media-stream --window-size=1200,1100"""
PAGE = Path(server.__file__).parent / "page"


def page_digest():
    """Digest of the page's files, whatever their line ends."""
    content = b"".join(path.read_bytes() for path in sorted(PAGE.iterdir()))
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()[:16]


class Browser:
    """The page, open in a headless browser.

    Parameters
    ----------
    url : str
        Address of the page.
    profile : Path
        Folder for what the browser keeps.
    heard : Path
        A WAV file; the microphone plays it again and again.
    """

    def __init__(self, url, profile, heard):
        os.environ["SE_AVOID_STATS"] = "true"  # it would ask the network otherwise
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        flags = [*FLAGS.split(), f"--user-data-dir={profile}"]
        for flag in [*flags, f"--use-file-for-fake-audio-capture={heard}"]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        self.driver.set_script_timeout(60)
        self.driver.get(url)

    def is_ready(self):
        return self.run("return document.documentElement.dataset.ready")

    def run(self, script, *arguments):
        """Run a script in the page and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def find(self, name):
        return self.driver.find_element("id", name)

    def text(self, name):
        return self.find(name).text

    def bars(self):
        """Each bar in one look: its emotion, number, value for the screen reader, drawn share."""
        script = """
            return [...document.querySelectorAll("#bars [role=meter]")].map((bar) => [
              bar.getAttribute("aria-label"),
              parseInt(bar.nextSibling.textContent),
              parseInt(bar.getAttribute("aria-valuenow")),
              100 * bar.firstChild.getBoundingClientRect().width
                / bar.getBoundingClientRect().width])"""
        return self.run(script)

    def shares(self):
        """What the bars say (%), as the screen reader hears it."""
        return {name: value or 0 for name, _, value, _ in self.bars()}

    def click(self, name):
        self.find(name).click()

    def upload(self, path):
        self.find("file").send_keys(str(path))

    def example(self, name):
        self.driver.find_element("xpath", f"//div[@id='examples']/button[.='{name}']").click()

    def wipe(self):
        """Wipe what it says, so that only a new answer is seen."""
        self.run("document.getElementById('emotion').textContent = '…'")

    def row(self, emotion):
        """The row of an emotion where the page is taught a voice."""
        return self.driver.find_element("css selector", f"#sentences [data-emotion={emotion}]")

    def recorded(self, emotion):
        """Seconds that are recorded so far, as such a row tells while it records."""
        words = self.row(emotion).text.split()
        return int(words[-4]) if words[-1] == "s" else 0

    def record(self, emotion):
        """Press the button of such a row."""
        button = self.row(emotion).find_element("tag name", "button")
        self.run("arguments[0].scrollIntoView({ block: 'center' })", button)
        button.click()

    def width(self, pixels, height):
        metrics = {
            "width": pixels,
            "height": height,
            "deviceScaleFactor": 1,
            "mobile": pixels < 600,
        }
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def screenshot(self, path):
        self.driver.save_screenshot(path)

    def canvas(self, name):
        """Pixels of a canvas, np.ndarray [shape=(height, width, 4)]: red, green, blue, alpha."""
        script = """
            const canvas = document.getElementById(arguments[0]);
            const { width, height } = canvas;
            const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
            return [height, width, Array.from(pixels)];"""
        height, width, pixels = self.run(script, name)
        return np.array(pixels).reshape(height, width, 4)

    def complaints(self):
        """Errors of the page's own script, not of the network."""
        log = self.driver.get_log("browser")
        return [line["message"] for line in log if line["source"] != "network"]
