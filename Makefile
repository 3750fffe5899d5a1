# The only entry point, for people and for CI. A fresh machine needs Python >= 3.11 and make:
# every target makes the virtual environment it needs, and a second run finds it ready.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV   ?= .venv
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN     = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

NEED    = pyproject.toml constraints.txt
# What cannot live beside the rest; only the tests that need it have it on their path.
APART   = tests/tune/search/nevergrad.txt
PYTEST  = $(BIN)/python -m pytest
# Two files at a time; a test that is marked `alone` has both cores.
TWO     = -n 2 --dist loadfile
ROUNDS ?= 10
# As pip does for what is not editable: each worker's zygote is a fresh interpreter, and without
# bytecode (PYTHONDONTWRITEBYTECODE may be set) it would compile a hundred modules anew.
COMPILE = @$(BIN)/python -m compileall -q src

.PHONY: help setup fix check lint types layers sizes fast test random soak test-lowest test-newest test-ray docs bench demo ci constraints clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

# ---- environments: a stamp file says what is installed, and is older than what asks for it ----

$(VENV)/.pip: constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none of python3, python3.13, python3.12, python3.11 is one. Say: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --constraint constraints.txt pip
	@touch $@

$(VENV)/.demo: $(VENV)/.pip $(NEED)
	$(INSTALL) --constraint constraints.txt --build-constraint constraints.txt --editable '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.pip $(NEED) $(APART)
	$(INSTALL) --constraint constraints.txt --build-constraint constraints.txt --editable '.[demo]' --group dev
	rm -rf $(VENV)/apart
	$(INSTALL) --no-deps --target $(VENV)/apart --requirement $(APART)
	$(COMPILE)
	@touch $(VENV)/.demo $@

setup: $(VENV)/.dev  ## the virtual environment, with everything for development

# ---- every day ----

demo: $(VENV)/.demo  ## the taxi lesson, end to end
	$(COMPILE)
	$(BIN)/heliostat demo

fix: $(VENV)/.dev  ## let ruff mend and format what it can; write the tree, names and notebooks anew
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/python -m tools.tree --write
	$(BIN)/python -m tools.names --write
	$(BIN)/python -m tools.notebooks --write

check: lint types layers sizes  ## lint, types, layers, sizes, parity of names (under 30 s)

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/pyright

layers: $(VENV)/.dev
	$(BIN)/lint-imports

sizes: $(VENV)/.dev
	$(BIN)/python -m tools.budget
	$(BIN)/python -m tools.names
	$(BIN)/python -m tools.tree
	$(BIN)/python -m tools.notebooks

fast: $(VENV)/.dev  ## the tests that take seconds
	$(COMPILE)
	$(PYTEST) $(TWO) -m 'not slow and not soak and not ray and not gpu'

test: $(VENV)/.dev  ## everything that runs here, with coverage (about 20 min on 2 cores)
	$(COMPILE)
	$(PYTEST) $(TWO) -m 'not soak and not ray and not gpu' --cov --cov-report=term --durations=40 --durations-min=4

random: $(VENV)/.dev  ## tests of made-up examples, with others each time (ROUNDS=10; a minute each)
	$(COMPILE)
	rounds=$$(seq $(ROUNDS)); for round in $$rounds; do \
	  $(PYTEST) $(TWO) -q -m 'hypothesis and not soak and not ray' --hypothesis-profile=random; done

soak: $(VENV)/.dev  ## long histories, chaos and kills, at full size (an hour or more)
	$(COMPILE)
	$(PYTEST) -m soak -o timeout=3000 -o faulthandler_timeout=2900

docs: $(VENV)/.dev  ## the site, from docstrings and guides, and the next changelog
	$(BIN)/mkdocs build --strict --quiet
	$(BIN)/python -m tools.reference
	$(BIN)/towncrier build --draft --version next

bench: $(VENV)/.dev  ## benchmarks against their baselines, as ratios
	$(COMPILE)
	$(BIN)/python -m benchmarks.run

ci: $(VENV)/.dev  ## what has to pass before a change lands: check, docs, test
	@failed=0; \
	$(MAKE) --keep-going --jobs=2 --output-sync=target check docs || failed=1; \
	$(MAKE) test || failed=1; \
	exit $$failed

# ---- the ends of the version ranges we declare ----

test-lowest:  ## the suite with the oldest versions we say we work with
	$(MAKE) VENV=.venv-lowest .venv-lowest/.tests-lowest
	.venv-lowest/bin/python -m compileall -q src
	.venv-lowest/bin/python -m pytest -m 'not soak and not ray and not gpu'

$(VENV)/.tests-lowest: $(NEED) constraints-lowest.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --constraint constraints.txt pip
	$(INSTALL) --constraint constraints-lowest.txt --editable '.[demo,http,grpc,avro,delta,lance,iceberg,audio,video]' --group test
	@touch $@

test-newest:  ## the suite with whatever is newest today
	$(MAKE) VENV=.venv-newest .venv-newest/.tests-newest
	.venv-newest/bin/python -m compileall -q src
	.venv-newest/bin/python -m pytest -m 'not soak and not ray and not gpu'

$(VENV)/.tests-newest: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip
	$(INSTALL) --upgrade --upgrade-strategy eager --editable '.[demo,http,grpc,avro,delta,lance,iceberg,audio,video]' --group test
	@touch $@

test-ray:  ## programs under Ray and under Heliostat, and the engine on Ray, in an environment that has both
	$(MAKE) VENV=.venv-ray .venv-ray/.tests-ray
	.venv-ray/bin/python -m compileall -q src
	.venv-ray/bin/python -m pytest -m 'ray and not soak and not gpu' tests/ray

$(VENV)/.tests-ray: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip
	$(INSTALL) --editable '.[demo,ray]' 'ray[default,data,train,tune,serve]' joblib mlxtend polars scikit-learn torchmetrics torch==2.13.0 torchvision==0.28.0 --group test
	@touch $@

constraints:  ## write constraints.txt anew from a fresh environment with the newest of everything
	rm -rf .venv-constraints
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/python -m pip install --quiet --upgrade pip
	.venv-constraints/bin/python -m pip install --quiet hatchling --editable '.[demo]' --group dev
	{ echo '# Written by `make constraints`: the newest of everything on the day it ran.'; \
	  .venv-constraints/bin/python -m pip freeze --all --exclude-editable --exclude setuptools \
	    | sed 's/+cpu$$//'; } > constraints.txt
	rm -rf .venv-constraints

clean:  ## everything that make has made
	rm -rf .venv .venv-lowest .venv-newest site build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
