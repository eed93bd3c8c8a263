"""What the book adds to Sphinx: files, folded solutions, links to other pages."""

import json
import re
import shutil
from functools import cache
from pathlib import Path

import pybtex.database
from docutils import nodes
from sphinx import addnodes

from docs.packages import fetch_packages
from ser_utils import data_dir, scan_corpus
from ser_utils.widgets import ear_test_clips

HERE = Path(__file__).parent
# Words of a term in another sense, which are not linked.
NO_TERMS = [
    "95% confidence",
    "are level",
    "fair sample",
    "harmonic mean",
    "most of the loss",
    "the loss may be chance",
    "three precisions",
]
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
    """Put each solution into an element that opens by mouse and keyboard."""
    for section in doctree.findall(nodes.section):
        if section[0].astext() != "Solutions":
            continue
        parts, is_open = [], False
        for child in section.children:
            number = (
                re.match(r"(\d)\.", child.astext()) if isinstance(child, nodes.paragraph) else None
            )
            if number:
                opening = f'<details class="solution"><summary>Solution {number[1]}</summary>'
                parts.append(nodes.raw("", "</details>" * is_open + opening, format="html"))
                is_open = True
            parts.append(child)
        section.children = []
        section.extend([*parts, nodes.raw("", "</details>" * is_open, format="html")])


def link_words(doctree, targets):
    """Link words to their addresses, terms of the glossary only where the page first uses them.

    The notebooks stay free of Sphinx's syntax, which JupyterLab would show as it is.
    """
    patterns = [f"(?P<w{i}>{pattern})" for i, (pattern, _) in enumerate(targets)]
    pattern = re.compile("|".join([*NO_TERMS, *patterns]))
    seen = set()
    for text in list(doctree.findall(nodes.Text)):
        if not in_prose(text):
            continue
        parts, end = [], 0
        for match in pattern.finditer(text):
            if match.lastgroup is None:  # one of NO_TERMS
                continue
            address = targets[int(match.lastgroup[1:])][1]
            if address in seen:
                continue
            if "#term-" in address:
                seen.add(address)
            link = nodes.reference("", match[0], refuri=address, internal=True)
            parts += [nodes.Text(text[end : match.start()]), link]
            end = match.end()
        if parts:
            text.parent.replace(text, [*parts, nodes.Text(text[end:])])


def in_prose(text):
    """Whether it stands in a paragraph, and is no link, code, formula, heading or goal."""
    above = [text.parent]
    while above[-1].parent is not None:
        above.append(above[-1].parent)
    kinds = nodes.reference, addnodes.pending_xref, nodes.literal, nodes.math, nodes.title
    kinds += nodes.raw, nodes.block_quote
    in_paragraph = any(isinstance(node, nodes.paragraph) for node in above)
    return in_paragraph and not any(isinstance(node, kinds) for node in above)


@cache  # for ten notebooks
def glossary_terms():
    """Patterns of the glossary's terms, singular and plural, and the address of each entry."""
    glossary = (HERE / "glossary.md").read_text(encoding="utf-8")
    block = glossary.split("```{glossary}")[1].split("```")[0]
    terms = []
    for entry in block.split("\n\n"):
        names = re.findall(r"^[^\s:].*$", entry, flags=re.MULTILINE)
        for name in names:
            first, rest = re.escape(name[0]), re.escape(name[1:])
            first = f"[{first}{first.upper()}]" if name[0].islower() else first
            address = f"../book/glossary.html#term-{names[0].replace(' ', '-')}"
            terms.append((rf"(?<![\w-]){first}{rest}s?(?![\w-])", address))
    return sorted(terms, key=lambda term: -len(term[0]))


@cache
def works_cited():
    """Patterns of citations such as "Wilson, 1927" or "Guo et al., 2017", and their addresses."""
    entries = pybtex.database.parse_file(HERE / "references.bib").entries
    works = []
    for key, entry in entries.items():
        first = entry.persons["author"][0]
        name = re.escape(" ".join([*first.prelast_names, *first.last_names]))
        name = name.replace("'", "['\u2019]")  # Sphinx makes it curly
        pattern = rf"\b{name}(?:[^().;\d]|\bal\.){{0,60}}\(?{entry.fields['year']}\b"
        works.append((pattern, f"../book/bibliography.html#{key}"))
    return works


def lessons():
    """Names of the notebooks, as docstrings have them, and their addresses."""
    names = sorted(path.stem for path in (HERE.parent / "notebooks").glob("*.ipynb"))
    return [(name, f"../notebooks/{name}.html") for name in names]


def change_page(app, doctree):
    """Do all of this where it belongs."""
    if app.env.docname.startswith("notebooks/"):
        fold_solutions(doctree)
        link_words(doctree, [*glossary_terms(), *works_cited()])
        tell_how_to_run(doctree)
    elif app.env.docname == "book/api":
        link_words(doctree, lessons())


def setup(app):
    """Connect all of this with Sphinx."""
    app.connect("config-inited", write_extra_files)
    app.connect("doctree-read", change_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
