# Everything goes into .venv of this checkout. The light core comes first; what a target needs
# beyond it is installed when that target is first made, and never twice: the two stamps depend
# on pyproject.toml and constraints.txt.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
COG := $(BIN)/cog -I tools
CORE := .venv/.core
ALL := .venv/.all
export NO_ALBUMENTATIONS_UPDATE := 1# img2dataset's albumentations asks the network at import

.DEFAULT_GOAL := help
.PHONY: help setup setup-all check format test test-fast docs demo bench bench-download soak constraints clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

setup: $(CORE) ## Install the light core into .venv: filter, download, demo (no torch)

setup-all: $(ALL) ## Install every extra and the development tools as well (torch: 7 GB)

demo: $(CORE) ## Run the whole way on bundled pictures, into ./coyo-demo
	$(BIN)/coyo demo

check: $(ALL) ## Lint, types, layers, generated docs: what has to be clean before a commit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_text.py
	$(COG) --check --diff docs/*.md

format: $(ALL) ## Format the code and put the imports in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(ALL) ## Run every test, in two processes side by side; with ARGS='...' pytest with these
	$(BIN)/python tools/run_tests.py $(ARGS)

test-fast: $(ALL) ## Run the tests that take less than about ten seconds each
	$(BIN)/python -m pytest -m 'not slow' $(ARGS)

docs: $(ALL) ## Write the generated parts of docs/*.md anew
	$(COG) -r docs/*.md

bench: $(ALL) ## Run every benchmark; figures go to benchmarks/RESULTS.md
	set -e; for script in benchmarks/bench_*.py; do $(BIN)/python $$script; done

bench-download: $(ALL) ## Time the downloader beside img2dataset on a local nginx, 4,000 urls
	$(BIN)/python benchmarks/bench_download.py

soak: $(ALL) ## Download 100,000 small pictures and draw the memory it takes (docs/images/soak.svg)
	$(BIN)/python benchmarks/soak.py

constraints: $(ALL) ## Write constraints.txt from what is installed in .venv
	$(BIN)/python -m pip install --quiet --no-deps -e .
	$(BIN)/python tools/make_constraints.py > constraints.txt.new
	mv constraints.txt.new constraints.txt
	touch $(CORE) $(ALL)

clean: ## Remove what the targets above made, .venv included
	rm -rf .venv coyo-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache benchmarks/out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "no python3.11 found; name one: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is " + sys.version)'
	$(PYTHON) -m venv .venv

$(CORE): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	touch $@

$(ALL): $(CORE)
	$(PIP) -e '.[dev]'
	touch $@
