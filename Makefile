# For a fresh machine with Python >= 3.11: `make demo`, `make lead` and `make test`.
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python

# Folder of the CIFAR files: `make lead` downloads them there if they are not in it.
DATA ?= data

.PHONY: demo lead test lint docs install

demo: install  ## Compare condensers on scikit-learn's handwritten digits (no download).
	$(RUN) -m harness.continual --protocol quick

lead: install  ## CIFAR-10, 10 images per class: condense by the lead recipe, score by the paper's evaluation.
	$(RUN) -m harness.table --protocol bench --dataset cifar10 --data-root $(DATA) --condensers blockwise --memories 1 \
	  --store uint8 --out out/lead

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
