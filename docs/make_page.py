"""Take docs/page.png, the page while it listens: `make pictures`.

The model is the one that `make serve` opens. The microphone plays a minute of the demo corpus,
a voice after the other. What the page's files were then stands in the picture's metadata, so that
a test can say when it is older than they are. Needs Chromium and its driver.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile as sf
from PIL import Image, PngImagePlugin

from ser_utils import EmotionRecognizer, build_app
from ser_utils.corpora.demo_corpus import EMOTIONS, SAMPLE_RATE, VOICES, synthesize
from ser_utils.deploy.recognizer import ACTED6
from ser_utils.deploy.server import Server
from tests.browser import Browser, page_digest

PICTURE = Path(__file__).with_name("page.png")
MINUTE = 60  # s

clips = [synthesize("moon", emotion, voice) for voice in VOICES for emotion in EMOTIONS]
server = Server(build_app(EmotionRecognizer.load(ACTED6)))
with tempfile.TemporaryDirectory() as folder:
    sf.write(f"{folder}/heard.wav", np.concatenate(clips), SAMPLE_RATE)
    browser = Browser(server.url, f"{folder}/profile", f"{folder}/heard.wav")
    while not browser.is_ready():
        time.sleep(0.1)
    browser.width(1200, 1520)
    browser.click("microphone")
    time.sleep(MINUTE)
    browser.screenshot(PICTURE)
    browser.driver.quit()
server.stop()
facts = PngImagePlugin.PngInfo()
facts.add_text("page", page_digest())
Image.open(PICTURE).convert("P", palette=Image.Palette.ADAPTIVE).save(PICTURE, pnginfo=facts)
