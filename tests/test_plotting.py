"""Every figure draws what it is given, on the axes it is given, with units on its axes."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ser_utils import plotting

mpl.use("Agg")
HISTORY = {"accuracy": [0.2, 0.6], "val_accuracy": [0.1, 0.5], "loss": [2, 1], "val_loss": [2, 1.5]}
SPEAKERS = pd.DataFrame(
    {
        "model": ["a", "a", "b"],
        "protocol": ["random", "unseen speaker", "random"],
        "speaker": ["OAF", "OAF", "YAF"],
        "uar": [0.9, 0.5, 0.8],
    }
)
CALLS = {
    "plot_emotion_counts": ((pd.DataFrame({"emotion": ["sad", "sad", "angry"]}),), {}),
    "plot_waveform": ((np.sin(np.arange(16000) / 10), 16000), {}),
    "plot_spectrogram": ((np.zeros((257, 60)), 16000), {"hop_length": 256}),
    "plot_history": ((HISTORY,), {}),
    "plot_confusion": ((np.array([[3, 1], [0, 4]]), ["angry", "sad"]), {}),
    "plot_protocols": ((SPEAKERS,), {"chance": 0.14}),
    "plot_reliability": ((pd.DataFrame({"confidence": [0.9], "accuracy": [0.6]}),), {}),
}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_every_figure_is_tested():
    assert set(CALLS) == {name for name in dir(plotting) if name.startswith("plot_")}


@pytest.mark.parametrize("name", CALLS)
def test_a_figure_draws_on_the_axes_it_gets_and_returns_them(name):
    arguments, settings = CALLS[name]
    ax = plt.subplots()[1]
    assert getattr(plotting, name)(*arguments, **settings, ax=ax) is ax
    assert ax.has_data()
    alone = getattr(plotting, name)(*arguments, **settings)
    assert alone is not ax
    assert all((alone.get_title(), alone.get_xlabel(), alone.get_ylabel()))


def test_bars_are_as_high_as_the_counts():
    ax = plotting.plot_emotion_counts(pd.DataFrame({"emotion": ["sad", "sad", "angry"]}))
    heights = {bar.get_x(): bar.get_height() for bar in ax.patches}
    assert [heights[x] for x in sorted(heights)] == [1, 2]


def test_a_confusion_matrix_shows_counts_and_colours_shares():
    ax = plotting.plot_confusion(np.array([[3, 1], [0, 4]]), ["angry", "sad"])
    assert [text.get_text() for text in ax.texts] == ["3", "1", "", "4"]
    np.testing.assert_allclose(ax.collections[0].get_array().ravel(), [0.75, 0.25, 0, 1])


def test_an_emotion_without_clips_is_drawn_as_zero():
    ax = plotting.plot_confusion(np.array([[0, 0], [1, 3]]), ["angry", "sad"])
    assert np.isfinite(ax.collections[0].get_array()).all()


def test_a_history_has_both_lines():
    ax = plotting.plot_history(HISTORY, metric="loss")
    assert [line.get_ydata().tolist() for line in ax.lines] == [[2, 1], [2, 1.5]]
    assert [line.get_xdata().tolist() for line in ax.lines] == [[1, 2], [1, 2]]


def test_each_emotion_has_a_colour_of_its_own():
    palette = plotting.emotion_palette(["sad", "angry", "sad", "excited"])
    assert list(palette) == ["angry", "excited", "sad"]
    assert len(set(palette.values())) == 3
    assert len(set(plotting.EMOTION_COLOURS.values())) == len(plotting.EMOTION_COLOURS)
