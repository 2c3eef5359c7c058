# Everything here brings its own tools: a Python 3.11 and the package registry are all it needs.
# ARGS go to the command: make demo ARGS="--once"

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
ARGS ?=
TOOLS := .tools
UV := $(shell command -v uv 2>/dev/null || echo $(TOOLS)/bin/uv)
RUN := .venv/bin/python
# Small matrices on few cores: more BLAS threads than cores only wait for each other.
export OMP_NUM_THREADS ?= 2
export HF_HUB_OFFLINE = 1
export TOKENIZERS_PARALLELISM = false

.PHONY: help install demo test check format schemas kafka kafka-stop chaos-load chaos prove-replay prove-faults bench-serving bench-freshness bench-streams bench-models bench-models-ablations bench-cold prove-swap fuzz clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(TOOLS)/bin/uv:
	@command -v $(PYTHON) >/dev/null || { echo "daogou needs Python 3.11 as '$(PYTHON)': install it, or name another with PYTHON=…"; exit 1; }
	@$(PYTHON) -m venv $(TOOLS) || { echo "daogou needs Python's venv module (Debian: apt-get install python3-venv)"; exit 1; }
	@$(TOOLS)/bin/python -m pip install -q uv

.venv/installed: pyproject.toml uv.lock | $(if $(filter $(TOOLS)/bin/uv,$(UV)),$(TOOLS)/bin/uv)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "daogou needs Python 3.11; '$(PYTHON)' is another: name one with PYTHON=…"; exit 1; }
	@echo "installing the packages (about 7 GB on disk, once)"
	@$(UV) sync --quiet --frozen --all-extras --python $(PYTHON)
	@touch $@

install: .venv/installed ## the packages, into .venv

demo: .venv/installed ## one shop, one visit, from a click to a message; ARGS="--once --json report.json"
	@$(RUN) -m streams.cli demo $(ARGS)

# Each of the tests' processes has a core for itself.
test: export OMP_NUM_THREADS = 1
test: .venv/installed ## all quick tests, on every core; ARGS="tests/features -x", ARGS="-n 0" in one process
	@$(RUN) -m pytest $(ARGS)

check: .venv/installed ## format, lint, types, floors, documents, schemas
	@.venv/bin/ruff format --check --quiet . && echo "format   ok"
	@.venv/bin/ruff check --quiet . && echo "lint     ok"
	@.venv/bin/mypy --no-error-summary && echo "types    ok"
	@.venv/bin/lint-imports --no-cache >.tools-lint.log 2>&1 && echo "floors   ok" && rm .tools-lint.log || { cat .tools-lint.log; rm .tools-lint.log; exit 1; }
	@$(RUN) -m tests.docs.check && echo "docs     ok"
	@$(RUN) -m tests.docs.schemas --check && echo "schemas  ok"

schemas: .venv/installed ## the JSON Schemas of the events, into docs/schemas
	@$(RUN) -m tests.docs.schemas

format: .venv/installed ## put the code into form
	@.venv/bin/ruff check --fix --quiet . ; .venv/bin/ruff format --quiet .

kafka: .venv/installed ## a real Apache Kafka on loopback (needs Java 17 and Maven); ARGS="--nodes 3"
	@$(RUN) -m tests.kafka start --told $(ARGS)

kafka-stop: .venv/installed ## stop it; ARGS="--wipe" deletes its data, too
	@$(RUN) -m tests.kafka stop $(ARGS)

chaos-load: .venv/installed ## kill the worker in mid-load on a real Kafka; ARGS="--quick --seed 1"
	@$(RUN) -m tests.proofs.kill_worker $(ARGS)

chaos: .venv/installed ## kill workers, brokers and Redis, and compare with the truth (three real Kafkas, redis-server); ARGS="--quick --seed 1"
	@$(RUN) -m tests.proofs.chaos $(ARGS)

prove-replay: .venv/installed ## replays equal live byte for byte, and take its place under load, on a real Kafka; ARGS="--quick --seed 1"
	@$(RUN) -m tests.proofs.replay $(ARGS)

prove-faults: .venv/installed ## ended, paused, retention, a deleted topic: each answered as promised, on a real Kafka; ARGS="--quick --seed 1"
	@$(RUN) -m tests.proofs.faults $(ARGS)

prove-swap: .venv/installed ## releases, a refused one and a rollback under load: no wrong answer, no list of two models, on a real Kafka; ARGS="--quick --seed 1"
	@$(RUN) -m tests.proofs.swap $(ARGS)

fuzz: .venv/installed ## bad input, drawn from the document and by hand: all of it answered as it should be; ARGS="--quick --seed 1"
	@$(RUN) -m tests.proofs.fuzz $(ARGS)

bench-serving: .venv/installed ## page views, events, freshness and faults of one API process on a core, against their bars; ARGS="--quick --seed 1 --part page"
	@$(RUN) -m tests.benchmarks.serving $(ARGS)

bench-freshness: .venv/installed ## from an event to the changed list at 200 events/s; ARGS="--quick --seed 1"
	@$(RUN) -m tests.benchmarks.freshness $(ARGS)

bench-cold: .venv/installed ## from a new item to lists, from a first click to a list; ARGS="--quick --seed 1 --encoder lexical"
	@$(RUN) -m tests.benchmarks.cold $(ARGS)

bench-streams: .venv/installed ## events per second of the worker, beside plain clients (a real Kafka, redis-server); ARGS="--quick --part ten"
	@$(RUN) -m tests.benchmarks.streams $(ARGS)

bench-models: .venv/installed ## the model beside all baselines on others' data; ARGS="--quick --seed 1 --data beauty"
	@$(RUN) -m tests.benchmarks.models $(ARGS)

bench-models-ablations: .venv/installed ## the model on Beauty without one technique at a time; ARGS="--work FOLDER --seed 1"
	@$(RUN) -m tests.benchmarks.models_ablations $(ARGS)

clean: ## the packages, caches and the demo's data
	@rm -rf .venv $(TOOLS) .daogou .pytest_cache .mypy_cache .ruff_cache .hypothesis
