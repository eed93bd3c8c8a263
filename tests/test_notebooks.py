"""A guard on the notebook files: nbval passes a cell that was never executed, and any picture."""

import base64
import io
import json
import re
import statistics

import pytest
import soundfile as sf
from lessons import NOTEBOOKS, read, source, tags_of
from PIL import Image

EXEMPT = "nbval-ignore-output"
LOCAL_PATH = re.compile(r"(?<![\w.:/])/(home|Users|root|tmp|mnt|opt|srv|work)/|[A-Za-z]:\\\\?Users")


def code_cells(path):
    return [cell for cell in read(path) if cell["cell_type"] == "code"]


def count_lines(cell):
    return sum(bool(line.strip()) for line in source(cell).splitlines())


def is_exempt(cell):
    return EXEMPT in tags_of(cell)


def data_of(cell):
    return [output["data"] for output in cell["outputs"] if "data" in output]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return request.param


def test_the_series_is_there():
    names = "load eda mfcc lstm_train evaluate features augment imbalance new_voices deploy"
    expected = [f"{number:02}_{name}" for number, name in enumerate(names.split(), 1)]
    assert [path.stem for path in NOTEBOOKS] == expected


def test_it_was_executed_from_top_to_bottom(notebook):
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(source(cell).strip() for cell in cells)


def test_a_cell_that_prints_shows_what_it_printed(notebook):
    for cell in code_cells(notebook):
        if re.search(r"^(print|display)\(", source(cell), re.MULTILINE):
            assert cell["outputs"], source(cell)


def test_no_error_no_noise_no_local_path(notebook):
    assert notebook.stat().st_size < 2_000_000
    for cell in read(notebook):
        text = json.dumps([cell["source"], cell.get("outputs", [])])
        text = re.sub(r"(data:audio|image/png)[^,]*,?[^\"]*\"", "", text)
        assert not LOCAL_PATH.search(text), source(cell)
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr", output


def test_every_figure_has_its_picture(notebook):
    for cell in code_cells(notebook):
        if "plt.show()" in source(cell) or re.search(r"^show_\w+\(|    show_\w+\(", source(cell)):
            pictures = [data["image/png"] for data in data_of(cell) if "image/png" in data]
            assert pictures, source(cell)
            for picture in pictures:
                content = base64.b64decode("".join(picture))
                assert content.startswith(b"\x89PNG"), source(cell)
                assert len(content) > 3000, source(cell)


def test_every_player_holds_sound(notebook):
    for cell in code_cells(notebook):
        html = ["".join(data["text/html"]) for data in data_of(cell) if "text/html" in data]
        players = re.findall(r"data:audio/mpeg;base64,([^\"]+)", "".join(html))
        if re.search(
            r"^listen(_row)?\(|display\(listen", source(cell), re.MULTILINE
        ) and not is_exempt(cell):
            assert players, source(cell)
        for player in players:
            y, sr = sf.read(io.BytesIO(base64.b64decode(player)))
            assert len(y) / sr > 0.3
            assert abs(y).max() > 0.001


def test_exempt_cells_are_few_and_hold_an_assertion_or_are_followed_by_one(notebook):
    cells = code_cells(notebook)
    exempt = [i for i, cell in enumerate(cells) if is_exempt(cell)]
    assert len(exempt) <= len(cells) / 3
    for i in exempt:  # nbval passes over the output of such a cell, not over its errors
        checked = [cells[i], *(cell for cell in cells[i + 1 : i + 2] if not is_exempt(cell))]
        assert any("assert " in source(cell) for cell in checked), source(cells[i])


def test_no_cell_escapes_the_comparison(notebook):
    for cell in read(notebook):
        assert tags_of(cell) <= {EXEMPT, "exercise", "solution"}


def test_it_reads_like_a_lesson(notebook):
    cells = read(notebook)
    prose = [cell for cell in cells if cell["cell_type"] == "markdown"]
    lengths = [count_lines(cell) for cell in code_cells(notebook)]
    assert max(lengths) <= 15
    assert statistics.median(lengths) <= 6
    assert len(prose) >= 0.9 * len(lengths)
    assert source(cells[0]).startswith("# ")
    assert "**Predict first:**" in "".join(map(source, prose))
    headings = "\n".join(map(source, prose))
    assert "## Recap" in headings
    assert "## Exercises" in headings


def test_every_solution_is_checked(notebook):
    cells = read(notebook)
    start = next(i for i, cell in enumerate(cells) if source(cell).startswith("### Solutions"))
    assert cells[start]["metadata"].get("jp-MarkdownHeadingCollapsed")
    solutions = [c for c in cells[start:] if c["cell_type"] == "code"]
    assert sum("assert " in source(cell) for cell in solutions) >= 3
    assert all("assert " in source(cell) for cell in solutions if not is_exempt(cell))


def test_a_lesson_is_short_and_has_formulas(notebook):
    cells = read(notebook)
    prose = [source(cell) for cell in cells if cell["cell_type"] == "markdown"]
    assert len(cells) <= 60
    assert len(prose) <= 1.35 * len(code_cells(notebook))
    assert "$$" in "".join(prose)


def test_a_lesson_has_exercises_of_three_levels_with_cells_to_answer_in(notebook):
    cells = read(notebook)
    for level in ("check", "apply", "explore"):
        asked = next(i for i, cell in enumerate(cells) if f"({level}).**" in source(cell))
        assert tags_of(cells[asked + 1]) == {"exercise"}
    assert any(source(cell).startswith("**Project.**") for cell in cells)


def test_the_solutions_of_a_lesson_are_marked_to_be_folded(notebook):
    cells = read(notebook)
    start = next(i for i, cell in enumerate(cells) if source(cell).startswith("### Solutions"))
    assert all("solution" in tags_of(cell) for cell in cells[start:])
    assert not any("solution" in tags_of(cell) for cell in cells[:start])


def test_no_formula_has_lost_a_backslash(notebook):
    for cell in read(notebook):  # "\\frac" and "\\text" become a form feed and a tab
        assert not re.search(r"[^\S \n]", source(cell)), source(cell)


def test_the_figures_of_a_lesson_fill_the_width(notebook):
    for cell in code_cells(notebook):
        for picture in (data["image/png"] for data in data_of(cell) if "image/png" in data):
            with Image.open(io.BytesIO(base64.b64decode("".join(picture)))) as image:
                assert image.width >= 800, source(cell)


def test_links_lead_somewhere(notebook):
    text = "\n".join(source(cell) for cell in read(notebook) if cell["cell_type"] == "markdown")
    lines = [line for line in text.splitlines() if line.startswith("#")]
    headings = {line.lstrip("# ").replace(" ", "-") for line in lines}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("http"):
            assert (notebook.parent / target).is_file()
