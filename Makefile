PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help chat test check bench clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# a stamp for each set of packages, so that the second start installs nothing
$(VENV)/.chat: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing botkit into $(VENV) …"
	$(PIP) -e '.[terminal,documents]'
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing what the tests need into $(VENV) …"
	$(PIP) torch
	$(PIP) -e '.[dev]'
	@touch $@

chat: $(VENV)/.chat  ## talk with the bot in the terminal
	@$(BIN)/botkit chat

test: $(VENV)/.test  ## run all tests
	$(BIN)/python -m pytest

check: $(VENV)/.test  ## lint, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.test  ## the benchmarks that need no data of their own
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/latency.py

clean:  ## remove what the targets above made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
