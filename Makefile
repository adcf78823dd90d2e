# dexlane. `make` lists the targets; each one says what it does.
SHELL := bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell python3 deploy/fastest_python.py 2>/dev/null || echo python3)
VENV := .venv
BIN := $(VENV)/bin
MEMBERS := $(sort $(dir $(wildcard libs/*/pyproject.toml services/*/pyproject.toml)))
SOURCES := $(wildcard libs/*/src services/*/src)
STAMP := $(VENV)/.installed
WORKERS ?= 2
UV_VERSION := 0.13.9

.PHONY: help setup run stop test check explore bench bytecode crash drill fee-paths schemas streams migrate lock simulate zoo

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[1m%-9s\033[0m %s\n", $$1, $$2}'

setup: $(STAMP) ## Install everything that is pinned into .venv

$(STAMP): requirements.lock $(addsuffix pyproject.toml,$(MEMBERS))
	@$(eval PYTHON := $(PYTHON))$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "dexlane needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Say which with: make PYTHON=python3.12 ..."; exit 1; }
	@command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null || \
		{ echo "dexlane needs Node 20 or newer with npm (found: $$(node --version 2>&1 | head -n 1)): the devnet's parts come through it"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing what requirements.lock pins for $$($(BIN)/python --version) of $$($(BIN)/python -c 'import sys; print(sys.base_prefix)') ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python $(addprefix -e ,$(MEMBERS))
	@touch $@

run: $(STAMP) ## Start everything on this machine: bus, cache, devnet, eight services; paper and live books trade
	@exec $(BIN)/dexlane up $(ARGS)

stop: $(STAMP) ## Stop what `make run` started
	@$(BIN)/dexlane down

test: $(STAMP) ## Run all tests (real broker, cache, database and devnet): WORKERS=2 files at a time; or ARGS=...
	@$(BIN)/python -m pytest $(or $(ARGS),-n $(WORKERS) --dist loadfile --no-loadscope-reorder)

explore: $(STAMP) ## Try the rules of property tests on examples that no run had before (WORKERS=2, or ARGS=...)
	@$(BIN)/python -m pytest -q -m hypothesis --hypothesis-profile=explore $(or $(ARGS),-n $(WORKERS) --dist loadfile)

check: $(STAMP) ## Lint, types, import contracts, architecture, pinned schemas
	@$(BIN)/ruff check .
	@$(BIN)/mypy $(SOURCES)
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q tests/architecture

simulate: $(STAMP) ## Live through seeded worlds of crashes, reorgs and lies: SEEDS=1..200, JOBS=2, SHAPE=reorgs, REPLAY=1, TRACE=1, BUG=<name>, LOG=<file>
	@PYTHONPATH=tests $(BIN)/python -m simulation $(if $(SEEDS),--seeds $(SEEDS)) $(if $(REPLAY),--replay) \
		$(if $(TRACE),--trace) $(if $(or $(REPLAY),$(TRACE),$(BUG)),--no-pairs) $(if $(BUG),--bug $(BUG)) \
		$(if $(JOBS),--jobs $(JOBS)) $(if $(SHAPE),--shape $(SHAPE) --no-pairs) $(if $(LOG),--log $(LOG)) $(ARGS)

bytecode: $(STAMP) ## Ask the real contracts of all nine protocols anew and compare amounts and states: ANSWERS=100000
	@DEXLANE_BYTECODE_ANSWERS=$(or $(ANSWERS),100000) $(BIN)/python -m pytest -q -s -m bytecode $(ARGS)

zoo: $(STAMP) ## Check every specimen of the zoo of hostile and benign tokens, and count what was found (ARGS="--seeds 5 --held-out --live")
	@PYTHONPATH=tests $(BIN)/python -m tokens $(ARGS)

fee-paths: $(STAMP) ## Send entries and exits into seeded paths of fees and hold them to their budgets: PATHS=100000
	@DEXLANE_FEE_PATHS=$(or $(PATHS),100000) $(BIN)/python -m pytest -q -s libs/common/tests/domain/test_fee_paths.py

bench: $(STAMP) ## Measure the promised figures on this machine
	@$(BIN)/python -m bench $(ARGS)

drill: $(STAMP) ## Open a breaker and press the emergency stop on a devnet of its own, with processes killed in the middle
	@DRILL=1 $(BIN)/python -m pytest tests/integration/test_breakers.py $(ARGS)

crash: $(STAMP) ## Kill real processes of a trading stack at random moments and check the books (ARGS="--crashes 50 --seed 7")
	@$(BIN)/python tests/crash $(ARGS)

schemas: $(STAMP) ## Write the JSON Schemas, AsyncAPI and OpenAPI files, and the table of levels, from the code
	@$(BIN)/python -m dexlane.events.schema
	@$(BIN)/python -m gateway.api.openapi > services/gateway/openapi.json
	@$(BIN)/python -m dexlane_cli.level_files

streams: $(STAMP) ## Declare streams and buckets on the bus and print what differed
	@$(BIN)/dexlane streams

migrate: $(STAMP) ## Bring the journals of all money services to the newest revision
	@$(BIN)/dexlane migrate

lock: $(STAMP) ## Resolve requirements.lock anew: hashes, no addresses
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --quiet \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate \
		$(foreach member,$(MEMBERS),--no-emit-package dexlane-$(notdir $(patsubst %/,%,$(member)))) \
		-o requirements.lock
