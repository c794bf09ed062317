# Two commands for a fresh machine with Python >= 3.11: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python

.PHONY: demo test lint docs install

demo: install  ## Compare condensers on scikit-learn's handwritten digits (no download).
	$(RUN) -m harness.continual

test: install  ## Import contracts, then every test.
	$(VENV)/bin/lint-imports
	$(RUN) -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

lint: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

docs: install  ## What docs/methods.md quotes from results/tables and the registry.
	$(RUN) docs/measured.py

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@
