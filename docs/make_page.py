"""Take docs/page.png and docs/app.png and draw the app's icons: `make pictures`.

The first is the page while it listens, with a server and on a wide screen; the second is the app on
a phone. Both have the model that `make serve` opens, and the microphone plays a minute of the demo
corpus, a voice after the other. Each picture stores a digest of the page's files, so that a test
notices when it is out of date. Needs Chromium and its driver, and npm.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile as sf
from PIL import Image, ImageDraw, PngImagePlugin

from docs.make_app import write_app
from ser_utils import EmotionRecognizer, build_app
from ser_utils.corpora.demo_corpus import EMOTIONS, SAMPLE_RATE, VOICES, synthesize
from ser_utils.deploy.recognizer import ACTED6, NOT_SURE
from ser_utils.deploy.server import PAGE, Server
from tests.browser import Browser, StaticHost, page_digest

HERE = Path(__file__).parent
MINUTE = 60  # s
BARS = (6, 4), (3, 10), (1, 14), (4, 8), (6, 4)  # top and height of each, as in icon.svg, of 16


def draw_icon(pixels):
    """Draw the bars of icon.svg in white, small enough for a mask of any shape."""
    icon = Image.new("P", (pixels, pixels), 0)
    icon.putpalette([0, 90, 142, 255, 255, 255])
    unit, pen = pixels / 28, ImageDraw.Draw(icon)
    for i, (top, height) in enumerate(BARS):
        left, upper = (7 + 3 * i) * unit, (6 + top) * unit
        pen.rectangle([left, upper, left + 2 * unit, upper + height * unit], fill=1)
    icon.save(PAGE / f"icon-{pixels}.png", optimize=True)


def take(name, host, folder, width, height):
    """Let the page listen for a minute and keep what it looks like when it names an emotion."""
    browser = Browser(host.url, f"{folder}/{name}", f"{folder}/heard.wav")
    while not browser.is_ready():
        time.sleep(0.1)
    browser.width(width, height)
    browser.click("microphone")
    time.sleep(MINUTE)
    while browser.text("emotion") == NOT_SURE:
        time.sleep(0.1)
    browser.screenshot(HERE / name)
    browser.driver.quit()
    host.stop()
    facts = PngImagePlugin.PngInfo()
    facts.add_text("page", page_digest())
    picture = Image.open(HERE / name).convert("P", palette=Image.Palette.ADAPTIVE)
    picture.save(HERE / name, pnginfo=facts)


for pixels in (192, 512):
    draw_icon(pixels)
recognizer = EmotionRecognizer.load(ACTED6)
with tempfile.TemporaryDirectory() as folder:
    clips = [synthesize("moon", emotion, voice) for voice in VOICES for emotion in EMOTIONS]
    sf.write(f"{folder}/heard.wav", np.concatenate(clips), SAMPLE_RATE)
    take("page.png", Server(build_app(recognizer)), folder, 1200, 1520)
    take("app.png", StaticHost(write_app(recognizer, f"{folder}/app")), folder, 360, 800)
