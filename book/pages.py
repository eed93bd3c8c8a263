"""What the book adds to Sphinx: files, folded solutions, links to other pages."""

import json
import re
import shutil
from pathlib import Path

import pybtex.database
from docutils import nodes

from docs.packages import fetch_packages
from ser_utils import data_dir, scan_corpus
from ser_utils.widgets import ear_test_clips

HERE = Path(__file__).parent
BUILT = HERE.parent / "output" / "book_files"  # copied into the site as they are


def name_heading(text):
    """Name a heading as JupyterLab does, so that the notebooks' links work in both."""
    return text.strip().replace(" ", "-")


# ---- files that no page holds


def write_extra_files(app, config):
    """Write the ear test's first clip, MathJax, and the notebooks without their solutions."""
    shutil.rmtree(BUILT, ignore_errors=True)
    for folder in ("_static/mathjax", "handouts"):
        (BUILT / folder).mkdir(parents=True)
    shutil.copy(fetch_packages() / "mathjax" / "es5" / "tex-svg.js", BUILT / "_static" / "mathjax")
    shutil.copy(HERE / "door.html", BUILT / "index.html")
    first = ear_test_clips(scan_corpus(data_dir()))["path"].iloc[0]
    shutil.copy(first, BUILT / "_static" / "first_clip.wav")
    for path in sorted((HERE.parent / "notebooks").glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        kept = [cell for cell in notebook["cells"] if "solution" not in tags_of(cell)]
        for cell in kept:
            if cell["cell_type"] == "code":
                cell |= {"outputs": [], "execution_count": None}
        text = json.dumps(notebook | {"cells": kept}, indent=1, ensure_ascii=False)
        (BUILT / "handouts" / path.name).write_text(text + "\n", encoding="utf-8")


def tags_of(cell):
    return cell["metadata"].get("tags", [])


# ---- what Sphinx makes of a notebook


def tell_how_to_run(doctree):
    """Link the page on JupyterLab below the title."""
    link = nodes.reference("", "How to run this notebook", refuri="../book/jupyterlab.html")
    title = next(doctree.findall(nodes.title))
    title.parent.insert(1, nodes.paragraph("", "", link, classes=["how"]))


def fold_solutions(doctree):
    """Put what follows the heading "Solutions" into an element that opens by mouse and keyboard."""
    for section in doctree.findall(nodes.section):
        if section[0].astext() == "Solutions":
            opening = '<details class="solutions"><summary>Show the solutions</summary>'
            section.insert(1, nodes.raw("", opening, format="html"))
            section.append(nodes.raw("", "</details>", format="html"))


def link_words(doctree):
    """Link each glossary term where a page first uses it, and each citation to the bibliography.

    The notebooks stay free of Sphinx's syntax, which JupyterLab would show as it is.
    """
    targets = TERMS | WORKS
    pattern = re.compile("|".join(f"(?P<w{i}>{words})" for i, words in enumerate(targets)))
    seen = set()
    for text in list(doctree.findall(nodes.Text)):
        if not in_prose(text):
            continue
        parts, end = [], 0
        for match in pattern.finditer(text):
            words = list(targets)[int(match.lastgroup[1:])]
            if words in TERMS and words in seen:
                continue
            seen.add(words)
            link = nodes.reference("", match[0], refuri=targets[words], internal=True)
            parts += [nodes.Text(text[end : match.start()]), link]
            end = match.end()
        if parts:
            text.parent.replace(text, [*parts, nodes.Text(text[end:])])


def in_prose(text):
    """Whether it stands in a paragraph, and is no link, code, formula or heading."""
    above = [text.parent]
    while above[-1].parent is not None:
        above.append(above[-1].parent)
    kinds = nodes.reference, nodes.literal, nodes.math, nodes.title, nodes.raw
    in_paragraph = any(isinstance(node, nodes.paragraph) for node in above)
    return in_paragraph and not any(isinstance(node, kinds) for node in above)


def glossary_terms():
    """Patterns of the glossary's terms, singular and plural, and their addresses."""
    glossary = (HERE / "glossary.md").read_text(encoding="utf-8")
    block = glossary.split("```{glossary}")[1].split("```")[0]
    names = re.findall(r"^(\S.*)$", block, flags=re.MULTILINE)
    names = sorted((name for name in names if not name.startswith(":")), key=len, reverse=True)
    address = "../book/glossary.html#term-"
    return {rf"\b{re.escape(name)}s?\b": address + name.replace(" ", "-") for name in names}


def works_cited():
    """Patterns of citations such as "Wilson, 1927", and their addresses."""
    entries = pybtex.database.parse_file(HERE / "references.bib").entries
    works = {}
    for key, entry in entries.items():
        first = entry.persons["author"][0]
        name = re.escape(" ".join([*first.prelast_names, *first.last_names]))
        pattern = rf"\b{name}[^().;\d]{{0,60}}\(?{entry.fields['year']}\b"
        works[pattern] = f"../book/bibliography.html#{key}"
    return works


def change_notebook(app, doctree):
    if app.env.docname.startswith("notebooks/"):
        fold_solutions(doctree)
        link_words(doctree)
        tell_how_to_run(doctree)


TERMS, WORKS = glossary_terms(), works_cited()


def setup(app):
    """Connect all of this with Sphinx."""
    app.connect("config-inited", write_extra_files)
    app.connect("doctree-read", change_notebook)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
