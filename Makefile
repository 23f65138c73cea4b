# Everything a person or CI does here is one of these targets. A second run of an install does nothing.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Without its compiled files every command and every test process would compile Python anew.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
BIN := .venv/bin
# uv when the machine has it, else the pip of .venv: both take the same pinned files and check every hash.
UV := $(shell command -v uv)
PIP_INSTALL := $(if $(UV),$(UV) pip install --python $(BIN)/python --quiet,$(BIN)/python -m pip install -qq --no-input)
COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate --quiet --extra demo --extra postgres --group build
EXTRAS := --extra kafka --extra otel --extra parquet
NODE := tests/node
ARGS ?=
NAME ?=
# Tests wait as well as compute: one process of pytest more than there are cores. Chosen tests (ARGS) run in one, unless
# WORKERS is given with them.
WORKERS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))
BESIDE = -n $(WORKERS) --dist worksteal
# Compiled with mypyc for wheels, benchmarks and a second run of their tests; never where one develops.
COMPILED := $(addprefix headrace/,$(addprefix core/,cause.py envelope.py export.py lifetimes.py link.py merge.py message.py paths.py \
	prepared.py step.py times.py update.py view.py) $(addprefix destinations/,block.py dispatch.py flight.py lanes.py learning.py \
	paced.py rates.py ready.py retries.py shards.py verdicts.py kinesis/encoder.py) state/keys.py \
	$(addprefix runtimes/embedded/,counting.py decide.py decision.py entries.py lookup.py marks.py outbox.py parsed.py parser.py settle.py tally.py))
CC_HERE := $(shell command -v cc)
# What C decides (core/native): one file for the compiler, one extension module beside core/plain.py.
NATIVE = cc -O2 -fPIC -shared -Wall -Wextra -Wno-parentheses $(CFLAGS) \
	$$(../../$(BIN)/python -c 'import sysconfig as s; print("-I" + s.get_path("include"), "headrace/core/native/module.c -o headrace/core/_native" + s.get_config_var("EXT_SUFFIX"))')

.PHONY: help install run test compiled check types rooms fast fmt docs bench soak test-compiled wheel node-modules postgres browser requirements clean

help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

install: .venv/.run ## Install Headrace and what it needs into .venv

run: install ## Open the whole product on a local Kinesis with sample data, until Ctrl-C (ARGS="--once" for the short form)
	@$(BIN)/headrace demo $(ARGS)

test: .venv/.dev node-modules postgres browser ## Run all tests (ARGS="tests/core -x")
	@$(BIN)/pytest $(if $(ARGS),$(if $(filter-out file,$(origin WORKERS)),$(BESIDE)),$(BESIDE)) $(ARGS)
	@$(if $(ARGS)$(if $(CC_HERE),,no),,$(MAKE) -s test-compiled)

test-compiled: build/compiled/.done ## Run the tests of core, runtime and destinations on the compiled core
	@PYTHONPATH=build/compiled $(BIN)/pytest -q $(BESIDE) tests/core tests/runtimes tests/destinations tests/soak/test_interleavings.py -m "not moto and not kinesis_local"

compiled: build/compiled/.done ## Compile the core with mypyc into build/compiled (needs a C compiler)

build/compiled/.done: .venv/.dev $(addprefix src/,$(COMPILED)) $(shell find src -name '*.py' -o -name '*.[ch]')
	@echo "Compiling the core ..."
	@rm -rf build/compiled && mkdir -p build/compiled && cp -r src/headrace build/compiled/
	@printf '[mypy]\nignore_missing_imports = True\n' > build/compiled/mypy.ini
	@cd build/compiled && ../../$(BIN)/mypyc $(COMPILED) > mypyc.log 2>&1 || { tail -20 mypyc.log; exit 1; }
	@cd build/compiled && $(NATIVE)
	@cd build/compiled && for f in $(COMPILED); do ls "$${f%.py}".*.so > /dev/null && rm "$$f"; done
	@touch $@

