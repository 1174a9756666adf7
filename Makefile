# filingd: every command a newcomer, a developer or CI needs.
#   make demo    set up and run the main job against a registry on this machine
#   make test    the whole test suite
#   make check   format, lint, types, layers, tests: what CI runs
#   make bench   measured figures, side by side with peers, into tests/bench/RESULTS.md

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PYTEST_WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format lint types layers bench soak lock clean

help:
	@sed -n '2,5p' Makefile | cut -c3-

setup: $(VENV)/.installed

$(VENV)/.installed: requirements/dev.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit("filingd needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.11 " ) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

demo: setup
	$(BIN)/filingd demo --store demo-store

test: setup
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist worksteal

check: setup format lint types layers test

format: setup
	$(BIN)/ruff format --check daemon tests

lint: setup
	$(BIN)/ruff check daemon tests

types: setup
	$(BIN)/mypy

layers: setup
	$(BIN)/lint-imports

bench: setup
	tests/bench/run

soak: setup
	FILINGD_SOAK_KILLS=$${FILINGD_SOAK_KILLS:-3000} $(BIN)/python -m pytest tests/crash -q
	FILINGD_ARCHIVE_DAYS=$${FILINGD_ARCHIVE_DAYS:-1080} $(BIN)/python -m pytest tests/e2e/test_years_of_archive.py -q

# The lock files carry hashes and no index host; any index that serves these very files will do.
lock:
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements/run.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --group dev pyproject.toml -c requirements/run.lock -o requirements/dev.lock

clean:
	rm -rf $(VENV) dist build demo-store .mypy_cache .ruff_cache .pytest_cache .hypothesis
