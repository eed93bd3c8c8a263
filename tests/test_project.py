"""What holds the project together: pins, imports, size, and an import without TensorFlow."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from browser import page_digest
from packaging.requirements import Requirement
from PIL import Image

import ser_utils

ROOT = Path(__file__).parent.parent
ORDER = [
    "audio",
    "parallel",
    "corpora.demo_corpus",
    "dataset",
    "features",
    "extraction",
    "corpora.audit",
    "corpora.download",
    "models",
    "augmentation",
    "evaluation",
    "plotting",
    "widgets",
    "deploy.live",
    "deploy.recognizer",
    "deploy.server",
    "deploy.phone",
]
PACKAGE = ROOT / "ser_utils"


def pins():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return {
        name: (version, comment)
        for name, version, comment in re.findall(
            r"^([\w-]+)==(\S+)\s*#?\s*(.*)$", "\n".join(lines), re.MULTILINE
        )
    }


def test_every_requirement_is_pinned_and_says_what_it_is_for():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert len(pins()) == len([line for line in lines if line and not line.startswith("#")])
    assert all(len(comment.split()) >= 2 for _, comment in pins().values())


def test_pins_are_inside_the_tested_ranges():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for line in project["dependencies"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pins()[requirement.name][0]), line


def test_environment_yml_takes_the_pins_from_requirements():
    text = (ROOT / "environment.yml").read_text()
    assert "- -r requirements.txt" in text
    assert "==" not in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    python = re.search(r"python=(\S+)", text)[1]
    assert Requirement(f"python{project['requires-python']}").specifier.contains(python)


def imports_of(module):
    """Modules of the package that ``module`` imports, and the outside ones."""
    path = PACKAGE / f"{module.replace('.', '/')}.py"
    inside, outside = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            folders = ["ser_utils", *module.split(".")][: -node.level]
            inside.add(".".join([*folders, node.module]).removeprefix("ser_utils."))
        elif isinstance(node, ast.ImportFrom):
            outside.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            outside |= {name.name.split(".")[0] for name in node.names}
    return inside, outside


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_from_those_above_it(module):
    inside, _ = imports_of(module)
    assert inside <= set(ORDER[: ORDER.index(module)])


def test_what_the_code_imports_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {Requirement(line).name.lower() for line in project["dependencies"]}
    declared |= {"sklearn"} if "scikit-learn" in declared else set()
    declared |= {"IPython"} if "ipython" in declared else set()
    for module in ORDER:
        _, outside = imports_of(module)
        assert outside <= declared | sys.stdlib_module_names, module


def modules():
    """Every module of the package but the ``__init__`` files, as the import statement names it."""
    paths = [path for path in PACKAGE.rglob("*.py") if path.stem != "__init__"]
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in paths}


def test_no_module_is_forgotten_here():
    assert modules() == set(ORDER)


def test_the_installed_package_has_every_folder():
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT) for path in PACKAGE.rglob("*.py")}
    assert set(setup["packages"]) == {".".join(folder.parts) for folder in folders}
    data = {path for path in PACKAGE.rglob("*") if path.suffix not in (".py", ".pyc", "")}
    for package, patterns in setup["package-data"].items():
        folder = ROOT / package.replace(".", "/")
        data -= {path for pattern in patterns for path in folder.glob(pattern)}
    assert not data


def test_importing_costs_no_tensorflow():
    heavy = {"keras", "matplotlib", "tensorflow", "tornado"}
    code = f"import sys, ser_utils; print({heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "set()", result.stderr


def test_the_package_stays_small():
    assert len(ser_utils.__all__) <= 20
    assert sum(code_lines(path) for path in PACKAGE.rglob("*.py")) <= 2600


def code_lines(path):
    """Lines of a module that are neither blank nor part of a docstring."""
    text = path.read_text()
    lines = {i for i, line in enumerate(text.splitlines(), 1) if line.strip()}
    documented = ast.Module | ast.ClassDef | ast.FunctionDef
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented) and ast.get_docstring(node):
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)


@pytest.mark.parametrize("name", ser_utils.__all__)
def test_every_public_name_is_explained(name):
    assert len((getattr(ser_utils, name).__doc__ or "").split()) > 5


@pytest.mark.parametrize("name", ["page.png", "app.png"])
def test_a_picture_of_the_page_is_not_older_than_the_page(name):
    with Image.open(ROOT / "docs" / name) as picture:
        assert picture.text.get("page") == page_digest(), "the page has changed: make pictures"


def test_every_python_is_tested_in_the_workflow():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    allowed = Requirement(f"python{project['requires-python']}").specifier
    versions = [version for version in (f"3.{n}" for n in range(8, 30)) if version in allowed]
    workflow = ROOT / ".github" / "workflows" / "test.yml"
    assert f"python: {json.dumps(versions)}" in workflow.read_text()
