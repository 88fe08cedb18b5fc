# `make run` and `make test` need Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --require-hashes --no-deps

.PHONY: run test check format lock clean bench bench-small refund-schedules refund-kills faults faults-small explore explore-small guards shows soak steps

run: $(VENV)/.installed ## Start everything on this machine; Ctrl-C stops it
	@exec $(BIN)/portone-orders dev

test: $(VENV)/.installed-dev ## Run the tests on real, embedded stores
	@$(BIN)/python -m pytest -q -n 2 --dist loadgroup

check: $(VENV)/.installed-dev ## Formatter, linter, types, import contracts
	@$(BIN)/ruff format --check --quiet . || { echo "Run 'make format' and commit what it changes."; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/.installed-dev ## Format the code and mend what the linter can
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

# Lock files are made from pyproject.toml, with hashes and without an index address: `pip install uv` first.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    pyproject.toml --extra embedded --group build -o requirements/run.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    pyproject.toml --extra embedded --group build --group dev -c requirements/run.txt -o requirements/dev.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    pyproject.toml --group build -c requirements/run.txt -o requirements/image.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --group bench -o requirements/bench.txt

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "portone-orders needs Python 3.11 or newer; say which with 'make PYTHON=python3.12 ...'."; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV) (once) ..."
	@$(PIP) -r requirements/run.txt
	@$(BIN)/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: requirements/dev.txt $(VENV)/.installed
	@echo "Installing the development tools into $(VENV) (once) ..."
	@$(PIP) -r requirements/dev.txt
	@touch $@

bench: $(VENV)/.installed bench/.venv/.installed ## Measure this service beside its alternatives: 15 minutes, and node
	@$(BIN)/python -m bench --publish

bench-small: $(VENV)/.installed ## The same in miniature: is the benchmark still working?
	@$(BIN)/python -m bench --small

soak: $(VENV)/.installed ## 10⁶ notices, bounds on memory and dead rows, and the oracle over every row: 5 minutes
	@$(BIN)/python -m bench.soak --publish

steps: $(VENV)/.installed ## What each step towards speed gains, by taking it out: 6 minutes
	@$(BIN)/python -m bench.steps --publish

bench/.venv/.installed: requirements/bench.txt bench/alternatives/express/package-lock.json $(VENV)/.installed
	@echo "Installing the benchmark's alternatives into bench/ (once) ..."
	@$(BIN)/python -m venv bench/.venv
	@bench/.venv/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --no-deps \
	    -r requirements/bench.txt
	@cd bench/alternatives/express && npm ci --no-audit --no-fund --silent
	@touch $@

refund-schedules: $(VENV)/.installed-dev ## 1,000 interleavings of two refunders with crashes at every await: 8 minutes
	@REFUND_SCHEDULES=1000 $(BIN)/python -m pytest -q tests/service/test_refund_schedules.py

refund-kills: $(VENV)/.installed-dev ## 50 workers killed (-9) around a refund's call: 2 minutes
	@$(BIN)/python -m faults.refunds --kills 50

faults: $(VENV)/.installed-dev ## EPISODES=200 goes on where it stopped; SEED=17 runs one episode again
	@$(BIN)/python -m faults $(if $(SEED),--seed $(SEED),--episodes $(or $(EPISODES),200) --report)

faults-small: $(VENV)/.installed-dev ## Three episodes, as CI runs them: a minute
	@$(BIN)/python -m faults --episodes 3 --fresh --results .run/faults-small.jsonl

explore: $(VENV)/.installed-dev ## SCHEDULES=10000 of the real code in one process; SEED=17 shows one, step by step
	@$(BIN)/python -m faults.explorer $(if $(SEED),--replay $(SEED),--schedules $(or $(SCHEDULES),10000) --report)

explore-small: $(VENV)/.installed-dev ## Three hundred schedules, as CI runs them
	@$(BIN)/python -m faults.explorer --schedules 300

guards: $(VENV)/.installed-dev ## Take each guard out of a copy, and show which test or schedule notices: 15 minutes
	@$(BIN)/python -m faults.guards --report

shows: $(VENV)/.installed-dev ## Webhooks all dropped, Redis flushed, PortOne down: the figures, in 3 minutes
	@$(BIN)/python -m faults.shows all --report

clean: ## Remove what was installed and what `make run` left
	rm -rf $(VENV) .run bench/.venv bench/results bench/alternatives/express/node_modules
