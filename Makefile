# Everything a developer runs. `make` alone lists it. Needs a Python from 3.11 to 3.14 and nothing else.

VENV := .venv
BIN := $(VENV)/bin
UV ?= uv
# the Python to make .venv with; when not given, the first of the usual names that is new enough
PYTHON ?=
ARGS ?=
NEW_ENOUGH := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header

# the tests' lock holds all of the demo's, in the same versions
DEMO_STAMP := $(if $(wildcard $(VENV)/.installed-dev),$(VENV)/.installed-dev,$(VENV)/.installed-demo)

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-live test soak endurance bench mutants check format lint run lock picture clean

help:  ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed-dev  ## Make .venv with the worker and all it takes to work on it

demo: $(DEMO_STAMP)  ## Show the whole job in under a minute: real Kafka, a stand-in API, the worker
	@$(BIN)/python -m worker demo $(ARGS)

demo-live: $(DEMO_STAMP)  ## The same, with traffic that goes on until Ctrl-C
	@$(BIN)/python -m worker demo --live $(ARGS)

run: setup  ## Run the worker with the settings of the environment
	@$(BIN)/python -m worker run $(ARGS)

check: lint  ## What every commit must pass: lint, types, imports, fast tests
	$(BIN)/pytest --quiet tests/unit tests/properties

lint: setup  ## Lint, format, types and imports, changing nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: setup  ## Put the code in order
	$(BIN)/ruff check --fix --exit-zero
	$(BIN)/ruff format

test: setup  ## All tests but the soak, real Kafka included
	@$(BIN)/pytest $(ARGS)

soak: setup  ## The tests that take minutes: crashes, restarts and outages under load, at random moments
	@$(BIN)/pytest -m soak --timeout 400 $(ARGS)

bench: setup  ## What an event costs, against two scripts, and the pace of a backfill (a quarter of an hour)
	@$(BIN)/python -m benchmarks $(ARGS)

mutants: setup  ## Break the code in dozens of ways, and see that the tests notice each
	@$(BIN)/python -m tests.mutants.run $(ARGS)

endurance: setup  ## Brokers that die for minutes, an outage with a deep backlog (about fifteen minutes)
	@$(BIN)/pytest -m endurance --timeout 900 $(ARGS)

lock:  ## Write the lock files anew from pyproject.toml (needs uv)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv; UV=/path/to/uv names one elsewhere." >&2; exit 1; }
	$(COMPILE) pyproject.toml --output-file requirements.lock
	$(COMPILE) --group build --output-file requirements-build.lock
	$(COMPILE) pyproject.toml --extra demo --output-file requirements-demo.lock
	$(COMPILE) pyproject.toml --extra demo --extra dev --output-file requirements-dev.lock

picture:  ## Draw the README's picture anew from docs/flow.dot (needs Graphviz)
	dot -Tsvg docs/flow.dot -o docs/flow.svg

clean:  ## Remove .venv and every cache
	rm -rf $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# what is installed is as new as its lock file and pyproject.toml, or is installed again
$(VENV)/.installed-%: requirements-%.lock pyproject.toml | $(VENV)/.made
	@echo "Installing the worker and requirements-$*.lock into $(VENV) ..."
	@$(PIP) --require-hashes --requirement requirements-$*.lock
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.made:
	@if $(BIN)/python -c '$(NEW_ENOUGH)' 2>/dev/null; then touch $@; exit 0; fi; \
	for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.14 python3.11 python); do \
		if $$python -c '$(NEW_ENOUGH)' 2>/dev/null; then \
			found=$$python; break; \
		fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "The worker needs Python 3.11, 3.12, 3.13 or 3.14; $(or $(PYTHON),python3) is $$($(or $(PYTHON),python3) --version 2>&1)." >&2; \
		echo "Name another one: make PYTHON=/path/to/python3.12 $(or $(MAKECMDGOALS),setup)" >&2; \
		exit 1; \
	fi; \
	$$found -m venv --clear $(VENV) || { \
		echo "$$found cannot make a virtual environment; on Debian and Ubuntu the package python3-venv is missing." >&2; exit 1; }
	@touch $@
