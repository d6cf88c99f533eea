# hotpath: the verbs of daily life. `make help` lists them; CI runs the same ones.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
CC     ?= gcc
VENV   := .venv
BIN    := $(VENV)/bin
# Tests and stages are found by name, so a verb works whether or not the venv is activated.
export PATH := $(CURDIR)/$(BIN):$(PATH)

C_FILES      := $(wildcard ffi/src/*.c ffi/src/*.h ffi/include/*.h)
PYTHON_ROOMS := $(wildcard ffi hotpath control/hotctl research/hotlab bench tests)

.PHONY: help setup build demo test soak faults crash drill fuzz bench latency profile scale peers lint fmt clean host-check mutants

help: ## this list
	@echo "hotpath: a shared-memory, low-latency co-process engine for trading"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Start with 'make demo'. Afterwards 'source $(BIN)/activate' puts 'hotpath' on your path: 'hotpath --help'."

setup: $(VENV)/.installed ## create .venv and install hotpath into it, with what tests and linters need

# Only the dependencies decide; sources are used in place.
$(VENV)/.installed: pyproject.toml
	@$(MAKE) --no-print-directory host-check
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

host-check:
	@missing=""; \
	command -v $(CC) >/dev/null || missing+=" gcc"; \
	command -v $(PYTHON) >/dev/null || missing+=" python3"; \
	if command -v $(PYTHON) >/dev/null; then \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "hotpath needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) -V). Name another with: make PYTHON=python3.12 ..." >&2; exit 1; }; \
	  $(PYTHON) -c 'import ensurepip' 2>/dev/null || missing+=" python3-venv"; \
	  test -f "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" || missing+=" python3-dev"; \
	fi; \
	if [ -n "$$missing" ]; then \
	  echo "missing from this machine:$$missing" >&2; \
	  echo "install with: sudo apt-get install$$missing" >&2; exit 1; \
	fi

build: ffi/_stamp.py ## compile the C extension in place, when a source changed

ffi/_stamp.py: $(VENV)/.installed ffi/build.py $(C_FILES)
	python ffi/build.py

demo: build ## trade for 20 seconds against the venue simulator, watching; report; keep the run in out/demo
	rm -rf out/demo
	hotpath demo --out out/demo --record

test: build ## every test but the long ones
	python -m pytest $(PYTEST_ARGS)

soak: build ## the long versions of the tests
	python -m pytest -m soak $(PYTEST_ARGS)

mutants: build ## bugs planted in each check of the risk gate, one at a time: which of them do the tests catch?
	python -m tests.mutants $(MUTANTS_ARGS)

faults: build ## every misbehaviour of the venue simulator, 100 times each, against real engines
	python -m tests.faults $(FAULTS_ARGS)

crash: build ## 2,000 kills and more (SEED=1 KILLS=2000), cut lines, torn and full disks, judged by the venue's wire and ledger
	python -m tests.crash.campaign --seed $(or $(SEED),1) --kills $(or $(KILLS),2000) $(CRASH_ARGS)

drill: build ## kills under load with processes in any state and a venue that does not read; then 2,000 that are timed
	PYTHONPATH=.:control python -m tests.drill $(DRILL_ARGS)

fuzz: build ## ten million mutated packets through each thing that reads bytes from outside, under sanitizers
	python -m tests.fuzz $(FUZZ_ARGS)

bench: build ## every measurement, in one run, beside the machine's own floor
	python -m bench

latency: build ## is this tree slower than where it left main? says so, with evidence, within ten minutes
	python -m bench.latency $(LATENCY_ARGS)

profile: build ## where the nanoseconds of one event go: by stage and function, a flame graph (needs valgrind)
	python -m bench.profile $(PROFILE_ARGS)

scale: build ## how cost grows with instruments, depth, rate, strategies, readers, shards: plots, and where they bend
	python -m bench.scale $(SCALE_ARGS)

peers: build ## hotpath beside what people use today, one table, losses first (installs those packages)
	python -m pip install --quiet --editable '.[peers]'
	python -m bench.peers $(PEERS_ARGS)

lint: build ## linter, formatter, strict types, C warnings as errors
	ruff check .
	ruff format --check .
	mypy $(PYTHON_ROOMS)
	python ffi/build.py --lint

fmt: $(VENV)/.installed ## format the Python and apply the linter's fixes
	ruff check --fix .
	ruff format .

clean: ## remove what was built; .venv stays (remove it by hand)
	rm -rf build dist ffi/_native*.so ffi/_native.c ffi/_stamp.py ffi/client/layout_hash.h *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(PYTHON_ROOMS) -name __pycache__ -type d -prune -exec rm -rf {} +
