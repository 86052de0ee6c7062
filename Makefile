# Tailsweep. `make help` lists what there is.
SHELL := /bin/bash
STUDY ?= quickstart
STORAGE ?= results
ADDRESS ?=
CLUSTER ?=
ARGS ?=
PORT ?= 5000
FOLDER ?= mlflow
FAULTS ?= 20
SEED ?= 0
MINUTES ?= 60
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/.installed
DEV := $(VENV)/.dev-installed
SERVER := $(VENV)/.server-installed
# A profile may name a storage of its own: only one that was asked for is put before it.
WHERE = $(if $(and $(CLUSTER),$(filter file,$(origin STORAGE))),,--storage "$(STORAGE)") $(ARGS)
ON = $(if $(CLUSTER),--cluster "$(CLUSTER)")
# Several tests at a time, where each process of pytest can have a network and processes of its own: as root on Linux.
APART = $(if $(shell sh tests/isolated.sh echo yes 2>/dev/null),--dist $(1) --tx '$(2)*popen//python=sh tests/isolated.sh $(BIN)/python')

# Tests start hundreds of processes: none should compile the same sources again, whatever the environment says.
test slow long: export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup sweep submit logs cancel plan status report track ui mlflow test slow chaos gpu long lint docs gallery \
  bench clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 10
	@echo 'Variables: STUDY=$(STUDY) STORAGE=$(STORAGE) CLUSTER=$(CLUSTER) ADDRESS=$(ADDRESS) ARGS=$(ARGS)'

setup: $(DONE) ## make .venv; skipped when nothing changed

$(DONE): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo 'make: needs Python 3.11 or newer; name one with PYTHON=...' >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]'
	@touch $@

$(DEV): $(DONE)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $@

$(SERVER): $(DONE)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,server]'
	@touch $@

sweep: $(DONE) ## run a study and print its table; with CLUSTER, there
	@$(BIN)/tailsweep sweep "$(STUDY)" $(if $(ADDRESS),--address "$(ADDRESS)") $(ON) $(WHERE)

submit: $(DONE) ## send a study to CLUSTER and come back
	@$(BIN)/tailsweep submit "$(STUDY)" $(ON) $(WHERE)

logs: $(DONE) ## show the logs of what was submitted to CLUSTER
	@$(BIN)/tailsweep logs "$(STUDY)" $(ON) $(WHERE)

cancel: $(DONE) ## stop what was submitted to CLUSTER; results stay
	@$(BIN)/tailsweep cancel "$(STUDY)" $(ON) $(WHERE)

plan: $(DONE) ## show what a study will do
	@$(BIN)/tailsweep plan "$(STUDY)" $(WHERE)

status: $(DONE) ## show how far a study is; with CLUSTER, what that says
	@$(BIN)/tailsweep status "$(STUDY)" $(ON) $(WHERE)

report: $(DONE) ## make the tables and the page again from the ledger
	@$(BIN)/tailsweep report "$(STUDY)" $(WHERE)

track: $(DONE) ## bring MLflow up to date with the ledger
	@$(BIN)/tailsweep track "$(STUDY)" $(WHERE)

ui: $(DONE) ## serve the MLflow UI on 127.0.0.1
	@$(BIN)/python -m orchestrator.tracking.mlflow "$(STORAGE)" "$(PORT)"
	$(BIN)/mlflow ui --backend-store-uri "$$($(BIN)/python -m orchestrator.tracking.mlflow "$(STORAGE)")" \
	  --host 127.0.0.1 --port $(PORT)

mlflow: $(SERVER) ## serve MLflow on PostgreSQL in FOLDER; ARGS=--basic-auth
	@$(BIN)/python -m clusters.mlflow.server "$(FOLDER)" --port "$(PORT)" $(ARGS)

test: $(DEV) ## run the tests, without those marked slow or long
	$(BIN)/python -m pytest -m 'not slow and not long and not gpu' $(call APART,loadfile,2) $(ARGS)

slow: $(DEV) ## run the slow tests: real systems, killed and broken in many ways
	$(BIN)/python -m pytest -m slow --timeout 2400 $(call APART,worksteal,3) $(ARGS)

long: $(DEV) ## run further forms of the slow tests: other clusters, moments and numbers
	$(BIN)/python -m pytest -m long --timeout 2400 $(call APART,worksteal,3) $(ARGS)

chaos: $(DEV) ## break sweeps at random and compare: FAULTS, SEED, MINUTES
	PYTHONPATH=tests $(BIN)/python -m chaos.run --faults "$(FAULTS)" --seed "$(SEED)" --minutes "$(MINUTES)" $(ARGS)

gpu: $(DEV) ## run what takes a GPU; skipped with a reason where there is none
	$(BIN)/python -m pytest -m gpu --timeout 1800 tests/gpu $(ARGS)

lint: $(DEV) ## ruff and mypy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(DEV) ## build the site of the documents into build/site, strictly
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

gallery: $(DONE) ## make docs/gallery: sweep three studies, one of which needs STS-B-DIR in TAILSWEEP_DATA
	$(BIN)/python docs/gallery.py "$(STORAGE)"

bench: $(DEV) ## measure the performance claims, as ratios in one run
	PYTHONPATH="$(CURDIR):$(CURDIR)/tests" $(BIN)/python -m bench.study $(ARGS)

clean: ## remove .venv, caches and build files; results stay
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
