"""What the tests of the page share, with a server behind it or without."""

import numpy as np
import pytest
import soundfile as sf
from browser import Browser

from ser_utils import (
    EmotionRecognizer,
    FeatureConfig,
    build_lstm,
    extract_features,
    import_keras,
    set_seed,
)
from ser_utils.corpora.demo_corpus import EMOTIONS, SAMPLE_RATE, WORDS, synthesize
from ser_utils.deploy.recognizer import ACTED6


@pytest.fixture(scope="session")
def listener():
    """A recogniser of one synthetic voice, trained in seconds on windows as in notebook 10."""
    config = FeatureConfig(duration=3.0)
    rng, names, rows = np.random.default_rng(0), [], []
    for k, emotion in enumerate(EMOTIONS):
        for word in list(WORDS)[1::2]:
            y = synthesize(word, emotion, "SA")[: 3 * SAMPLE_RATE]
            y = np.interp(np.arange(0, len(y), SAMPLE_RATE / 16000), np.arange(len(y)), y)
            for start in rng.integers(0, len(y), 4):
                rows.append(extract_features(np.resize(np.roll(y, -start), 48000), config=config))
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
    return EmotionRecognizer(model, EMOTIONS, config=config, threshold=0.6, about=about)


@pytest.fixture(scope="session")
def acted6():
    """The model that comes along."""
    return EmotionRecognizer.load(ACTED6)


@pytest.fixture
def clip(tmp_path):
    """Write one word in one emotion, again and again, as the fake microphone plays it."""

    def write(emotion, word="moon", speaker="SA"):
        path = tmp_path / f"{emotion}-{speaker}.wav"
        sf.write(path, np.tile(synthesize(word, emotion, speaker), 6), SAMPLE_RATE)
        return path

    return write


@pytest.fixture
def teach(wait_until):
    """Record some seconds of what the microphone hears as an emotion, and wait for the answer."""

    def record(browser, emotion, seconds=1):
        known = int(browser.row(emotion).text[-6])
        browser.record(emotion)
        wait_until(lambda: browser.recorded(emotion) >= seconds)
        browser.record(emotion)
        wait_until(lambda: browser.row(emotion).text.endswith(f"{known + 1} of 3"))

    return record


@pytest.fixture
def browse(tmp_path, wait_until):
    browsers = []

    def start(server, heard):
        browsers.append(Browser(server.url, tmp_path / f"profile{len(browsers)}", heard))
        wait_until(browsers[-1].is_ready)
        return browsers[-1]

    yield start
    for browser in browsers:
        complaints = browser.complaints()
        browser.driver.quit()
        assert not complaints
