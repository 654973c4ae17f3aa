# The house's commands. On a fresh Debian, as root: `make demo` or `make test`, and nothing before.
#
#   make demo    a real cluster is destroyed and recovered before your eyes
#   make test    every test, the lab's included
#   make help    the rest; the long suites take SAMPLE=N, a part chosen by SEED

SHELL := /bin/bash
.SHELLFLAGS := -u -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	&& echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up-$(shell sha256sum pyproject.toml | cut -c1-16)
PYTEST := $(BIN)/python -m pytest
JOBS := $(shell echo $$(($$(nproc) + 1)))
LAB_TESTS := tests/lab
ROOT := $(filter 0,$(shell id -u))

# `make test-recoveries SAMPLE=2 SEED=abc`: two of them, chosen by the seed (the commit's id). What a
# sample saw is printed, and written to no page.
ifdef SAMPLE
export DRRUN_SAMPLE := $(SAMPLE)
export DRRUN_SEED := $(or $(SEED),$(shell git rev-parse HEAD 2>/dev/null))
endif
WRITE := $(if $(SAMPLE),,1)

.PHONY: help setup programs test test-unit test-fire test-sshd test-lab test-faults test-crash test-chaos test-recoveries test-field test-undo lint demo bench docs clean test-mutants truth

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(STAMP) ## Make .venv; .venv/bin/drrun is the command

# Keyed by the content of pyproject.toml: a second `make setup` costs nothing.
$(STAMP):
	@if [ -z "$(PYTHON)" ] || ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	  if [ "$$(id -u)" != 0 ]; then \
	    echo "drrun needs Python 3.11 or later with venv. Root installs it:" >&2; \
	    echo "    apt-get install python3 python3-venv" >&2; exit 1; \
	  fi; \
	  echo "installing python3 and python3-venv"; \
	  apt-get -o DPkg::Lock::Timeout=300 -q update && DEBIAN_FRONTEND=noninteractive \
	    apt-get -o DPkg::Lock::Timeout=300 -qy install --no-install-recommends \
	    python3 python3-venv ca-certificates || exit 1; \
	fi
	@test -x $(BIN)/python -a -x $(BIN)/pip || $${PYTHON:-$(or $(PYTHON),python3)} -m venv --clear $(VENV)
	@echo "installing drrun and its tools into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@rm -f $(VENV)/.set-up-*
	@touch $@
	@$(BIN)/drrun --version

# One session a suite, the quick ones first: what is broken shows in the first minutes. All suites
# run even when one fails, and the last line says which did.
test: setup ## Every test: lint, house, unit, property, sshd, then the lab's (root)
	@began=$$SECONDS; failed=; \
	for suite in lint test-unit test-fire test-sshd test-lab; do \
	  from=$$SECONDS; echo; echo "== $$suite"; \
	  $(MAKE) --no-print-directory $$suite || failed="$$failed $$suite"; \
	  echo "== $$suite took $$((SECONDS - from)) s"; \
	done; \
	echo; echo "make test took $$((SECONDS - began)) s"; \
	if [ -n "$$failed" ]; then echo "FAILED:$$failed"; exit 1; else echo "all suites passed"; fi

# What the tests use of the machine. An OpenSSH server that was not here before is not started, nor at
# the next boot: its tests start one of their own, on loopback.
programs:
ifdef ROOT
	@missing=; for pair in busybox:busybox mksh:mksh sudo:sudo sshd:openssh-server nft:nftables iptables:iptables; do \
	  PATH=$$PATH:/usr/sbin:/sbin command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair#*:}"; \
	done; [ -n "$$missing" ] || exit 0; \
	echo "installing what the tests use:$$missing"; \
	case $$missing in *openssh-server*) \
	  mkdir -p /etc/systemd/system; \
	  [ -e /etc/systemd/system/ssh.service ] || ln -s /dev/null /etc/systemd/system/ssh.service; \
	  [ -e /etc/systemd/system/ssh.socket ] || ln -s /dev/null /etc/systemd/system/ssh.socket;; esac; \
	apt-get -o DPkg::Lock::Timeout=300 -q update >/dev/null && DEBIAN_FRONTEND=noninteractive \
	  apt-get -o DPkg::Lock::Timeout=300 -qy install --no-install-recommends $$missing >/dev/null \
	  || echo "not installed: tests that use$$missing are skipped, and say so"
endif

test-unit: setup programs ## House rules, unit and property tests: no root, no sshd, no lab
	@$(PYTEST) -q -n $(JOBS) --dist loadfile --durations=10 -m 'not lab and not sshd and not fire and not long' tests

test-fire: setup programs ## Controllers under signals, lost terminals, full and dying disks (some need root)
	@$(PYTEST) -q -n $(JOBS) --dist loadfile --durations=5 -m fire tests

