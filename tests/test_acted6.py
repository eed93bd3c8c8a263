"""The model that comes along: it loads in a fresh clone, and its card says what the record says."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests

from ser_utils.deploy.recognizer import ACTED6, NOT_SURE
from ser_utils.deploy.server import Server, build_app
from ser_utils.models import adapt_last_layer

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
RECORD = pd.read_csv(BENCHMARKS / "acted6.csv")


def test_it_is_small_and_knows_six_emotions_of_people_who_agreed_to_be_heard(acted6):
    assert sum(file.stat().st_size for file in ACTED6.iterdir()) < 1_500_000
    assert acted6.emotions == ["angry", "fear", "happy", "neutral", "sad", "surprise"]
    assert acted6.about["corpora"] == ["ravdess"]
    assert "CC BY-NC-SA 4.0" in acted6.about["licence"]
    assert acted6.prototypes.shape == (6, len(acted6.kernel))


def test_its_threshold_is_one_that_names_some_and_not_all(acted6):
    everyone = RECORD[(RECORD["tested"] == "ravdess") & (RECORD["by"] == "all")].iloc[0]
    assert 0.3 < acted6.threshold < 0.95
    assert 0.2 < everyone["named"] < 0.8
    assert everyone["right_of_named"] > everyone["right"] + 0.1
    noise = 0.1 * np.random.default_rng(0).normal(size=48000)
    assert set(acted6.predict(noise * 1e-3, 16000).timeline["emotion"]) == {NOT_SURE}


def test_every_figure_of_its_card_is_one_of_the_record(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from train_acted6 import fill_card

    card = (ACTED6 / "MODEL_CARD.md").read_text(encoding="utf-8")
    live = pd.read_csv(BENCHMARKS / "live.csv")
    assert fill_card(card, RECORD, live) == card
    assert fill_card(card, RECORD.assign(right=RECORD["right"] / 2), live) != card


@pytest.mark.parametrize(
    "words",
    [
        "must not be used for",
        "Article 5(1)(f)",
        "CC BY-NC-SA 4.0",
        "| ravdess | noise, 0 dB |",
        "| ravdess | telephone |",
        "| emodb | as recorded |",
        "| tess | as recorded |",
        "| women |",
        "| coughing |",
        "| silence |",
    ],
)
def test_its_card_tells_what_one_has_to_know(words):
    assert words in (ACTED6 / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_the_page_shows_its_card(acted6):
    server = Server(build_app(acted6))
    about = requests.get(f"{server.url}/api").json()
    server.stop()
    assert not about["synthetic"]
    assert "<h1>acted6" in about["card"]
    assert about["card"].count("<table>") == 5


def test_one_neutral_sentence_does_not_make_it_deaf_to_the_others(acted6):
    means, layer = acted6.prototypes, (acted6.kernel, acted6.bias)
    neutral = np.array([acted6.emotions.index("neutral")])
    kernel, bias = adapt_last_layer(means[neutral], neutral, *layer, prototypes=means)
    assert (means @ kernel + bias).argmax(axis=1).tolist() == list(range(6))


def test_the_command_line_uses_it_unless_told_otherwise():
    command = [sys.executable, "-m", "ser_utils.deploy.recognizer", ACTED6 / "golden.wav"]
    result = subprocess.run(command, capture_output=True, text=True)
    named = ["angry", "fear", "happy", "neutral", "sad", "surprise"]
    assert result.stdout.split()[4:10] == named, result.stderr
