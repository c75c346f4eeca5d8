# One command each. Every target does its own set-up; on a clean Debian 12 as root it installs what is missing.
.DEFAULT_GOAL := help
VENV ?= .venv
PYTHON := $(VENV)/bin/python
PYTEST_ARGS ?=
# Hundreds of processes of the tests read the same sources: they compile them once, also where the shell says to keep nothing.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test pytest-only check check-only bench faults clean

help: ## Show the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

demo: ## The main job on one machine: cloud, simulated radios, hub, a power cut in the middle
	@scripts/setup.sh demo $(VENV)
	@$(VENV)/bin/agent demo $(if $(ONCE),--once)

test: ## All tests, with the foreign counterparties
	@scripts/setup.sh test $(VENV)
	@$(MAKE) --no-print-directory -j 2 check-only pytest-only

pytest-only:
	@$(PYTHON) -m pytest -n 4 --dist loadgroup $(PYTEST_ARGS)

check: ## Lint and types
	@scripts/setup.sh test $(VENV)
	@$(MAKE) --no-print-directory check-only

check-only:
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

bench: ## Figures, as ratios inside one run
	@scripts/setup.sh test $(VENV)
	@$(PYTHON) tests/bench/run.py

faults: ## The long runs: CYCLES=100 kills, power cuts by the hundred for each, unplugs, files; then every property with many examples
	@scripts/setup.sh test $(VENV)
	@HUB_AGENT_FAULT_CYCLES=$(or $(CYCLES),100) $(PYTHON) -m pytest -s $$(grep -rl --include='test_*.py' HUB_AGENT_FAULT tests) --timeout 7200 $(PYTEST_ARGS)
	@HUB_AGENT_FAULT_CYCLES=$(or $(CYCLES),100) $(PYTHON) -m pytest -n 4 --dist loadgroup -m hypothesis --timeout 3600 $(PYTEST_ARGS)

clean: ## Remove what was made
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/conformance/*/node_modules
	@find agent drivers tests -name __pycache__ -prune -exec rm -rf {} +
