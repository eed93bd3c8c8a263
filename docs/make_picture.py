"""Draw README.md's pictures: one word in seven emotions, and two records."""

from pathlib import Path

import librosa
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from ser_utils import load_audio, scan_corpus
from ser_utils.corpora.demo_corpus import make_demo_corpus
from ser_utils.dataset import matched_clips
from ser_utils.evaluation import PROTOCOLS
from ser_utils.plotting import emotion_palette, plot_protocols

ROOT = Path(__file__).parent
clips = matched_clips(scan_corpus(make_demo_corpus(ROOT.parent / "data" / "demo")))
palette = emotion_palette(clips["emotion"])
fig, axes = plt.subplots(2, len(clips), figsize=(12, 3.2), height_ratios=(1, 2), sharex=True)
for (top, bottom), emotion, path in zip(axes.T, clips["emotion"], clips["path"], strict=True):
    y, sr = load_audio(path)
    mel = librosa.feature.melspectrogram(y=y, sr=sr, n_fft=512, hop_length=256, n_mels=64)
    seconds = np.arange(len(y)) / sr
    top.plot(seconds, y, color=palette[emotion], lw=0.5)
    top.set(title=emotion, ylim=(-0.5, 0.5))
    extent = (0, seconds[-1], 0, 64)
    colours = {"cmap": "magma", "vmin": -60, "vmax": 15}
    bottom.imshow(librosa.power_to_db(mel), origin="lower", aspect="auto", extent=extent, **colours)
for ax in axes.flat:
    ax.axis("off")
fig.suptitle("one invented voice, one sentence: the demo corpus of ser_utils", y=0.04, fontsize=10)
fig.subplots_adjust(left=0.01, right=0.99, top=0.9, bottom=0.08, wspace=0.06, hspace=0.05)
fig.savefig(ROOT / "seven_emotions.png", dpi=100)

speakers = pd.read_csv(ROOT.parent / "benchmarks" / "protocols_speakers.csv")
models = ["most frequent", "logistic regression", "SVM", "reference LSTM", "sequence LSTM"]
order = {name: i for i, name in enumerate([*models, *PROTOCOLS])}
speakers = speakers[(speakers["corpus"] == "tess") & speakers["model"].isin(models)]
speakers = speakers.sort_values(["model", "protocol"], key=lambda names: names.map(order))
plot_protocols(speakers, chance=1 / 7).set(title="TESS: one dot for each of the two voices")
plt.savefig(ROOT / "protocols_tess.png", dpi=90)

curve = pd.read_csv(ROOT.parent / "benchmarks" / "learning_curve.csv")
curve["drawn from"] = curve["along"].map({"speakers": "some speakers", "clips": "all speakers"})
curve["UAR (%)"], curve["corpus"] = (
    100 * curve["uar"],
    curve["corpus"].map({"ravdess": "RAVDESS", "emodb": "EmoDB"}),
)
style = {"hue": "model", "style": "drawn from", "errorbar": None, "markers": True, "ms": 8}
grid = sns.relplot(
    curve, x="n_speakers", y="UAR (%)", col="corpus", kind="line", height=3.5, **style
)
_ = grid.set(xlabel="speakers (or as many clips)", ylim=(0, 100)).set_titles("{col_name}")
grid.savefig(ROOT / "learning_curve.png", dpi=90)
