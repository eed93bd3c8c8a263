"""How time and memory of `extract_corpus` grow with the corpus: 2,800 to 100,000 clips.

    python benchmarks/scale.py

The clips are those of the demo corpus, over and over, so that every size has the same lengths.
Each size is extracted by a process of its own, without a cache from before, with two workers.
Memory is the most that was resident: in the process after its imports, in the end, and in the
largest worker. Writes ``scale.csv`` and ``scale.png`` beside this
file; takes about four minutes and 5 GB in ``output/``.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import pandas as pd

from ser_utils import extract_corpus, output_dir, scan_corpus
from ser_utils.corpora.demo_corpus import make_demo_corpus

ROOT = Path(__file__).resolve().parent.parent
SIZES = [2_800, 28_000, 100_000]


def peak():
    """Most memory that this process has had (in MB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def extract(n_clips):
    """Extract one size; print clips, seconds, and MB after the imports, in the end, in a worker."""
    imported = peak()
    demo = scan_corpus(make_demo_corpus(ROOT / "data" / "demo"))
    extract_corpus(demo, cache=False)  # workers start, libraries load
    clips = pd.concat([demo] * -(-n_clips // len(demo))).head(n_clips).reset_index(drop=True)
    start = time.perf_counter()
    X, *_ = extract_corpus(clips, n_jobs=2)
    seconds = time.perf_counter() - start
    joblib.externals.loky.get_reusable_executor().shutdown()
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(n_clips, seconds, imported, peak(), worker, X.nbytes / 1e6)


def draw(table):
    fig, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for ax, columns, label in (
        (axes[0], ["seconds"], "time (s)"),
        (axes[1], ["MB_imported", "MB_at_most", "MB_worker"], "memory (MB)"),
    ):
        for column, style in zip(columns, ("o-", "s--", "^:"), strict=False):
            ax.plot(table["clips"], table[column], style, label=column.replace("_", " "))
        ax.set(xlabel="clips", ylabel=label, xlim=0, ylim=0)
        ax.legend()
    fig.savefig(Path(__file__).with_suffix(".png"), dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", type=int, help="extract this many clips in this process")
    arguments = parser.parse_args()
    if arguments.one:
        return extract(arguments.one)
    rows = []
    for size in SIZES:
        shutil.rmtree(output_dir() / "cache", ignore_errors=True)
        command = [sys.executable, __file__, "--one", str(size)]
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows.append([float(value) for value in result.stdout.split("\n")[-2].split()])
    shutil.rmtree(output_dir() / "cache", ignore_errors=True)
    names = ["clips", "seconds", "MB_imported", "MB_at_most", "MB_worker", "MB_of_features"]
    table = pd.DataFrame(rows, columns=names).round(1)
    table.to_csv(Path(__file__).with_suffix(".csv"), index=False)
    print(table.to_string(index=False))
    draw(table)


if __name__ == "__main__":
    main()
