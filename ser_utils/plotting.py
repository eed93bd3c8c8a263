"""The figures that more than one notebook draws; each takes ``ax=None`` and returns it."""

import librosa.display
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.colors import PowerNorm
from matplotlib.ticker import MaxNLocator

# One colour for one emotion through the whole series: Okabe and Ito's palette for the colour-blind
# (jfly.uni-koeln.de/color), with a dark grey for its black, and Tol's for what TESS does not have.
# The closest two of a corpus still differ by 17 (CIE76) for eyes without green or red receptors.
EMOTION_COLOURS = {
    "angry": "#D55E00",
    "disgust": "#009E73",
    "fear": "#CC79A7",
    "happy": "#E69F00",
    "neutral": "#444444",
    "ps": "#56B4E9",
    "sad": "#0072B2",
    "calm": "#DDCC77",
    "surprise": "#88CCEE",
    "bored": "#332288",
}


def emotion_palette(emotions):
    """Give each emotion its colour, and black to one that has none.

    Parameters
    ----------
    emotions : iterable of str

    Returns
    -------
    dict of str to str
        In alphabetical order, so that plots and legends agree.
    """
    return {name: EMOTION_COLOURS.get(name, "#000000") for name in sorted(set(emotions))}


def plot_emotion_counts(clips, *, ax=None):
    """Count plot of the emotions of a table of clips. Notebook: 02_eda."""
    ax = ax or plt.subplots(figsize=(10, 3.5), layout="constrained")[1]
    palette = emotion_palette(clips["emotion"])
    exact = {"palette": palette, "saturation": 1}  # seaborn mutes the colours of bars otherwise
    sns.countplot(clips, x="emotion", order=palette, hue="emotion", ax=ax, **exact)
    ax.set(xlabel="emotion", ylabel="clips", title="Clips of each emotion")
    return ax


def plot_waveform(y, sr, *, colour="#333333", ax=None):
    """Waveform over time. Notebooks: 01_load, 02_eda.

    Parameters
    ----------
    y : np.ndarray [shape=(n_samples,)]
    sr : int
        Sample rate (in Hz).
    """
    ax = ax or plt.subplots(figsize=(10, 2.5), layout="constrained")[1]
    librosa.display.waveshow(y, sr=sr, color=colour, ax=ax)
    ax.set(xlabel="time (s)", ylabel="amplitude", title="Waveform")
    return ax


def plot_spectrogram(decibels, sr, *, hop_length, y_axis="linear", ax=None, **limits):
    """Spectrogram in dB with its colour bar. Notebooks: 02_eda, 03_mfcc, 06_features, 09.

    Parameters
    ----------
    decibels : np.ndarray [shape=(n_bands, n_frames)]
        Levels in dB, as ``librosa.amplitude_to_db`` or ``power_to_db`` gives them.
    sr, hop_length : int
        Sample rate (in Hz) and step from frame to frame (in samples).
    y_axis : {"linear", "mel"}
        What the rows are.
    **limits
        ``vmin`` and ``vmax`` (in dB) where several pictures share one colour scale.
    """
    ax = ax or plt.subplots(figsize=(10, 3.5), layout="constrained")[1]
    axes = {"sr": sr, "hop_length": hop_length, "x_axis": "time", "y_axis": y_axis}
    picture = librosa.display.specshow(decibels, **axes, cmap="magma", ax=ax, **limits)
    ax.figure.colorbar(picture, ax=ax, label="level (dB)")
    ax.set(xlabel="time (s)", ylabel="frequency (Hz)", title="Spectrogram")
    if y_axis == "mel":  # librosa would label powers of two beyond the top
        ax.set_yticks([hz for hz in (0, 500, 1000, 2000, 4000, 8000) if hz <= sr / 2])
    return ax


def plot_history(history, *, metric="accuracy", ax=None):
    """Training and validation curve of one metric. Notebook: 04_lstm_train.

    On axes that are given, it draws no legend: a figure with several of them needs only one.

    Parameters
    ----------
    history : dict of str to list of float
        ``model.fit(...).history``.
    metric : {"accuracy", "loss"}
    """
    alone = ax is None
    ax = ax or plt.subplots(figsize=(9, 4), layout="constrained")[1]
    epochs = np.arange(1, len(history[metric]) + 1)
    ax.plot(epochs, history[metric], color="#0072B2", lw=2.5, label="training")
    ax.plot(epochs, history[f"val_{metric}"], color="#D55E00", lw=2.5, ls="--", label="validation")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    unit = {"accuracy": "share of clips", "loss": "cross-entropy, nats"}[metric]
    ax.set(xlabel="epoch", ylabel=f"{metric} ({unit})", title=metric.capitalize())
    if alone:
        ax.legend()
    return ax


def plot_confusion(matrix, emotions, *, ax=None):
    """Confusion matrix: colour is the share of the true class, the number is the count.

    Parameters
    ----------
    matrix : np.ndarray [shape=(n_classes, n_classes)]
        Counts, a row for each true emotion, as scikit-learn's ``confusion_matrix`` gives it.
    emotions : sequence of str
        Names in the order of the rows.

    Notes
    -----
    Notebook: 04_lstm_train, twice.
    """
    ax = ax or plt.subplots(figsize=(9, 6), layout="constrained")[1]
    shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    counts = np.where(matrix, matrix.astype(str), "")  # zeros would hide the few errors
    names = {"xticklabels": emotions, "yticklabels": emotions}
    bar = {"label": "share of the row", "ticks": [0, 0.1, 0.25, 0.5, 1]}
    style = {"norm": PowerNorm(0.5, 0, 1), "cmap": "Blues", "linewidths": 1, "linecolor": "#DDDDDD"}
    sns.heatmap(shares, annot=counts, fmt="", ax=ax, cbar_kws=bar, **style, **names)
    ax.tick_params(axis="y", rotation=0)
    ax.set(xlabel="answer", ylabel="intended emotion", title="Confusion matrix")
    plt.setp(ax.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")
    return ax


def plot_protocols(speakers, *, chance=None, ax=None):
    """UAR of each speaker under each protocol, one colour for each model.

    Parameters
    ----------
    speakers : pd.DataFrame
        From `ser_utils.evaluation.score_speakers`.
    chance : float, optional
        UAR of guessing, drawn as a line.

    Notes
    -----
    Notebook: 05_evaluate, twice.
    """
    ax = ax or plt.subplots(figsize=(13, 4.5), layout="constrained")[1]
    style = {"dodge": True, "jitter": False, "size": 9, "alpha": 0.8, "palette": "colorblind"}
    sns.stripplot(speakers, x="protocol", y="uar", hue="model", **style, ax=ax)
    if chance is not None:
        ax.axhline(chance, color="#333333", ls=":", label="guessing")
    ax.set(ylim=(-0.03, 1.05), xlabel="protocol", ylabel="UAR of a speaker")
    ax.set(title="One dot for each speaker")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def plot_reliability(bins, *, ax=None, **style):
    """Accuracy against confidence, and the diagonal on which both agree.

    Parameters
    ----------
    bins : pd.DataFrame
        From `ser_utils.evaluation.calibration_error`.
    **style
        For the line, such as ``label``.

    Notes
    -----
    Notebook: 05_evaluate, twice.
    """
    ax = ax or plt.subplots(figsize=(9, 5), layout="constrained")[1]
    ax.plot([0, 1], [0, 1], color="#999999", ls=":")
    ax.plot(bins["confidence"], bins["accuracy"], marker="o", **style)
    ax.set(xlabel="confidence", ylabel="accuracy", title="Reliability", xlim=(0, 1), ylim=(0, 1))
    return ax
