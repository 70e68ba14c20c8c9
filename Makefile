# What each command does is one readable line. `make demo` and `make test` set up .venv by themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_READY := $(VENV)/.ready-for-demo
PLUGINS := $(patsubst %/pyproject.toml,./%,$(wildcard plugins/*/pyproject.toml))
SETUP_FILES := requirements-dev.txt constraints.txt pyproject.toml core/pyproject.toml $(addsuffix /pyproject.toml,$(PLUGINS))

# Each Python that the tests start would compile all that it imports, where this is set.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo test quick lint fix types layers unit test-under-load test-with-stalls servers findings ratios torture soak bench docs site site-check schema dist licences release clean

help:            ## list the commands
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/: .*##/\t/'

setup: $(READY)  ## make .venv with everything in it

# $(begin): a .venv with uv in it, and how far we are. Where Python has a pip, another in .venv would take longest of all.
GET_UV := install --quiet --disable-pip-version-check uv -c constraints.txt
define begin
@$(PYTHON) -c 'import sys; sys.exit("strongroom needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
@test -x $(BIN)/python || { echo "set-up 1 of 3: $(VENV), with $$($(PYTHON) --version)"; $(PYTHON) -m venv --without-pip $(VENV); }
@test -x $(BIN)/uv || { echo "set-up 2 of 3: uv, which installs the rest"; $(PYTHON) -m pip --python $(BIN)/python $(GET_UV) 2>/dev/null || { $(BIN)/python -m ensurepip && $(BIN)/python -m pip $(GET_UV); }; }
endef

# Servers of the tests come as wheels, some of them for Python 3.11 alone.
explain = { $(BIN)/python -c 'import sys; sys.exit("the tests need Python 3.11, and .venv has " + sys.version.split()[0] + ": remove .venv, and try again with PYTHON=python3.11 (make demo runs with newer ones, too)" if sys.version_info >= (3, 12) else 1)'; }

$(READY): $(SETUP_FILES)
	$(begin)
	@echo "set-up 3 of 3: strongroom, its plugins, and all that the tests need ($$(grep -c == constraints.txt) packages at most)"
	@$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python -r requirements-dev.txt $(addprefix -e ,$(PLUGINS)) -c constraints.txt || $(explain)
	@touch $(READY) $(DEMO_READY)

$(DEMO_READY):
	$(begin)
	@echo "set-up 3 of 3: strongroom with its providers for files, memory and the environment"
	@$(BIN)/uv pip install --python $(BIN)/python -e ./core -e ./plugins/memory -e ./plugins/env -e ./plugins/file -e . -c constraints.txt
	@touch $(DEMO_READY)

demo: $(DEMO_READY) ## the main steps from `init` to `run`, in a temporary folder
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh scripts/demo.sh

test: $(READY)   ## everything that CI checks: lint, types, layers and unit
	@$(BIN)/python scripts/run_parts.py lint types layers unit

quick: $(READY)  ## for half a minute, the tests without servers that your change touches, the nearest first
	@$(BIN)/python scripts/quick_tests.py

lint: $(READY)   ## style and spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell

fix: $(READY)    ## repair the style, as far as ruff can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(READY)  ## mypy, strict, on what ships
	$(BIN)/mypy
	$(BIN)/mypy tests/typing

layers: $(READY) ## which module may import which
	$(BIN)/lint-imports

unit: $(READY)   ## the tests, in parallel, last failures first; those of one plugin with PLUGIN=vault
	$(BIN)/pytest -q --failed-first --durations=10 $(if $(PLUGIN),plugins/$(PLUGIN))

test-under-load: $(READY) ## `make unit` N=10 times on a machine that is kept busy, in other orders, with 1, 2 and 8 workers
	$(BIN)/python scripts/stress_tests.py $(or $(N),10)

test-with-stalls: $(READY) ## `make unit` while threads, event loops and servers stand still for moments, as on a busy machine (SEED=1)
	$(BIN)/pytest -q -rfE --tb=short -n 6 --stalls=$(or $(SEED),1) --shuffle=$(or $(SEED),1)

servers: $(READY) ## the plugins' tests against the newest clients and servers instead of the pinned ones, and what changed (not in CI)
	$(BIN)/python scripts/newest_servers.py $(PART)

findings:        ## check whether what findings/ says about other software is still true; NAME=pydantic for some (not in CI)
	@changed=; for one in findings/*$(NAME)*.sh; do echo "$$one"; bash "$$one" || changed="$$changed $$one"; done; \
	if [ -n "$$changed" ]; then echo "no longer so:$$changed"; exit 1; fi

ratios: $(READY) ## check whether a read, from the cache or through a pipeline, got slower than the table says
	$(BIN)/python tests/benchmarks/run.py --check cache pipeline

torture: $(READY) ## thousands of kills, edits and mutations, of which `make test` runs a sample; PART=plugins/vault for a folder
	$(BIN)/pytest -q -m torture -o hang_seconds=1800 $(PART)

soak: $(READY)   ## for five minutes, a cache under writes, evictions, tenants and restarts of its second level
	$(BIN)/python tests/soak.py

bench: $(READY)  ## speed, as ratios against peers measured in the same run
	$(BIN)/python tests/benchmarks/run.py

docs: $(READY)   ## write what is made from the code: docs/reference/, and the table of our own types
	$(BIN)/python scripts/write_known.py
	$(BIN)/python scripts/write_reference.py

site: $(READY)   ## the documentation as a site, in build/site; its builder needs Python 3.11.5
	$(BIN)/zensical build --clean --strict

site-check: $(READY) ## the site in a real browser: links, search, dark mode, a phone's width
	$(BIN)/pytest -m "torture or not torture" tests/test_site.py

schema: $(READY) ## write schemas/ from the models
	$(BIN)/python scripts/write_schema.py

dist: $(READY)   ## wheels and sdists of all distributions
	$(BIN)/python scripts/build_all.py dist

licences: $(READY) ## check that the licence of each dependency is one of those that we allow
	$(BIN)/python scripts/licences.py

release: $(READY) ## everything for a release except the upload, in dist/ (SKIP_TESTS=1 leaves out `make test`)
	$(BIN)/python scripts/release.py

clean:           ## remove everything that make has made
	rm -rf $(VENV) dist build .cache .coverage* .mypy_cache .ruff_cache .import_linter_cache
