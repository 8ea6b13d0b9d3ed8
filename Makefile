# Every target sets up what it needs: an environment in .venv, once, from the versions in constraints.txt.
# Later runs touch no network until pyproject.toml or constraints.txt change.
# PYTHON=python3.12 make ... picks the interpreter; VENV=path another place for the environment.

VENV ?= .venv
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
PY := $(VENV)/bin/python
INSTALL := $(PY) -m pip install --disable-pip-version-check -c constraints.txt

.PHONY: help demo test test-quick fuzz lint imports format docs bench clean
.DELETE_ON_ERROR:

help:
	@echo "make demo        train on the rotterdam scenario and compare with the baselines (about 8 minutes the first time)"
	@echo "make test        the whole test suite"
	@echo "make test-quick  the tests that take seconds"
	@echo "make fuzz        10,000 spoiled files and command lines, and what became of them"
	@echo "make lint        ruff and mypy --strict"
	@echo "make imports     which room may import which, and whether it does"
	@echo "make format      ruff's formatter and its safe fixes"
	@echo "make docs        the tables of docs/ that are made from the code"
	@echo "make bench       environment throughput, to runs/benchmarks/env_throughput.json"
	@echo "make clean       remove caches and builds (not .venv, not runs/)"

demo: $(VENV)/.installed
	$(PY) -m fabmesh.agents.commands.demo

test: $(VENV)/.installed
	$(PY) -m pytest

test-quick: $(VENV)/.installed
	$(PY) -m pytest -m "not slow"

fuzz: $(VENV)/.installed
	$(PY) -m tests.fuzz --inputs 10000

bench: $(VENV)/.installed
	@mkdir -p runs/benchmarks
	$(PY) -m benchmarks.env_throughput --json runs/benchmarks/env_throughput.json

# mypy is given the sources under the name they are imported by; the link stands in for the installed package.
lint: $(VENV)/.installed-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	@mkdir -p $(VENV)/src && ln -sfn "$(CURDIR)" $(VENV)/src/fabmesh
	MYPYPATH=$(VENV)/src $(PY) -m mypy -p fabmesh

imports: $(VENV)/.installed
	$(VENV)/bin/lint-imports --no-cache

format: $(VENV)/.installed-dev
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: $(VENV)/.installed
	$(PY) -m tests.docs.tables

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

$(PY):
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer found; install one or set PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(PY)
	$(INSTALL) -e ".[test]"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) -e ".[dev]"
	@touch $@
