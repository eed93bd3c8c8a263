"""The notebook files, for the tests that read them, and the proof of what they say.

A paragraph that begins "*On the demo corpus*" reads one picture or number. Each of its sentences is
tied to a test by `reading`, and the tests run the notebook's own cells, so a sentence, its number
and its computation cannot drift apart.
"""

import functools
import json
import re
import types
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
TESTED = []  # (notebook, words of it)


@functools.cache
def read(path):
    """Cells of a notebook, read once for all tests."""
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def source(cell):
    return "".join(cell["source"])


def tags_of(cell):
    return set(cell["metadata"].get("tags", []))


def cells_of(notebook, kind):
    """Sources of the cells of one kind, without exercises and solutions."""
    (path,) = (path for path in NOTEBOOKS if path.stem == notebook)
    for cell in read(path):
        if cell["cell_type"] == kind and not tags_of(cell) & {"exercise", "solution"}:
            yield source(cell)


def code_of(notebook):
    return list(cells_of(notebook, "code"))


def text_of(notebook):
    return "\n\n".join(cells_of(notebook, "markdown"))


def run(notebook, *, until="# never", skip=()):
    """Run the cells of a notebook up to the one with ``until``; return its variables.

    Cells with any of the words in ``skip`` are left out.
    """
    mpl.use("Agg")
    names, skip = {"display": print}, [skip] if isinstance(skip, str) else skip
    for code in code_of(notebook):
        if until in code:
            break
        if not any(words in code for words in skip):
            exec(code, names)
    plt.close("all")
    return types.SimpleNamespace(**names)


def reading(notebook, *words):
    """Tie a test to the words of a notebook that it proves."""
    TESTED.extend((notebook, word) for word in words)

    def tie(test):
        @functools.wraps(test)
        def check(*args, **kwargs):
            for word in words:
                assert word in text_of(notebook), word
            test(*args, **kwargs)

        return check

    return tie


def check_every_sentence(notebook):
    """Assert that each sentence about the demo corpus is tied to a test of the calling module."""
    tested = [words for name, words in TESTED if name == notebook]
    readings = [part for part in text_of(notebook).split("\n\n") if part.startswith("*On the demo")]
    assert readings
    for part in readings:
        for sentence in re.split(r"(?<=[.?])\s+(?=[A-Z])", part):
            assert any(words in sentence for words in tested), sentence
