# Every target that needs the environment makes it first, or reuses it: see
# requirements/setup-venv.sh for how the interpreter is found (PYTHON=... names one).
# STACK=today: TensorFlow 2.21 on the newest Python, in .venv-today.

STACK ?= default
VENV := $(if $(filter default,$(STACK)),.venv,.venv-$(STACK))
PYTEST_ARGS ?= -n 2 --dist loadfile
DEMO_ARGS ?=
LOCK_ARGS ?=

# TensorFlow's start-up messages would bury the tests' and the demo's own.
export STACK
export TF_CPP_MIN_LOG_LEVEL ?= 3

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-e2e test-all lint format lock clean distclean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

venv: ## .venv with the locked packages and this package in place (STACK=today: .venv-today)
	@requirements/setup-venv.sh

demo: venv ## train, evaluate and push a small model, and ask it (DEMO_ARGS=...)
	$(VENV)/bin/python -m pipeline.demo $(DEMO_ARGS)

test: lint ## lint and the tests, without the slow ones and TFX runs (PYTEST_ARGS=...)
	$(VENV)/bin/python -m pytest -m "not slow and not e2e" $(PYTEST_ARGS)

test-e2e: venv ## the tests that run the TFX pipeline, without the slow ones (PYTEST_ARGS=...)
	$(VENV)/bin/python -m pytest -m "e2e and not slow" $(PYTEST_ARGS)

test-all: lint ## lint and all tests
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS)

lint: venv ## ruff: rules and format
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: venv ## let ruff mend what it can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

lock: ## renew the lock in requirements (LOCK_ARGS=--upgrade for newer versions)
	requirements/setup-venv.sh --lock $(LOCK_ARGS)

clean: ## what runs leave behind; keeps the environments and saved_models
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . \( -path './.venv*' -o -path ./.uv -o -path ./.git \) -prune -o \
		-type d -name __pycache__ -exec rm -rf {} +

distclean: clean ## also the environments and the private uv
	rm -rf .venv .venv-today .uv
