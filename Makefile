# make demo   a real data set fitted and drawn       make test   the tests
# make lint   style and types                        make docs   these pages, with the gallery
# Each makes .venv and installs what it needs. PYTHON and PIP_FLAGS can be set.

PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt

.PHONY: demo test lint docs clean

demo: $(VENV)/.installed
	$(BIN)/pysciml demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-docs
	$(BIN)/python docs/make_gallery.py
	$(BIN)/mkdocs build --strict

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[test]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e '.[dev]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) -e '.[docs]'
	touch $@

# Numba does not see that a compiled loop calls helpers of another file: after editing these, `make clean`.
clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
	find pysciml -name '*.nb[ci]' -delete
