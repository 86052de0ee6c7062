# Tailsweep. `make help` lists what there is.
SHELL := /bin/bash
STUDY ?= quickstart
STORAGE ?= results
ADDRESS ?=
ARGS ?=
PORT ?= 5000
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/.installed
WHERE = --storage "$(STORAGE)" $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup sweep plan status report track ui test slow lint bench clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 10
	@echo 'Variables: STUDY=$(STUDY) STORAGE=$(STORAGE) ADDRESS=$(ADDRESS) ARGS=$(ARGS)'

setup: $(DONE) ## make .venv; skipped when nothing changed

$(DONE): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo 'make: needs Python 3.11 or newer; name one with PYTHON=...' >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

sweep: $(DONE) ## run a study and print its table
	@$(BIN)/tailsweep sweep "$(STUDY)" $(if $(ADDRESS),--address "$(ADDRESS)") $(WHERE)

plan: $(DONE) ## show what a study will do
	@$(BIN)/tailsweep plan "$(STUDY)" $(WHERE)

status: $(DONE) ## show how far a study is
	@$(BIN)/tailsweep status "$(STUDY)" $(WHERE)

report: $(DONE) ## make the tables and the page again from the ledger
	@$(BIN)/tailsweep report "$(STUDY)" $(WHERE)

track: $(DONE) ## bring MLflow up to date with the ledger
	@$(BIN)/tailsweep track "$(STUDY)" $(WHERE)

ui: $(DONE) ## serve the MLflow UI on 127.0.0.1
	$(BIN)/mlflow ui --backend-store-uri "sqlite:///$(abspath $(STORAGE))/mlflow.db" --host 127.0.0.1 --port $(PORT)

test: $(DONE) ## run the tests, without those marked slow
	$(BIN)/python -m pytest -m 'not slow' $(ARGS)

slow: $(DONE) ## run the slow tests: real systems, killed and broken in many ways
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(DONE) ## ruff and mypy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(DONE) ## measure the performance claims, as ratios in one run
	$(BIN)/python -m orchestrator.bench $(ARGS)

clean: ## remove .venv, caches and build files; results stay
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
