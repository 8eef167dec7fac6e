.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

help: ## Show the commands.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): requirements.lock pyproject.toml
	@echo "Setting up $(VENV) from requirements.lock (hashes checked) ..."
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Bourse needs Python 3.11 or newer; say which with make PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(READY)

setup: $(READY) ## Make .venv with everything the project needs.

demo: $(READY) ## Trade and score real applicants end to end, in separate processes.
	@$(BIN)/bourse demo

test: $(READY) ## Run every test.
	@$(BIN)/python -m pytest

bench: $(READY) ## Measure: the engine, beside its peers, and whole joint scores.
	@$(BIN)/python -m benchmarks.engine
	@$(BIN)/python -m benchmarks.peers
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.joint_score

soak: $(READY) ## Kill node and exchange 200 times in the middle of a release.
	@$(BIN)/python tests/crash_release.py --rounds 200

lint: $(READY) ## Run the linters, cheapest first.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/buf lint
	$(BIN)/buf breaking --against proto/released.binpb
	$(BIN)/python scripts/generate.py --check
	$(BIN)/lint-imports
	$(BIN)/mypy

generate: $(READY) ## Write the stubs from the .proto files.
	$(BIN)/python scripts/generate.py

lock: $(READY) ## Resolve the dependencies again and write requirements.lock.
	$(BIN)/uv pip compile pyproject.toml --extra dev --generate-hashes --no-header --no-emit-index-url --no-annotate --upgrade -q -o requirements.lock

.PHONY: help setup demo test bench soak lint generate lock
