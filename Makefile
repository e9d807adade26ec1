# Targets that need the environment create or update it first (PYTHON=... chooses the interpreter).
# STACK=today: TensorFlow 2.21 on Python 3.11 to 3.13, in .venv-today.

STACK ?= default
VENV := $(if $(filter default,$(STACK)),.venv,.venv-$(STACK))
LOCKED := requirements/$(if $(filter default,$(STACK)),lock-py310.txt,lock-today-tfx.txt)
# worksteal leaves no worker waiting; loadfile keeps the tests of a pipeline run with their run.
PYTEST_ARGS ?= -n 2 --dist $(if $(filter test-e2e,$@),loadfile,worksteal)
DEMO_ARGS ?=
LOCK_ARGS ?=
# uv does not read pip's settings.
UV = $(if $(PIP_INDEX_URL),UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$PIP_INDEX_URL}") \
	$(shell command -v uv || echo .uv/env/bin/uv)
LOCK = $(UV) pip compile pyproject.toml --quiet --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" $(LOCK_ARGS)

export STACK
# TensorFlow's start-up messages would bury those of the tests and the demo.
export TF_CPP_MIN_LOG_LEVEL ?= 3

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-e2e test-browser test-all lint format docs lock dist audit sbom \
	clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

venv: ## create or update .venv (STACK=today: .venv-today)
	@requirements/setup-venv.sh

demo: venv ## train, evaluate, push, and query a small model (DEMO_ARGS=...)
	$(VENV)/bin/python -m pipeline.demo $(DEMO_ARGS)

test: lint ## lint, and run the fast tests (PYTEST_ARGS=...)
	$(VENV)/bin/python -m pytest -m "not slow and not e2e" $(PYTEST_ARGS)

test-e2e: venv ## run the tests of TFX pipelines, training, and worker processes, without the slow ones
	$(VENV)/bin/python -m pytest -m "e2e and not slow" $(PYTEST_ARGS)

test-browser: venv ## run the tests of the page of `lxmert app` in Chromium; screenshots in build/screenshots
	@command -v chromium >/dev/null || \
		{ echo 'make test-browser: no chromium on PATH: apt-get install -y chromium' >&2; exit 2; }
	$(VENV)/bin/python -m pytest -m browser tests/app

test-all: lint ## lint, and run all tests
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS)

lint: venv ## check rules, format, and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: venv ## fix what ruff can fix
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: venv ## build the documentation site in build/site, with warnings as errors
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict --quiet

dist: venv ## build and check the wheel and the source distribution in dist
	rm -rf build/lib dist
	$(VENV)/bin/python -m build --no-isolation
	$(VENV)/bin/python -m twine check --strict dist/*

lock: venv ## update the locks of the stack (LOCK_ARGS=--upgrade for newer versions)
ifeq ($(STACK),default)
	$(LOCK) --all-extras --override requirements/overrides.txt --python $(VENV)/bin/python \
		--output-file requirements/lock-py310.txt
else
	$(LOCK) --all-extras --universal --python-version 3.11 \
		--output-file requirements/lock-today-tfx.txt
	$(LOCK) --extra dev --universal --python-version 3.11 \
		--constraints requirements/lock-today-tfx.txt --output-file requirements/lock-today.txt
endif

audit: venv ## list known vulnerabilities of the locked packages (needs the network)
	$(UV) tool run pip-audit --requirement $(LOCKED) --require-hashes --disable-pip

sbom: venv ## write dist/sbom.json, the locked packages in CycloneDX's format
	mkdir -p dist
	$(UV) tool run --from cyclonedx-bom cyclonedx-py requirements $(LOCKED) \
		--output-reproducible --output-format JSON --output-file dist/sbom.json

clean: ## delete build products and caches; keep the environments and saved_models
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info
	find . \( -path './.venv*' -o -path ./.uv -o -path ./.git \) -prune -o \
		-type d -name __pycache__ -exec rm -rf {} +

distclean: clean ## also delete the environments and uv
	rm -rf .venv .venv-today .uv
