"""Write the tables of book/results.md from the records in benchmarks/: `make pictures`.

What stands between ``<!-- name -->`` and ``<!-- end -->`` is replaced; a test compares both.
"""

import re
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
MODELS = [
    "most frequent",
    "logistic regression",
    "SVM",
    "eGeMAPS + SVM",
    "reference LSTM",
    "sequence LSTM",
    "build_crnn",
    "eGeMAPS + SVM, transductive",
]
NAMES = {"emodb": "EmoDB, 4 emotions", "ravdess": "RAVDESS, 8 emotions", "tess": "TESS"}


def known_voices():
    """Test accuracy of notebook 4's models: mean, lowest and highest seed."""
    record = pd.read_csv(BENCHMARKS / "lesson.csv")
    scores = 100 * record.groupby(["model", "corpus"], sort=False)["test"].agg(
        ["mean", "min", "max"]
    )
    cells = [f"{mean:.1f} ({low:.1f} to {high:.1f})" for mean, low, high in scores.to_numpy()]
    cells = [re.sub(r" \((\S+) to \1\)", "", cell) for cell in cells]
    return pd.Series(cells, scores.index).unstack(sort=False).rename(columns=NAMES)


def new_voices():
    """UAR on random clips of TESS, and on voices that were not in training."""
    network = pd.read_csv(BENCHMARKS / "generalize.csv", dtype={"fold": str})
    network = network.query("corpora == 'tess' and recipe == 'final'").assign(model="build_crnn")
    network = network.groupby(["model", "protocol", "fold"])["uar"].agg(["mean", "min", "max"])
    voices = pd.read_csv(BENCHMARKS / "protocols_speakers.csv")
    voices = voices.query("corpus == 'tess'").set_index(["model", "protocol", "speaker"])
    voices = voices[["uar", "uar_lowest", "uar_highest"]].set_axis(["mean", "min", "max"], axis=1)
    voices = 100 * pd.concat([voices, network])
    scores = pd.read_csv(BENCHMARKS / "generalize_scores.csv").query("recipe == 'final'")
    scores = scores.query("corpora == tested").assign(model="build_crnn", corpus=scores["tested"])
    scores = pd.concat([pd.read_csv(BENCHMARKS / "protocols.csv"), scores])
    scores = scores.set_index(["corpus", "protocol", "model"])[["uar", "uar_low", "uar_high"]] * 100
    scores = scores.sort_index()
    table = pd.DataFrame(index=MODELS)
    table["TESS, random clips"] = scores.loc["tess", "random"]["uar"].map("{:.1f}".format)
    for voice in ("OAF", "YAF"):
        rows = voices.xs(("unseen speaker", voice), level=(1, 2)).itertuples()
        cells = {row.Index: f"{row[1]:.1f} ({row[2]:.1f} to {row[3]:.1f})" for row in rows}
        table[f"TESS, {voice} new"] = pd.Series(cells).str.replace(
            r" \((\S+) to \1\)", "", regex=True
        )
    for corpus in ("emodb", "ravdess"):
        rows = scores.loc[corpus, "unseen speaker"].itertuples()
        cells = {row.Index: f"{row[1]:.1f} ({row[2]:.1f} to {row[3]:.1f})" for row in rows}
        table[f"{NAMES[corpus]}, new"] = pd.Series(cells)
    return table


def markdown(table, title):
    """Write a table in Markdown; pandas would need another package for that."""
    lines = [[title, *table.columns], ["---"] * (1 + table.shape[1])]
    lines += [[name, *cells] for name, cells in zip(table.index, table.to_numpy(), strict=True)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def app():
    """What the app answers and costs beside `EmotionRecognizer`."""
    record = pd.read_csv(BENCHMARKS / "app.csv").query("corpus == 'ravdess'")
    values = record["value"].map("{:.4g}".format)
    return pd.DataFrame({"RAVDESS": values, "n": record["n"].map(str)}).set_axis(record["what"])


TABLES = {
    "known voices": lambda: markdown(known_voices(), "Accuracy in %"),
    "new voices": lambda: markdown(new_voices(), "UAR in %"),
    "app": lambda: markdown(app(), "What"),
}


def fill(text):
    """Put the tables between their marks."""
    for name, make in TABLES.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text = re.sub(
            pattern, lambda marks, make=make: marks[1] + make() + marks[2], text, flags=re.S
        )
    return text


if __name__ == "__main__":
    page = ROOT / "book" / "results.md"
    page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")