test-sshd: setup programs ## The transports against a real OpenSSH server on loopback
	@$(PYTEST) -q -n $(JOBS) --dist loadfile --durations=10 -m sshd tests

# What hosts are made of is built before, not within a test: five minutes the first time, then none.
ifdef ROOT
test-lab: setup ## Recoveries on real hosts (root)
	@$(BIN)/drrun lab build
	@$(PYTEST) -q -s --durations=15 -m 'lab and not faults and not long' $(LAB_TESTS)
else
test-lab: setup
	@echo "skipped: tests/lab boots real hosts with systemd-nspawn, which needs root (sudo make test)"
endif

# A quarter of an hour: a real restore for each fault, and the page of what was seen.
test-faults: setup ## Do every fault to a real restore; writes docs/reference/faults.md (root, long)
	@$(BIN)/drrun lab build
	@$(PYTEST) -q -s --durations=0 $(LAB_TESTS)/test_faults.py

# A quarter of an hour: every point is a controller killed on real hosts. Not part of `make test`.
test-crash: setup ## Kill drrun at every point of a run on real hosts (root, long)
	@$(BIN)/drrun lab build
	@$(PYTEST) -q -s tests/crash

# An hour: every stock recovery on real clusters, with each line of etcd. Writes the matrix.
test-recoveries: setup ## Every recovery on real clusters, with a matrix (root, long)
	@$(BIN)/drrun lab build
	@$(PYTEST) -q -s -m long $(LAB_TESTS)
	@DRRUN_WRITE_RECOVERIES=$(WRITE) $(PYTEST) -q -s tests/recoveries

# Every field case by its number: real hosts in tests/field, and what stands elsewhere by its marker.
ifdef ROOT
test-field: setup programs ## Clusters as people have them, every case by number (root, long)
	@$(BIN)/drrun lab build
	@$(PYTEST) -q -s -m field tests/unit tests/field
else
test-field: setup
	@echo "skipped: tests/field boots real hosts with systemd-nspawn, which needs root"
endif

# Every change in front of the point of no return failed on its host, and undone; the last line counts.
ifdef ROOT
test-undo: setup programs ## Fail a restore at every change and undo it, on real hosts (root, long)
	@$(BIN)/drrun lab build
	@$(PYTEST) -q -s tests/undo
else
test-undo: setup
	@echo "skipped: tests/undo boots real hosts with systemd-nspawn, which needs root"
endif

test-chaos: setup ## Kill launchers, supervisors and commands at random, 200 times a shell (some minutes)
	@DRRUN_CHAOS_KILLS=$(or $(SAMPLE),200) $(PYTEST) -q -n $(JOBS) tests/unit/transport/test_agent_chaos.py

# Every mutant by lint; of those that it lets pass, as many on real hosts as MUTANT_MINUTES allow.
test-mutants: setup ## Break every stock runbook in every way, and see that none does harm (root)
	@$(BIN)/drrun lab build
	@DRRUN_WRITE_MUTANTS=$(WRITE) $(PYTEST) -q -s tests/mutants
ifndef SAMPLE
	@$(BIN)/python -m tests.mutants.page
endif

# The generated runbooks first, by a profile of their own, then every stock runbook on real hosts,
# which alone count in the last line. A sample is of the latter: `make test` has some of the former.
truth: setup ## Hold every dry-run against its run; writes docs/reference/truth.md (root, long)
	@$(BIN)/drrun lab build
ifndef SAMPLE
	@DRRUN_WRITE_TRUTH=1 $(PYTEST) -q -s --hypothesis-profile=truth tests/truth/test_generated.py
endif
	@DRRUN_WRITE_TRUTH=$(WRITE) $(PYTEST) -q -s tests/truth/test_runbooks.py
ifndef SAMPLE
	@$(BIN)/python -m tests.truth.page
endif

lint: setup ## ruff, mypy, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

ifdef ROOT
demo: setup ## Destroy a real cluster and recover it (root)
	@$(BIN)/drrun lab demo
else
demo: setup
	@echo "make demo boots real hosts with systemd-nspawn: mounts, a network bridge, cgroups." >&2
	@echo "That needs root: sudo make demo" >&2
	@exit 1
endif

bench: setup ## How fast drrun starts and changes hosts, beside paramiko (and fabric, if installed)
	@$(BIN)/python tests/bench/startup.py
	@$(BIN)/python tests/bench/changes.py

docs: setup ## Regenerate what is generated: reference pages and pictures
	@$(BIN)/python -m drrun.cli.reference
	@$(BIN)/python docs/pictures/make.py
	@$(BIN)/python -m tests.mutants.page
	@$(BIN)/python -m tests.truth.page
	@$(BIN)/python -m tests.recoveries.page

clean: ## Remove .venv and caches; the lab's cache stays (drrun lab down --all removes labs)
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	@find engine steps tests -name __pycache__ -type d -prune -exec rm -rf {} +
