"""The notebook files, for the tests that read them."""

import functools
import json
from pathlib import Path

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
CORE = NOTEBOOKS[:4]  # written to the contract of a lesson; the later ones follow


@functools.cache
def read(path):
    """Cells of a notebook, read once for all tests."""
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def source(cell):
    return "".join(cell["source"])


def tags_of(cell):
    return set(cell["metadata"].get("tags", []))
