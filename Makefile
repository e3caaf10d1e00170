# make demo          set up and run the main job on embedded providers: no server, no key
# make demo-servers  the same job on private servers, by settings alone; ARGS=--help names the choices
# make test          set up, with the servers where they can be installed, and run the whole suite; says which servers it used
# make services      install the servers that the tests use; fails where one stays missing
# make check         lint, types, generated code, layers
# make bench         this project, the raw SDKs and the peers side by side, into bench/results
# make sync          write the blocking twins of the asyncio modules
# make docs          write the manual's pages of the providers from their settings
# make build         wheel and sdist of every distribution, into dist
# make pin           write constraints.txt from the environment
# make clean         delete everything that these made

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo demo-servers test bench check sync docs services build pin clean

# Nothing of the caller's Python gets in.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV PYTHONDONTWRITEBYTECODE
export PYTHONNOUSERSITE := 1

VENV := .venv
PYTHON := $(VENV)/bin/python
MEMBERS := $(wildcard core/pyproject.toml plugins/*/pyproject.toml)
JOBS ?= auto
ARGS ?=

help:
	@sed -n 's/^# make/make/p' Makefile

setup = @python=$$(sh tools/find_python.sh); "$$python" -I tools/setup_venv.py $(VENV)

$(VENV)/.demo: constraints.txt tools/setup_venv.py core/pyproject.toml plugins/infra_local/pyproject.toml
	$(setup) demo

$(VENV)/.ready: constraints.txt pyproject.toml tools/setup_venv.py $(MEMBERS)
	$(setup) ready

$(VENV)/.bench: constraints.txt pyproject.toml tools/setup_venv.py $(MEMBERS)
	$(setup) bench

demo: $(VENV)/.demo
	@$(VENV)/bin/infra demo $(ARGS)

demo-servers: $(VENV)/.ready
	@$(PYTHON) tools/demo_servers.py $(ARGS)

test: $(VENV)/.ready
	@$(PYTHON) tools/services.py --quietly
	@$(PYTHON) -m pytest -n $(JOBS) --maxprocesses 4 --dist worksteal $(ARGS)

bench: $(VENV)/.bench
	@$(PYTHON) bench/run.py $(ARGS)

# Every check runs, whatever the ones before it found.
check: $(VENV)/.ready
	@status=0; check() { "$$@" || status=1; }; \
	check $(PYTHON) -m ruff check; \
	check $(PYTHON) -m ruff format --check; \
	check $(PYTHON) tools/generate_sync.py --check; \
	check $(PYTHON) tools/generate_docs.py --check; \
	check $(PYTHON) tools/check_layers.py; \
	check $(PYTHON) tools/check_tree.py; \
	check $(PYTHON) -m pyright; \
	exit $$status

sync: $(VENV)/.ready
	@$(PYTHON) tools/generate_sync.py

docs: $(VENV)/.ready
	@$(PYTHON) tools/generate_docs.py

services: $(VENV)/.ready
	@$(PYTHON) tools/services.py

build: $(VENV)/.ready
	@rm -rf dist
	@for member in $(dir $(MEMBERS)); do (cd "$$member" && "$(CURDIR)/$(PYTHON)" -m hatchling build -d "$(CURDIR)/dist"); done

pin: $(VENV)/.bench
	@$(PYTHON) tools/pin.py

clean:
	@rm -rf $(VENV) .services .pytest_cache .ruff_cache .hypothesis .infra dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
