# PYTHON chooses the interpreter that a new virtual environment is made from, VENV where it lies:
#   make test PYTHON=python3.12 VENV=.venv-3.12
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
# Tests at a time, by files; 0 for a debugger.
PROCESSES ?= 2

BIN := $(VENV)/bin
# The pages' tools come with the development packages; no Node.js needs to be installed.
NPM := PATH="$(abspath $(BIN)):$$PATH" npm --prefix web
BROWSER := $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
# Not in the path of every user.
NGINX := $(shell PATH="$$PATH:/usr/sbin:/usr/local/sbin" && command -v nginx)
PROMETHEUS := $(shell command -v prometheus && command -v promtool)
# Debian has its programs outside the path.
POSTGRES := $(firstword $(wildcard /usr/lib/postgresql/*/bin/initdb) $(shell command -v initdb))
# They run on both databases; a test that is about the file of an index is marked as sqlite.
ON_POSTGRES := tests/service/experiments tests/service/runs \
	$(addprefix tests/service/store/test_, limits.py migrations.py run_ends.py store.py)
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo serve test quick check client docs pages format bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s  %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo "Settings: PYTHON=$(PYTHON) (for a new environment), VENV=$(VENV), ARGS= (for serve, test, quick, bench), PROCESSES=$(PROCESSES) (for test)"

install: $(STAMP) ## Make the virtual environment with everything in it

# The stamp comes last, so that an interrupted installation starts again.
$(STAMP): pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null || \
		{ echo "error: no '$(PYTHON)' found; install Python 3.11 or newer, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $$("$(PYTHON)" --version) is too old; Python 3.11 or newer is needed: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "error: '$(PYTHON)' cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[server,dev]'
	@touch $@

demo: $(STAMP) ## See what the trained models predict, and where their flows go
	$(BIN)/python examples/demo.py $(ARGS)

serve: $(STAMP) ## Keep a server running; ARGS='--port 9000' goes to energy-flow serve
	$(BIN)/energy-flow serve $(ARGS)

test: check ## Lint, types, import rules, then all tests; ARGS='-k ring' goes to pytest
	@test -n "$(BROWSER)" || echo "note: no Chromium found, so the tests of the pages in a browser are left out" >&2
	@test -n "$(NGINX)" || echo "note: no nginx found, so the tests of the server behind it are left out" >&2
	@test -n "$(PROMETHEUS)" || echo "note: no Prometheus found, so the tests of its rules and of the dashboard are left out" >&2
	@test -n "$(POSTGRES)" || echo "note: no PostgreSQL found, so the tests with it are left out" >&2
	$(if $(ARGS),,$(if $(POSTGRES),$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --postgres $(ON_POSTGRES)))
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile $(if $(BROWSER),,--ignore=tests/web) \
		$(if $(NGINX),,--ignore=tests/service/test_behind_nginx.py) \
		$(if $(PROMETHEUS),,--ignore=tests/service/monitoring/test_prometheus.py) \
		$(if $(POSTGRES),,--ignore=tests/service/postgres) $(ARGS)

quick: $(STAMP) ## The tests that are not marked as slow, in two minutes; ARGS='-k ring' goes to pytest
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

check: $(STAMP) web/node_modules/.installed ## Formatting, lint, generated code, types, import rules, pages, documentation, CI files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python scripts/unasync.py --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(NPM) run --silent check
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/yamllint --strict -d '{extends: default, rules: {document-start: disable, line-length: {max: 100}}}' \
		docker-compose.yml docker .github .pre-commit-config.yaml CITATION.cff \
		tests/service/monitoring/alerts.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/pre-commit validate-config
	$(MAKE) --no-print-directory docs

web/node_modules/.installed: $(STAMP) web/package.json web/package-lock.json
	$(NPM) ci --loglevel=error
	@touch $@

# From scratch, because pages that have not changed would not repeat their warnings.
docs: $(STAMP) ## Build the documentation in build/docs; warnings and broken links are errors
	$(BIN)/sphinx-build --fresh-env --fail-on-warning --keep-going --nitpicky --quiet \
		--doctree-dir build/doctrees docs build/docs

client: $(STAMP) ## Generate the blocking client from the asynchronous one
	$(BIN)/python scripts/unasync.py

pages: web/node_modules/.installed ## Build the pages from web/ into the package
	$(NPM) run --silent build

format: $(STAMP) ## Format the code and mend what lint can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(STAMP) ## Measure; ends with a line of JSON
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## Remove the virtual environment, caches and built files; a server's data stays
	rm -rf $(VENV) web/node_modules build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.*' -prune -exec rm -rf {} +
