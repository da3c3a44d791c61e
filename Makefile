# SPDX-License-Identifier: Apache-2.0
# The commands of this project; `make` lists them. Each sets up what it needs.
DATA ?= ../shared/data/nuscenes_one
OUT  ?= out/real
VENV := .venv
PY   := $(VENV)/bin/python
COVERAGE_MIN ?= 85

# A sourced ROS 2 must not leak into .venv, which has its own.
unexport PYTHONPATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
# Nodes speak on this machine only, and log below build/.
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST
export ROS_LOG_DIR := $(CURDIR)/build/ros_log

.DEFAULT_GOAL := help
.PHONY: help setup demo prove-real test lint bench faults clean

help: ## list the commands
	@echo "Usage: make COMMAND [NAME=VALUE ...]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Values: DATA=$(DATA) (nuScenes folder)  OUT=$(OUT) (where prove-real writes)"

setup: ## make .venv with all that the other commands need (does nothing when done)
	@tools/setup.sh

demo: setup ## a drive made on the spot through a ROS 2 graph, with the model that ships; no data
	$(PY) -m imkd_core demo --output out/demo

prove-real: setup ## real nuScenes key frame: train, export, replay through a ROS 2 graph, report
	@if [ ! -d "$(DATA)/v1.0-mini" ] && [ ! -d "$(DATA)/v1.0-trainval" ]; then \
	  echo "No nuScenes data in DATA=$(DATA)." >&2; \
	  echo "Register at nuscenes.org, accept its terms, download 'mini' and unpack it; then:" >&2; \
	  echo "  make prove-real DATA=/path/to/folder     (the folder that holds v1.0-mini/ and samples/)" >&2; \
	  exit 2; \
	fi
	$(PY) -m imkd_core prove-real --data "$(DATA)" --output "$(OUT)"

lint: setup ## format, lint, types, import walls
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

test: lint ## lint, then all tests; at least 85 % of lines covered
	@mkdir -p build/coverage build/ros_log
	$(PY) -m pytest --cov --cov-report=term --cov-report=xml:build/coverage/coverage.xml \
	  --cov-fail-under=$(COVERAGE_MIN)

bench: setup ## measure speed and memory beside baselines: out/bench/bench.json (25 minutes, idle machine)
	$(PY) -m imkd_core bench --output out/bench

faults: setup ## what happens when sensors fail: runs the fault suite (50 minutes, idle machine), docs/reliability.md
	@$(PY) -m tests.faults --output out/faults; ran=$$?; \
	  $(PY) -m tests.faults --output out/faults --publish && exit $$ran

clean: ## delete what was built and written, .venv included
	rm -rf $(VENV) build install log out .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	  .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
