# `make run` on a fresh machine: environment, installation, and a leaderboard row from the embedded data set.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Processes of the tests, with a thread each: small operations gain nothing by a second one.
JOBS ?= 2
INSTALLED := $(VENV)/.fewshot-installed

.PHONY: run test lint clean help

help:
	@echo "make run    set up, meta-train and meta-test on the embedded letters, show the leaderboard"
	@echo "make test   set up, check style, run the tests"
	@echo "make lint   check style only"
	@echo "make clean  remove the environment and build leftovers (runs and data stay)"

run: $(INSTALLED)
	$(BIN)/fewshot $(ARGS)
	$(BIN)/fewshot-leaderboard show

test: $(INSTALLED) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache

# Installed again when the requirements change; the checkout itself is used as it is.
$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test,sweeps,ray]'
	touch $@
