# Two commands: `make run` and `make test`; `make help` lists the others.
# PYTHON names the interpreter that .venv is made with: make run PYTHON=python3.12
PYTHON ?= python3
BIN := .venv/bin
export PYTHONUTF8 := 1

.PHONY: help run test lab serve app book refresh pictures bench clean
.DEFAULT_GOAL := help

help: ## say what each command does
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

run: .venv/ready ## execute notebooks 01 to 04 on SER_DATA_DIR or the demo corpus into output/ (N=all, N=05, N=05-08)
	@$(BIN)/python run_notebooks.py $(N)

test: .venv/ready ## lint, unit tests, and every cell of the notebooks on the demo corpus
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest --nbval --nbval-current-env --nbval-cell-timeout=1800 --nbval-kernel-startup-timeout=300 tests notebooks

lab: .venv/ready ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks/01_load.ipynb

serve: .venv/ready ## open a page that listens (BUNDLE=output/recognizer: with notebook 10's model)
	@$(BIN)/python -m ser_utils.deploy.server --open $(if $(BUNDLE),--bundle $(BUNDLE))

app: .venv/ready ## write that page as an app that needs no server, into output/app (BUNDLE as above)
	@$(BIN)/python -m docs.make_app $(if $(BUNDLE),--bundle $(BUNDLE))

book: .venv/ready ## write the series as a site that one can read and search, into output/book
	$(BIN)/python -m sphinx -q -W -b html -c book -d output/doctrees . output/book
	@echo "output/book/index.html"

refresh: .venv/ready ## execute all notebooks in place on the demo corpus, for committing (N=05, N=05-08)
	$(BIN)/ruff format notebooks
	$(BIN)/ruff check --fix notebooks
	@env -u SER_DATA_DIR $(BIN)/python run_notebooks.py --in-place $(or $(N),all)

pictures: .venv/ready ## draw the pictures and fill the tables of the book anew; that of the page takes Chromium and a minute
	$(BIN)/python docs/make_picture.py
	$(BIN)/python docs/make_tables.py
	$(BIN)/python -m docs.make_page

bench: .venv/ready ## measure the claims about speed and load (SER_DATA_DIR: on that corpus)
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/load.py

clean: ## remove .venv, the demo corpus and everything computed
	rm -rf .venv data/demo output

.venv/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else "This project needs Python 3.11, 3.12 or 3.13 and $(PYTHON) is %d.%d; name another one: make PYTHON=python3.12" % v)'
	@echo "Setting up .venv: 1.2 GB of packages, one to three minutes, once."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.txt uv
	@$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python -r requirements.txt -e . \
	|| $(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt -e .
	@touch $@
