# Every verb sets itself up on a bare machine: Python 3.11 or newer with pip and venv is all it needs.
# On Linux, PyPI's torch brings CUDA along; for the smaller CPU build:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.stamp

# Two workers fill two cores: a second torch thread in each would only make both wait.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n 2

.PHONY: demo test check fuzz bench vectors coverage-by-vectors clean
.DEFAULT_GOAL := test

demo: $(STAMP)
	$(PY) examples/demo.py

test: $(STAMP)
	$(PYTEST)

check: $(STAMP)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	$(PY) spec/generate.py --check
	$(PYTEST)

fuzz: $(STAMP)
	$(PYTEST) -m fuzz

bench: $(STAMP)
	set -e; for script in bench/bench_*.py; do $(PY) $$script; done

vectors: $(STAMP)
	$(PY) -m conformance.generate

coverage-by-vectors: $(STAMP)
	$(PY) -m conformance.coverage

clean:
	rm -rf $(VENV) build dist out .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sinrfmt needs Python 3.11 or newer: make PYTHON=python3.11")'
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet -c constraints.txt hatchling editables
	$(PY) -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[all,dev]'
	touch $@
