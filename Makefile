# Two commands a newcomer needs: `make digits` (the main job) and `make test` (all checks).
# Each makes its own environment first, with nothing but Python, pip and make.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt

# The lowest version of every library, in an environment of its own. NumPy 2.0 is built for Python
# 3.11 and 3.12: `make test-lowest PYTHON=python3.12`, where python3 is a newer one.
LOWEST := .venv-lowest
INSTALL_LOWEST := $(LOWEST)/bin/python -m pip --disable-pip-version-check install --quiet \
    --only-binary :all: --constraint constraints-lowest.txt
# What needs no extra, and what needs one.
LOWEST_CORE := probabilities information cross_entropy linear imports
LOWEST_EXTRAS := estimators data tables cli report calibrate judge dask packaging
LOWEST_TORCH := torch_functional torch_modules torch_edges torch_kinds torch_information torch_linear \
    torch_shards torch_compile torch_transforms compiled_losses head_calls fit_tensors triton_kernels
TEST_LOWEST = $(LOWEST)/bin/python -m pytest -q -n auto --maxprocesses 4 $(patsubst %,tests/test_%.py,$(1))

# The libraries of docs/drop-in.md, in an environment of their own: they ask for newer versions of
# some of what is pinned, or for an older one.
RECIPES := .venv-recipes
OTHERS_IN_RECIPES := huggingface_hub|importlib_metadata|tokenizers|transformers
INSTALL_RECIPES := $(RECIPES)/bin/python -m pip --disable-pip-version-check install --quiet \
    --constraint $(RECIPES)/constraints.txt

.PHONY: help digits test lint types tests test-lowest test-recipes docs bench format clean

help:
	@echo "make digits   make an environment (0.65 GB) and fit the embedded digits"
	@echo "make test     make an environment (3 GB) and run every check: lint, types, tests, doctests"
	@echo "make test-lowest  the same libraries at their lowest versions (8 GB), and the tests of them"
	@echo "make test-recipes  docs/drop-in.md with the libraries themselves (2.5 GB)"
	@echo "make docs     build the site, docs/_build/html, to be opened in a browser"
	@echo "make bench    time the short table, add it to benchmarks/history.csv, redraw its picture"
	@echo "make format   write the code in the house's format"
	@echo "make clean    remove the environments and the site"

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

# First with the core alone, then with the extras, PyTorch last: its lowest release is had with what
# it needs for GPUs only, and takes 7 GB.
test-lowest: $(LOWEST)/.core
	$(call TEST_LOWEST,$(LOWEST_CORE))
	$(INSTALL_LOWEST) --editable '.[cli,report,parquet,dask]'
	$(call TEST_LOWEST,$(LOWEST_EXTRAS))
	$(INSTALL_LOWEST) --editable '.[cli,report,parquet,dask,torch]' expecttest
	$(call TEST_LOWEST,$(LOWEST_TORCH))

# A warning is a failure: a link that leads nowhere, a docstring that does not parse. All is built
# anew, since docstrings and commands are part of the pages.
docs: $(VENV)/.development
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --fresh-env --write-all \
	    docs docs/_build/html
	@echo "The site begins at docs/_build/html/index.html"

# A line for each kind of work, beside one peer; keep the machine quiet meanwhile.
bench: $(VENV)/.development
	$(BIN)/python benchmarks/short.py
	$(BIN)/python docs/pictures.py

# On one process: the larger fits take both cores of a small machine.
test-recipes: $(RECIPES)/.libraries
	$(RECIPES)/bin/python -m pytest -q $(wildcard tests/test_docs_drop_in*.py) \
	    tests/test_to_scikit_learn.py tests/test_hugging_face.py

format: $(VENV)/.development
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) $(LOWEST) $(RECIPES) docs/_build

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

# pip itself is constraints.txt's: older ones know no groups of pyproject.toml.
$(LOWEST)/.core: constraints.txt constraints-lowest.txt pyproject.toml
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip --disable-pip-version-check install --quiet \
	    --constraint constraints.txt --upgrade pip
	$(INSTALL_LOWEST) --editable . --group test
	@touch $@

$(RECIPES)/.libraries: constraints.txt pyproject.toml
	$(PYTHON) -m venv --clear $(RECIPES)
	grep -Ev '^($(OTHERS_IN_RECIPES))==' constraints.txt > $(RECIPES)/constraints.txt
	$(INSTALL_RECIPES) --upgrade pip
	$(INSTALL_RECIPES) --editable '.[cli,parquet,torch]' --group recipes
	$(INSTALL_RECIPES) --no-deps 'clip-benchmark>=1.6'
	@touch $@
