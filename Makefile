# Everything a person runs. Each target installs what it needs first and says so.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip --quiet
PYTEST ?= $(BIN)/python -m pytest
ORDERS ?= 2000
SEED   ?= 1
JOBS   ?= 3
INPUT  ?=
BROKER ?=
FORMAT ?= native
FAULT  ?=
MINUTES ?= 60
NAME   ?=
ALL    ?=
CASE   ?=
ROUNDS ?= 5

# The suite starts a thousand processes: without compiled modules each of them takes twice as long to start.
unexport PYTHONDONTWRITEBYTECODE

# Which RabbitMQ new private stacks run: 4, or nothing for the installed one.
export ORDERMQ_STACK_BROKER := $(BROKER)

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: bootstrap $(VENV)/.ready ## Install what is missing: RabbitMQ, PostgreSQL, a virtual environment

bootstrap:
	@PYTHON="$(PYTHON)" bin/bootstrap

$(VENV)/.ready: setup.cfg pyproject.toml | bootstrap
	@echo "setting up $(VENV) (packages of setup.cfg)"
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ordermq needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@"$(PYTHON)" -m venv $(VENV)
	@$(PIP) install --editable '.[dev,bench]'
	@touch $@

broker:
ifneq ($(BROKER),)
	@bin/rabbitmq-$(BROKER)
endif

demo: setup ## Real orders through everything: make demo [ORDERS=2000 SEED=1 | INPUT=FILE FORMAT=olist]
	@$(BIN)/python -m ordermq.shop.demo --orders "$(ORDERS)" --seed "$(SEED)" --input "$(INPUT)" --format "$(FORMAT)"

test: setup broker ## Run the whole suite, on a private RabbitMQ and PostgreSQL for each of JOBS processes; BROKER=4: on 4.0
	@bin/bootstrap bench >/dev/null || echo "test: the benchmarks' client in C is skipped: it needs gcc and librabbitmq-dev"
	@$(PYTEST) --numprocesses $(JOBS) --dist loadfile $(ARGS)
ifneq ($(BROKER),)
ifeq ($(ARGS),)
	@$(BIN)/python -m tests.chaos --smoke --seed "$(SEED)"
endif
endif

chaos: setup broker ## Faults under load, what holds then: make chaos [FAULT="F1 F8" SEED=7 LONG=1]; docs/chaos.md
	@bin/bootstrap nft >/dev/null || echo "chaos: without nft F12 and F15 are skipped"
	@$(BIN)/python -m tests.chaos --seed "$(SEED)" $(if $(LONG),--long) $(FAULT)

chaos-smoke: setup broker ## The short list of faults for every change, in 3 minutes
	@$(BIN)/python -m tests.chaos --smoke --seed "$(SEED)"

soak: setup ## F29, a random fault every 10 to 20 s: make soak MINUTES=60 SEED=7
	@$(BIN)/python -m tests.chaos --soak "$(MINUTES)" --seed "$(SEED)"

bench: setup ## Speed beside Celery, Dramatiq and the bare broker: make bench [CASE=publish ROUNDS=3]; docs/performance.md
	@bin/bootstrap bench >/dev/null
	@$(BIN)/python -m benchmarks --rounds "$(ROUNDS)" $(if $(CASE),,--chart docs/img/bench.svg) $(CASE)

test-pika: setup ## Run the tests of the broker's door on the oldest and the coming pika
	@tests/pika-versions

mutants: setup ## Break one promise after the other; the tests must notice: make mutants [ALL=1 NAME=lease]
	@$(BIN)/python -m tests.mutants $(if $(ALL),--all) $(NAME)

lint: $(VENV)/.ready ## Style, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHONPATH=. $(BIN)/lint-imports --no-cache

check: lint test ## What must be green before a commit

docs: $(VENV)/.ready ## Write docs/api.md, docs/configuration.md and config/ordermq.toml anew
	@$(BIN)/ordermq config reference > docs/configuration.md
	@$(BIN)/ordermq config example > config/ordermq.toml
	@$(BIN)/python docs/generate_api.py

format: $(VENV)/.ready ## Rewrite the code in the house format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

dist: $(VENV)/.ready ## Build wheel and sdist into dist/
	@rm -rf dist build/lib build/bdist.*
	@$(BIN)/python -m build --quiet
	@ls -l dist

clean: ## Remove everything that was made here, the private stack's data too
	@if [ -x $(BIN)/python ]; then bin/devstack down --wipe; fi
	@rm -rf $(VENV) .venv-pika-* .devstack build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help setup bootstrap broker demo test chaos chaos-smoke soak bench test-pika mutants lint check docs format dist clean
