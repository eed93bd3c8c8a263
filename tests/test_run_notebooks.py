"""`make run` executes copies, says what failed, and leaves the originals alone."""

import json
import re
import subprocess
import sys

import nbformat
import pytest
from corpora import write_folders

import run_notebooks


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with two notebooks, the second of which fails, and a corpus of noise."""
    (tmp_path / "environment.yml").touch()
    (tmp_path / "notebooks").mkdir()
    for name, code in (("01_fine", "print(6 * 7)"), ("02_broken", "1 / 0")):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        nbformat.write(notebook, tmp_path / "notebooks" / f"{name}.ipynb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_notebooks, "ROOT", tmp_path)
    monkeypatch.setenv("SER_DATA_DIR", str(write_folders(tmp_path / "corpus")))
    return tmp_path


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["run_notebooks.py", *arguments])
    run_notebooks.main()


def test_a_copy_is_executed_and_the_original_stays(project, monkeypatch, capsys):
    before = (project / "notebooks" / "01_fine.ipynb").read_bytes()
    run(monkeypatch, "01")
    assert (project / "notebooks" / "01_fine.ipynb").read_bytes() == before
    copy = json.loads((project / "output" / "01_fine.ipynb").read_text())
    assert "42" in "".join(copy["cells"][0]["outputs"][0]["text"])
    assert "42" in (project / "output" / "01_fine.html").read_text()
    assert re.search(r"01_fine +\d+ s +output/01_fine\.html", capsys.readouterr().out)


def test_a_failing_cell_ends_with_its_error(project, monkeypatch):
    with pytest.raises(SystemExit, match=r"02_broken(.|\n)*ZeroDivisionError") as caught:
        run(monkeypatch)
    assert caught.value.code  # any text: exit status 1
    assert "ZeroDivisionError" in (project / "output" / "02_broken.html").read_text()


def test_in_place_keeps_a_notebook_that_failed(project, monkeypatch):
    before = (project / "notebooks" / "02_broken.ipynb").read_bytes()
    with pytest.raises(SystemExit):
        run(monkeypatch, "--in-place")
    assert (project / "notebooks" / "02_broken.ipynb").read_bytes() == before
    assert "42" in (project / "notebooks" / "01_fine.ipynb").read_text()


@pytest.fixture
def widget_notebook(project):
    """A notebook with nothing but a recorder in it."""
    code = 'from ser_utils.widgets import record_clips\nrecord_clips("own", ["angry", "sad"])'
    path = project / "notebooks" / "01_fine.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), path)
    return path


def test_of_a_widget_its_sentence_is_kept(widget_notebook, project, monkeypatch):
    run(monkeypatch, "01")
    sentence = "Recorder for angry, sad: run this cell in JupyterLab to record into own."
    copy = json.loads((project / "output" / "01_fine.ipynb").read_text())
    (output,) = copy["cells"][0]["outputs"]
    assert output["data"] == {"text/plain": [sentence]}
    assert "widgets" not in copy["metadata"]  # scripts, sounds
    assert sentence in (project / "output" / "01_fine.html").read_text()


def test_a_widget_passes_nbval(widget_notebook, project, monkeypatch):
    run(monkeypatch, "01", "--in-place")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env"]
    command += ["--rootdir", project, "-p", "no:cacheprovider", widget_notebook]
    nbval = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert nbval.returncode == 0, nbval.stdout
    assert "1 passed" in nbval.stdout
    changed = widget_notebook.read_text().replace("Recorder for", "Another one for")
    widget_notebook.write_text(changed)
    assert subprocess.run(command, cwd=project, capture_output=True).returncode == 1


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ("01-04", "01 02 03 04"),
        ("all", "01 02 03 04 05 06 07 08 09 10"),
        ("05", "05"),
        ("05-07", "05 06 07"),
        ("07-99", "07 08 09 10"),
    ],
)
def test_all_one_or_some_are_chosen(asked, numbers):
    chosen = [path.name[:2] for path in run_notebooks.choose(asked)]
    assert chosen == numbers.split()


@pytest.mark.parametrize("asked", ["99", "04-01", "5", "01_load", "01-", ""])
def test_another_choice_is_refused_with_those_there_are(asked):
    with pytest.raises(ValueError, match=r"there are 01_load.*Say all, one number such as 05"):
        run_notebooks.choose(asked)


def test_an_unknown_number_or_corpus_is_one_sentence(project, monkeypatch):
    with pytest.raises(SystemExit, match="there are 01_fine, 02_broken"):
        run(monkeypatch, "07")
    monkeypatch.setenv("SER_DATA_DIR", "nowhere")
    with pytest.raises(SystemExit, match="nowhere does not exist; point SER_DATA_DIR"):
        run(monkeypatch)
