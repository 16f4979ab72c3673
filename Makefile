# The commands of a developer. Each target first installs what it needs, and says so.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip --quiet
PYTEST ?= $(BIN)/python -m pytest
ORDERS ?= 2000
SERVE  ?=
SEED   ?= 1
JOBS   ?= 3
INPUT  ?=
BROKER ?=
FORMAT ?= native
FAULT  ?=
ALERTS ?=
CELL   ?=
TARGET ?=
KEEP   ?=
MINUTES ?= 60
NAME   ?=
ALL    ?=
CASE   ?=
ROUNDS ?= 5
AUDIT  ?=
SUITE  ?= bookworm
ROOTS  ?=

# The tests start a thousand processes. Without compiled modules each takes twice as long to start.
unexport PYTHONDONTWRITEBYTECODE

# The RabbitMQ of new private stacks: 4.0 or 4.3, nothing for the installed one.
export ORDERMQ_STACK_BROKER := $(BROKER)

help: ## Show this list of targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z -]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: bootstrap $(VENV)/.ready ## Install what is missing: RabbitMQ, PostgreSQL and a virtual environment

bootstrap:
	@PYTHON="$(PYTHON)" bin/bootstrap

$(VENV)/.ready: setup.cfg pyproject.toml | bootstrap
	@echo "setting up $(VENV) (packages of setup.cfg)"
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ordermq needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@"$(PYTHON)" -m venv $(VENV)
	@$(PIP) install --no-compile --editable '.[dev,bench]'
	@touch $@

broker:
ifneq ($(BROKER),)
	@bin/rabbitmq $(BROKER)
endif

demo: setup ## Send real orders through the whole pipeline: make demo [ORDERS=2000 SEED=1 | INPUT=FILE FORMAT=olist | SERVE=1]
	@$(BIN)/python -m ordermq.shop.demo --orders "$(ORDERS)" --seed "$(SEED)" --input "$(INPUT)" --format "$(FORMAT)" $(if $(SERVE),--serve)

test: setup broker ## Run all tests, in JOBS processes with a private RabbitMQ and PostgreSQL each; BROKER=4.3: on RabbitMQ 4.3, or 4.0
	@bin/bootstrap bench >/dev/null || echo "test: the benchmarks' client in C is skipped: it needs gcc and librabbitmq-dev"
	@$(PYTEST) --numprocesses $(JOBS) --dist worksteal $(ARGS)
ifneq ($(BROKER),)
ifeq ($(ARGS),)
	@$(BIN)/python -m tests.chaos --smoke --seed "$(SEED)"
endif
endif

chaos: setup broker ## Make faults happen under load and check the result: make chaos [FAULT="F1 F8" SEED=7 LONG=1 ALERTS=1]; docs/chaos.md
	@bin/bootstrap nft >/dev/null || echo "chaos: without nft F12 and F15 are skipped"
	@$(BIN)/python -m tests.chaos --seed "$(SEED)" $(if $(LONG),--long) $(if $(ALERTS),--alerts) $(FAULT)

chaos-smoke: setup broker ## Run the short list of faults, in 3 minutes
	@$(BIN)/python -m tests.chaos --smoke --seed "$(SEED)"

soak: setup ## Run fault F29, a random fault every 10 to 20 s: make soak MINUTES=60 SEED=7
	@$(BIN)/python -m tests.chaos --soak "$(MINUTES)" --seed "$(SEED)"

real-orders: FORMAT := olist
real-orders: ORDERS := 20000
real-orders: setup ## Run fault F33, the orders of a file, and compare all that leaves the pipeline: make real-orders INPUT=FILE [FORMAT=olist ORDERS=20000]
	@$(BIN)/python -m tests.chaos --real "$(INPUT)" --format "$(FORMAT)" --orders "$(ORDERS)" --seed "$(SEED)"

