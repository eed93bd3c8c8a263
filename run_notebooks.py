"""Execute the notebooks headless, one after another: `make run` and `make refresh`.

    python run_notebooks.py          # the core, 01 to 04
    python run_notebooks.py all      # the whole series
    python run_notebooks.py 05-08    # some of it; 05 is one alone

A copy of each is executed in the folder of the original and written, with a page of HTML, to
``output/``; ``--in-place`` writes the executed notebook back instead, for committing. Own code
and not ``jupyter nbconvert``, for the line of progress, the closing table and the exit status.
"""

import argparse
import json
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

from ser_utils import data_dir, output_dir, scan_corpus
from ser_utils.parallel import progress_bar

ROOT = Path(__file__).resolve().parent
CORE = "01-04"


def choose(wanted):
    """Find the notebooks that are asked for: ``all``, a number, or the first and last of a range.

    Raises
    ------
    ValueError
        If there is none.
    """
    paths = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    numbers = [path.name[:2] for path in paths]
    first, last = {"all": ("00", "99")}.get(wanted, (*wanted.split("-"), wanted)[:2])
    chosen = [path for path, number in zip(paths, numbers, strict=True) if first <= number <= last]
    if not chosen or not re.fullmatch(r"all|\d\d(-\d\d)?", wanted):
        names = ", ".join(path.stem for path in paths)
        raise ValueError(
            f"No notebook is meant by {wanted!r}; there are {names}. "
            "Say all, one number such as 05, or a range such as 05-08."
        )
    return chosen


def execute(path):
    """Execute one notebook as nbval would; return it and the error of the cell that failed."""
    notebook = nbformat.read(path, as_version=4)
    n_cells = sum(cell["cell_type"] == "code" for cell in notebook.cells)
    bar = progress_bar(total=n_cells, desc=f"{path.stem:14}", unit="cells", leave=False)
    client = NotebookClient(
        notebook,
        on_cell_executed=lambda **_: bar.update(),
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": path.parent}},
        record_timing=False,
        coalesce_streams=True,  # of a progress bar only the last state
        store_widget_state=False,  # scripts and sounds
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # it warns of local TCP at each start
    )
    try:
        client.execute()
    except CellExecutionError as error:
        return notebook, error
    finally:
        bar.close()
    # What differs between Python versions says nothing about the notebook.
    notebook.metadata["language_info"] = {"name": "python"}
    drop_widgets(notebook)
    return notebook, None


def drop_widgets(notebook):
    """Leave the sentence that stands for a widget; without its kernel the widget is not found."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)


def write(notebook, path, in_place):
    """Write the executed notebook and, beside a copy, its HTML."""
    if in_place:
        nbformat.write(notebook, path)
        return path
    copy = output_dir() / path.name
    nbformat.write(notebook, copy)
    folder = {"metadata": {"path": str(path.parent)}}  # that pictures are found from
    page, _ = HTMLExporter(embed_images=True).from_notebook_node(notebook, folder)
    copy.with_suffix(".html").write_text(page, encoding="utf-8")
    return copy.with_suffix(".html")


def print_summary(clips, seconds):
    """Print the closing table from the corpus and what notebook 4 wrote."""
    scores = json.loads((output_dir() / "04_results.json").read_text())
    rows = {
        "corpus": clips["corpus"].iloc[0],
        "clips": len(clips),
        "emotions": clips["emotion"].nunique(),
        **{f"test accuracy, {name}": f"{score:.1%}" for name, score in scores.items()},
        "seconds": f"{seconds:.0f}",
        "where to look": "output/*.html",
    }
    print()
    for name, value in rows.items():
        print(f"{name:38} {value}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("which", nargs="?", default=CORE, help="all, 05, or 05-08; default 01-04")
    parser.add_argument("--in-place", action="store_true", help="write back to notebooks/")
    arguments = parser.parse_args()
    try:
        paths = choose(arguments.which)
        clips = scan_corpus(data_dir())  # or says what is wrong, before any kernel starts
        output_dir()
    except (ValueError, OSError) as error:  # a CorpusError is a ValueError
        sys.exit(str(error))
    print("A notebook can be opened in a browser as soon as its line is here:")
    start = time.perf_counter()
    for path in paths:
        begun = time.perf_counter()
        notebook, error = execute(path)
        failed_in_place = error and arguments.in_place
        written = path if failed_in_place else write(notebook, path, arguments.in_place)
        seconds = time.perf_counter() - begun
        print(f"{path.stem:14}{seconds:6.0f} s   {written.relative_to(ROOT)}", flush=True)
        if error:
            sys.exit(f"A cell of {path.name} failed:\n{error}")
    if not arguments.in_place and any(path.stem.startswith("04") for path in paths):
        print_summary(clips, time.perf_counter() - start)


if __name__ == "__main__":
    main()