check: .venv/.dev ## Format, lint, types, the rule between rooms, and the fast tests of the inner rooms
	@$(BIN)/ruff format --check . || { echo "make fmt formats them"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(MAKE) -s -j3 --output-sync fast types rooms

rooms: .venv/.dev
	@$(BIN)/lint-imports

types: .venv/.dev
	@$(BIN)/mypy src tests

fast: .venv/.dev
	@$(BIN)/pytest -q -m "not slow and not moto and not kinesis_local and not postgres and not browser" --hypothesis-profile=quick \
		$(addprefix --ignore=tests/,alerts api aws bootstrap cli console control docs e2e kinesis ops runtimes sources testing) $(ARGS)

fmt: .venv/.dev ## Format, and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: .venv/.dev node-modules browser ## Check that the documents' links resolve and their commands run; take the console's pictures anew
	@$(BIN)/python -m tests.console.pictures
	@$(BIN)/pytest -q tests/test_repository.py $(wildcard tests/docs)

bench: .venv/.bench $(if $(CC_HERE),build/compiled/.done) ## Run one benchmark (NAME=writer, NAME=road)
	@test -n "$(NAME)" || { echo "which one? make bench NAME=<name>, of:" $$(cd bench && ls -d */ | grep -v -e results -e out | tr -d /); exit 2; }
	@PYTHONPATH=build/compiled $(BIN)/python -m bench.$(NAME) $(ARGS)

soak: .venv/.dev node-modules postgres ## Run the slow and the generated tests with many more cases
	@HEADRACE_SOAK=1 $(BIN)/pytest -m "slow or hypothesis" --hypothesis-profile=soak --timeout=3600 -o faulthandler_timeout=4000 $(ARGS)

wheel: .venv/.run $(if $(CC_HERE),build/compiled/.done) ## Build the wheels into dist: plain, and compiled for this platform
	@rm -f dist/*.whl
	@$(BIN)/hatchling build --target wheel --directory dist
	@$(if $(CC_HERE),HEADRACE_COMPILED=build/compiled $(BIN)/hatchling build --target wheel --directory dist,echo "no C compiler here: the plain wheel alone")

node-modules: $(NODE)/node_modules/.package-lock.json ## Install the servers that tests run against from npm

postgres: ## Install PostgreSQL's server, which tests start, when it is missing
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || $(call debian,postgresql)

browser: ## Install Chromium, which tests drive, when it is missing
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || $(call debian,chromium)

requirements: ## Pin the dependencies of pyproject.toml anew (needs uv)
	@rm -f requirements/*.txt
	@$(COMPILE) $(EXTRAS) --group test --group check --group bench --output-file requirements/bench.txt
	@$(COMPILE) $(EXTRAS) --group test --group check --constraints requirements/bench.txt --output-file requirements/dev.txt
	@$(COMPILE) --constraints requirements/bench.txt --output-file requirements/run.txt

clean: ## Remove what the targets made
	rm -rf .venv build dist $(NODE)/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Headrace needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(call debian,python3-venv)
	@$(PYTHON) -m venv .venv

.venv/.run: requirements/run.txt pyproject.toml | .venv/bin/python
	@echo "Installing Headrace into .venv ..."
	@$(PIP_INSTALL) --require-hashes -r $<
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: requirements/dev.txt .venv/.run
	@echo "Installing what the tests need ..."
	@$(PIP_INSTALL) --require-hashes -r $<
	@touch $@

.venv/.bench: requirements/bench.txt .venv/.dev
	@echo "Installing what the benchmarks compare with ..."
	@$(PIP_INSTALL) --require-hashes -r $<
	@touch $@

$(NODE)/node_modules/.package-lock.json: $(NODE)/package-lock.json
	@command -v npm >/dev/null || $(call debian,nodejs npm)
	@echo "Installing the servers that tests run against ..."
	@npm ci --prefix $(NODE) --no-audit --no-fund --loglevel=error
	@touch $@

# Packages of Debian, only when what they hold is missing.
debian = { echo "Installing $(1) ..."; { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $(1); } >/dev/null || { echo "please install: $(1)"; exit 1; }; }