test-systemd: setup ## Prove the units and bin/install-vm on a Debian with systemd as process 1: make test-systemd [SUITE=trixie ROOTS=1]
	@bin/bootstrap systemd >/dev/null || echo "test-systemd: needs debootstrap"
	@$(PIP) install --no-compile --editable '.[release]'
	@$(BIN)/python -m tests.systemd --suite "$(SUITE)" $(if $(ROOTS),--roots)

test-manifests: $(VENV)/.ready ## Check deploy/kubernetes against the schemas of Kubernetes and KEDA
	@tests/manifests

test-image: setup ## Carry out deploy/Containerfile in a bare Debian and run what it makes, without an engine
	@bin/bootstrap systemd >/dev/null || echo "test-image: needs debootstrap"
	@$(PIP) install --no-compile --editable '.[release]'
	@$(BIN)/python -m tests.systemd --image

bench: setup ## Measure the speed beside Celery, Dramatiq and plain pika: make bench [CASE=publish ROUNDS=3]; docs/performance.md
	@bin/bootstrap bench >/dev/null
	@$(BIN)/python -m benchmarks --rounds "$(ROUNDS)" $(if $(CASE),,--chart docs/img/bench.svg) $(CASE)

test-grants: setup ## Run the tests of the shop's handlers under the least role of their queue
	@$(PYTEST) --numprocesses $(JOBS) --dist worksteal -p tests.support.least_handlers tests/functional/test_orders_*.py tests/functional/test_points_gateway.py

test-pika: setup ## Run the tests of ordermq.amqp with the oldest and with the next pika
	@tests/pika-versions

test-lowest test-newest: test-%: $(VENV)/.ready ## Run some unit tests with the lowest (or newest) dependencies that setup.cfg allows
	@tests/dependency-versions $*

test-matrix: setup ## Run a short list with other versions of everything: make test-matrix [CELL="debian-13 pika"]; README's table
	@$(BIN)/python -m tests.matrix $(CELL)

fuzz: MINUTES := 10
fuzz: $(VENV)/.ready ## Search for bytes that a decoder does not expect: make fuzz MINUTES=10 [TARGET=orders KEEP=1]
	@$(PIP) install --no-compile --editable '.[fuzz]'
	@$(BIN)/python -m tests.fuzz --minutes "$(MINUTES)" $(if $(KEEP),--keep) $(TARGET)

mutants: setup ## Break one promise of the code after the other and check that a test fails: make mutants [ALL=1 NAME=lease]
	@$(BIN)/python -m tests.mutants $(if $(ALL),--all) $(NAME)

lint: $(VENV)/.ready ## Check style, types and import layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHONPATH=. $(BIN)/lint-imports --no-cache

check: lint test ## Run lint and test, as before every commit

docs: setup ## Generate the pages of docs/ and the files of config/ that follow from the code
	@$(BIN)/ordermq config reference > docs/configuration.md
	@$(BIN)/ordermq config example > config/ordermq.toml
	@$(BIN)/python docs/generate_api.py
	@$(BIN)/python docs/generate_asyncapi.py
	@$(BIN)/python docs/generate_dashboards.py
	@$(BIN)/python docs/generate_log_events.py
	@$(BIN)/python docs/draw_trace.py
	@$(BIN)/python docs/generate_metrics.py
	@$(BIN)/python docs/generate_alerts.py
	@$(BIN)/python docs/generate_deployments.py
	@$(BIN)/python docs/generate_schema.py

format: $(VENV)/.ready ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

dist: $(VENV)/.ready ## Make a release in dist/: wheel, source archive, pinned packages, bill of materials, audit [AUDIT=required]
	@$(PIP) install --no-compile --editable '.[release]'
	@AUDIT="$(AUDIT)" $(BIN)/python -m release

clean: ## Delete everything that was made here, with the private stack's data
	@if [ -x $(BIN)/python ]; then bin/devstack down --wipe; fi
	@rm -rf $(VENV) .venv-* .devstack build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help setup bootstrap broker demo test test-systemd test-image test-manifests chaos chaos-smoke soak real-orders bench test-grants test-pika test-lowest test-newest test-matrix fuzz mutants lint check docs format dist clean
