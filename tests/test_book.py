"""The book: built without a warning, and read in a real browser.

The tests in a browser are skipped where ``chromium`` and ``chromedriver`` are not installed, and
all of them where npm is not there. Each run leaves screenshots in ``output/``, book-*.png.
"""

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest
from browser import CHROMIUM, DRIVER, Browser, StaticHost
from bs4 import BeautifulSoup

from docs import packages
from ser_utils import output_dir, scan_corpus
from ser_utils.widgets import ear_test_clips

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
PAGES = [
    "index",
    "jupyterlab",
    "data",
    "results",
    "ethics",
    "programs",
    "teachers",
    "glossary",
    "api",
]
ADDRESSES = [f"book/{name}.html" for name in [*PAGES, "bibliography", "maintainers"]]
ADDRESSES += [f"notebooks/{name}.html" for name in NOTEBOOKS]
ADDRESSES += ["ser_utils/deploy/acted6/MODEL_CARD.html", "search.html"]
pytestmark = pytest.mark.skipif(not packages.find_npm(), reason="npm is missing: no book is built")
in_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="the book is not looked at: chromium or chromedriver is not installed",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Folder of the book, built as `make book` builds it: warnings are errors."""
    try:
        packages.fetch_packages()
    except packages.PackageError as error:  # no network, and npm has no copy
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("book")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", "-c", "book"]
    command += ["-d", folder / "doctrees", ".", folder / "site"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def soups(site):
    """Every page of the site, parsed; the key is its address."""
    pages = {path.relative_to(site).as_posix(): path.read_bytes() for path in site.rglob("*.html")}
    return {address: BeautifulSoup(page, "html.parser") for address, page in pages.items()}


@pytest.fixture(scope="module")
def reader(site, tmp_path_factory):
    host = StaticHost(site)
    browser = Browser(host.url, tmp_path_factory.mktemp("profile"), None)
    browser.url = host.url
    yield browser
    browser.driver.quit()
    host.stop()


def test_every_link_inside_the_book_leads_somewhere(site, soups):
    wrong = []
    for page, soup in soups.items():
        for link in soup.find_all("a", href=True):
            address, anchor = urldefrag(urljoin(f"http://book/{page}", link["href"]))
            if not address.startswith("http://book/"):
                continue
            target = unquote(address.removeprefix("http://book/")) or "index.html"
            there = (site / target).exists()
            if anchor and target in soups:
                there = soups[target].find(id=unquote(anchor))
            if not there:
                wrong.append(f"{page}: {link['href']}")
    assert set(soups) >= set(ADDRESSES)
    assert not wrong


def test_a_glossary_term_is_linked_where_a_notebook_first_uses_it(soups):
    page = soups["notebooks/03_mfcc.html"]
    links = [link["href"] for link in page.find_all("a", href=True)]
    to_mfcc = [link for link in links if link.endswith("glossary.html#term-MFCC")]
    assert len(to_mfcc) == 1
    assert len([link for link in links if "glossary.html#term-" in link]) > 10
    assert not any(soup.select("a a") for soup in soups.values())


@pytest.mark.parametrize(
    ("notebook", "key"),
    [("02_eda", "wilson1927"), ("03_mfcc", "oshaughnessy1987"), ("05_evaluate", "guo2017")],
)
def test_a_citation_leads_to_the_bibliography(soups, notebook, key):
    assert soups[f"notebooks/{notebook}.html"].find("a", href=f"../book/bibliography.html#{key}")
    assert soups["book/bibliography.html"].find(id=key)


def test_the_api_leads_to_the_notebook_that_teaches_it(soups):
    assert soups["book/api.html"].find("a", href="../notebooks/02_eda.html", string="02_eda")


def test_the_answer_on_the_front_page_is_that_of_its_clip(site, soups, demo_corpus):
    first = ear_test_clips(scan_corpus(demo_corpus)).iloc[0]
    assert (site / "_static" / "first_clip.wav").read_bytes() == Path(first["path"]).read_bytes()
    answer = soups["book/index.html"].find("details").find("strong").text
    assert answer == first["emotion"]


def test_handouts_have_all_but_the_solutions(site, soups):
    for name in NOTEBOOKS:
        whole = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
        sheet = json.loads((site / "handouts" / f"{name}.ipynb").read_text(encoding="utf-8"))
        solutions = [
            cell for cell in whole["cells"] if "solution" in cell["metadata"].get("tags", [])
        ]
        assert len(sheet["cells"]) == len(whole["cells"]) - len(solutions) < len(whole["cells"])
        assert not any(cell.get("outputs") for cell in sheet["cells"])
        assert soups["book/teachers.html"].find("a", href=f"../handouts/{name}.ipynb")


def test_a_notebook_can_be_downloaded_and_tells_how_to_run_it(soups):
    for name in NOTEBOOKS:
        page = soups[f"notebooks/{name}.html"]
        assert page.find("a", href=f"../_sources/notebooks/{name}.ipynb")
        assert page.find("a", href="../book/jupyterlab.html", string="How to run this notebook")


def test_without_an_address_of_the_repository_there_is_no_dead_button(soups):
    page = str(soups["notebooks/01_load.html"])
    assert "mybinder" not in page
    assert "colab.research" not in page


@in_browser
@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_shows_and_plays_all_that_it_has(reader, address):
    reader.driver.get(reader.url + address)
    state = reader.wait_for("""
        await window.MathJax?.startup?.promise;
        const players = [...document.querySelectorAll("audio")];
        for (const player of players) {
          if (player.readyState) continue;
          player.load();
          await new Promise((resolve) => { player.onloadedmetadata = player.onerror = resolve; });
        }
        const pictures = [...document.images].filter((one) => one.getClientRects().length);
        pictures.forEach((one) => { one.loading = "eager"; });
        await Promise.all(pictures.map((one) => one.decode().catch(() => {})));
        return {
          lengths: players.map(({ duration }) => duration),
          formulas: document.querySelectorAll("mjx-container").length,
          sources: document.querySelectorAll(".math").length,
          errors: document.querySelectorAll("[data-mjx-error], mjx-merror").length,
          missing: pictures.filter((one) => !one.naturalWidth).map(({ src }) => src),
          elsewhere: performance.getEntriesByType("resource").map(({ name }) => name)
            .filter((name) => !name.startsWith(location.origin) && !/^(data|blob):/.test(name)),
        };""")
    assert all(length > 0 for length in state["lengths"])
    assert (state["formulas"] > 0) == (state["sources"] > 0)
    assert state["formulas"] >= state["sources"]
    assert state["errors"] == 0
    assert state["missing"] == state["elsewhere"] == []
    assert reader.complaints() == []
    if address == "notebooks/02_eda.html":
        assert len(state["lengths"]) >= 8
    reader.width(390, 800)
    assert reader.run("return document.documentElement.scrollWidth") <= 390
    reader.width(1280, 1400)


@in_browser
def test_solutions_are_folded_and_open_by_keyboard(reader):
    from selenium.webdriver import Keys

    reader.driver.get(f"{reader.url}notebooks/05_evaluate.html")
    folds = reader.driver.find_elements("css selector", "details.solution")
    assert [fold.text for fold in folds] == ["Solution 1", "Solution 2", "Solution 3"]
    fold = folds[0]
    inside = fold.find_element("css selector", "div.highlight")
    assert not inside.is_displayed()
    fold.find_element("css selector", "summary").send_keys(Keys.ENTER)
    assert inside.is_displayed()


@in_browser
@pytest.mark.parametrize("word", ["MFCC", "speaker", "chroma"])
def test_the_search_finds(reader, wait_until, word):
    reader.driver.get(f"{reader.url}search.html?q={word}")
    script = "return [...document.querySelectorAll('#search-results li a')].map((a) => a.href)"
    wait_until(lambda: any("/notebooks/" in found for found in reader.run(script)))


@in_browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_can_be_read_by_everybody(reader, theme):
    axe = (packages.fetch_packages() / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    for name in ("book/index", "notebooks/03_mfcc", "book/results", "book/glossary"):
        reader.driver.get(f"{reader.url}{name}.html")
        reader.run("localStorage.setItem('mode', arguments[0])", theme)
        reader.run("localStorage.setItem('theme', arguments[0])", theme)
        reader.driver.refresh()
        assert reader.run("return document.documentElement.dataset.theme") == theme
        reader.screenshot(output_dir() / f"book-{Path(name).name}-{theme}.png")
        reader.run(axe)
        found = reader.wait_for("return (await axe.run(document)).violations")
        serious = [
            (rule["id"], node["html"], node["failureSummary"])
            for rule in found
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]
        assert not serious, (name, serious[:5], len(serious))
