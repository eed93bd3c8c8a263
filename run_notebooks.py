"""Execute the notebooks headless, one after another: `make run` and `make refresh`.

A copy of each is executed in the folder of the original and written, with a page of HTML, to
``output/``; ``--in-place`` writes the executed notebook back instead, for committing. Own code
and not ``jupyter nbconvert``, for the line of progress, the closing table and the exit status.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

from ser_utils import CorpusError, data_dir, output_dir, scan_corpus

ROOT = Path(__file__).resolve().parent


def execute(path):
    """Execute one notebook as nbval would; return it and the error of the cell that failed."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": path.parent}},
        record_timing=False,
        coalesce_streams=True,  # of a progress bar only the last state
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # it warns of local TCP at each start
    )
    try:
        client.execute()
    except CellExecutionError as error:
        return notebook, error
    # What differs between Python versions says nothing about the notebook.
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook, None


def write(notebook, path, in_place):
    """Write the executed notebook and, beside a copy, its HTML."""
    if in_place:
        nbformat.write(notebook, path)
        return path
    copy = output_dir() / path.name
    nbformat.write(notebook, copy)
    page, _ = HTMLExporter().from_notebook_node(notebook)
    copy.with_suffix(".html").write_text(page, encoding="utf-8")
    return copy.with_suffix(".html")


def print_summary(seconds):
    """Print the closing table from what notebook 4 wrote."""
    results = json.loads((output_dir() / "04_results.json").read_text())
    rows = {
        "corpus": results["corpus"],
        "clips": results["clips"],
        "emotions": results["emotions"],
        "validation accuracy, reference model": f"{results['reference']:.1%}",
        "validation accuracy, sequence model": f"{results['sequence']:.1%}",
        "always the most frequent emotion": f"{results['dummy']:.1%}",
        "seconds": f"{seconds:.0f}",
        "where to look": "output/*.html",
    }
    print()
    for name, value in rows.items():
        print(f"{name:38} {value}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", nargs="?", default="", help="one notebook alone, such as 04")
    parser.add_argument("--in-place", action="store_true", help="write back to notebooks/")
    arguments = parser.parse_args()
    paths = sorted((ROOT / "notebooks").glob(f"{arguments.number}*.ipynb"))
    if not paths:
        names = ", ".join(path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb")))
        sys.exit(f"No notebook begins with {arguments.number!r}; there are {names}.")
    try:
        scan_corpus(data_dir())  # makes the demo corpus, or says what is wrong, before any kernel
        output_dir()
    except (CorpusError, OSError) as error:
        sys.exit(str(error))
    start = time.perf_counter()
    for path in paths:
        begun = time.perf_counter()
        print(f"{path.stem:16}", end="", flush=True)
        notebook, error = execute(path)
        in_place = arguments.in_place
        written = path if error and in_place else write(notebook, path, in_place)
        print(f"{time.perf_counter() - begun:6.0f} s   {written.relative_to(ROOT)}", flush=True)
        if error:
            sys.exit(f"A cell of {path.name} failed:\n{error}")
    if not arguments.in_place and any(path.stem.startswith("04") for path in paths):
        print_summary(time.perf_counter() - start)


if __name__ == "__main__":
    main()
