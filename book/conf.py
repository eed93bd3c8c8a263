"""How Sphinx builds the book: `make book` writes it to output/book.

The source folder is the project's own, so that the notebooks' links and pictures are right as they
are. Nothing is executed: the committed outputs are shown. The built site needs no network.
"""

import importlib.metadata

# The address of the repository, such as "https://github.com/OWNER/NAME". With it, each page links
# to its source, and each notebook has launch buttons for Binder and Colab. Without it, none has.
REPOSITORY = ""

project = "Speech emotion recognition, step by step"
author = "the authors of ser_utils"
release = importlib.metadata.version("ser-utils")
root_doc = "book/index"
include_patterns = ["book/*.md", "notebooks/*.ipynb", "ser_utils/deploy/acted6/MODEL_CARD.md"]
suppress_warnings = ["mystnb.unknown_mime_type"]  # a widget shows its plain text instead
extensions = [
    "book.pages",
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinxcontrib.bibtex",
]

nb_execution_mode = "off"
nb_ipywidgets_js = {}  # they would come from the network
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 4
myst_heading_slug_func = "book.pages.name_heading"
myst_dmath_double_inline = True
bibtex_bibfiles = ["references.bib"]
bibtex_cite_id = "{key}"
numpydoc_show_class_members = False
autodoc_typehints = "none"
mathjax_path = "mathjax/tex-svg.js"

html_theme = "sphinx_book_theme"
html_title = project
html_favicon = "../ser_utils/deploy/page/icon.svg"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_extra_path = ["../output/book_files"]
html_context = {"default_mode": "auto"}
html_theme_options = {
    "use_download_button": True,
    "use_fullscreen_button": False,
    "navbar_persistent": [],
    "show_navbar_depth": 1,
    "repository_url": REPOSITORY,
    "repository_branch": "main",
    "use_repository_button": bool(REPOSITORY),
    "launch_buttons": {
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
        "notebook_interface": "jupyterlab",
    }
    if REPOSITORY
    else {},
}
