# Two commands a newcomer needs: `make digits` (the main job) and `make test` (all checks).
# Each makes its own environment first, with nothing but Python, pip and make.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt

.PHONY: help digits test lint types tests format clean

help:
	@echo "make digits   make an environment (0.65 GB) and fit the embedded digits"
	@echo "make test     make an environment (3 GB) and run every check: lint, types, tests, doctests"
	@echo "make format   write the code in the house's format"
	@echo "make clean    remove the environment"

digits: $(VENV)/.command
	$(BIN)/bridle fit digits
	@echo
	@echo "The command is $(BIN)/bridle; source $(BIN)/activate puts it on the path."

test: lint types tests

lint: $(VENV)/.development
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.development
	$(BIN)/mypy

# On four processes at most: each holds PyTorch and its data.
tests: $(VENV)/.development
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4

format: $(VENV)/.development
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV)

$(VENV)/.pip: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip
	@touch $@

$(VENV)/.command: $(VENV)/.pip pyproject.toml
	$(INSTALL) --editable '.[cli]'
	@touch $@

$(VENV)/.development: $(VENV)/.pip pyproject.toml
	$(INSTALL) --editable '.[cli,report,parquet,torch,dask]' --group dev
	@touch $@
