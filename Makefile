# Everything a user runs. `make` alone lists the targets.
# Variables: STUDY DEVICE=auto|cpu|cuda SEEDS=0,1,2 or 3  DATA_ROOT=data  EXECUTOR=process|inline|ray  TIME_LIMIT=9m
#            DOWNLOAD=1  WORKERS=2  THREADS=1  PYTHON=python3  VENV=.venv; VENV=none uses PYTHON as it is and installs nothing.
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON ?= python3
VENV ?= .venv
STUDY ?=
DEVICE ?= auto
SEEDS ?=
DATA_ROOT ?= data
EXECUTOR ?= process
TIME_LIMIT ?=
DOWNLOAD ?=
DEPTH ?= 66
BASE ?=

ifeq ($(VENV),none)
READY :=
PY := $(PYTHON)
else
READY := $(VENV)/.ready
PY := $(VENV)/bin/python
endif

# A misspelt variable would be ignored, and something else be run than was asked. Those of the environment are not looked at.
KNOWN := STUDY DEVICE SEEDS DATA_ROOT DOWNLOAD EXECUTOR TIME_LIMIT WORKERS THREADS DEPTH BASE TRIES PYTHON VENV
empty :=
space := $(empty) $(empty)
GIVEN := $(foreach word,$(subst \$(space),_,$(MAKEOVERRIDES)),$(firstword $(subst =, ,$(subst :=,=,$(word)))))
UNKNOWN := $(filter-out $(KNOWN) RAY_%,$(GIVEN))
$(if $(UNKNOWN),$(error unknown variable $(UNKNOWN); known: $(KNOWN); any other stands before make: NAME=VALUE make))

# One word of the shell, whatever is in it.
quoted = '$(subst ','\'',$(1))'
option = $(if $($(2)),$(1) $(call quoted,$($(2))))
TUNE_OPTIONS = $(call option,--device,DEVICE) $(call option,--executor,EXECUTOR) $(call option,--data-root,DATA_ROOT) \
	$(call option,--time-limit,TIME_LIMIT) $(call option,--workers,WORKERS) $(call option,--threads,THREADS) \
	$(if $(filter-out 0 no false,$(DOWNLOAD)),--download)
RUN_OPTIONS = $(TUNE_OPTIONS) $(call option,--seeds,SEEDS)

.PHONY: help setup ablation taste tune robustness report bench bench-compare bench-cpu bench-cuda profile tensorboard planted faults scale \
	test test-ray test-cuda-2.11 check reports-published clean

help:  ## list the targets
	@grep -hE '^[a-z0-9.-]+:.*  ## ' Makefile | sed -E 's/:.*  ## /\t/' | awk -F'\t' '{printf "make %-18s %s\n", $$1, $$2}'
	@grep -E '^# (Variables|  )' Makefile | cut -c3-

setup: $(READY)  ## install what is in requirements.lock into VENV (the other targets do it when it is missing)

$(VENV)/.ready: requirements.lock
	@PYTHON=$(call quoted,$(PYTHON)) VENV=$(call quoted,$(VENV)) sh .ci/setup

# The default study is chosen by the device and the data that are there; the choice is said.
ablation: $(READY)  ## run STUDY (default: by the device), make its tables, and its page; ends with the verdicts
	@study=$(call quoted,$(STUDY)); \
	[ -n "$$study" ] || study=$$($(PY) -m bench default $(call option,--device,DEVICE) $(call option,--data-root,DATA_ROOT)) || exit $$?; \
	$(PY) -m bench run "$$study" $(RUN_OPTIONS); code=$$?; \
	case $$code in 0|1|3) ;; *) exit $$code ;; esac; \
	$(PY) -m results "$$study" && $(PY) -m reports "$$study" && exit $$code

taste: STUDY = taste
taste: ablation  ## the default study in small: a minute, up to 130 layers

tune: $(READY)  ## search each net's own learning rate for STUDY, which reads them as lr = "tuned"; says first what it will take
	@[ -n $(call quoted,$(STUDY)) ] || { echo "error: name a study: make tune STUDY=my.toml" >&2; exit 2; }
	@$(PY) -m bench tune $(call quoted,$(STUDY)) $(TUNE_OPTIONS)

robustness: $(READY)  ## STUDY (default: taste) on other CPU kernels, which round otherwise: which verdicts flip (TIME_LIMIT is of each)
	@$(PY) -m reports.robustness $(call quoted,$(or $(STUDY),taste)) $(RUN_OPTIONS)

report: $(READY)  ## tables and page of STUDY from the records that are there
	@$(PY) -m results $(call quoted,$(or $(STUDY),digits)) && $(PY) -m reports $(call quoted,$(or $(STUDY),digits))

reports-published: $(READY)  ## rebuild the pages of reports/published from the records in results/published
	@$(PY) -m reports --published

bench: $(READY)  ## benchmarks over depth: saves a baseline where there is none, else compares with it
	@$(PY) -m tests.regressions.gate

bench-compare: $(READY)  ## fail where a benchmark slowed by 25 % against BASE: a saved run, another checkout, or another python
	@[ -n $(call quoted,$(BASE)) ] || { echo "error: name a saved run, a checkout or an interpreter: make bench-compare BASE=..." >&2; exit 2; }
	@$(PY) -m tests.regressions.gate $(if $(filter %.json,$(BASE)),--base,--against) $(call quoted,$(BASE))

bench-cpu: $(READY)  ## our loop against the loop people write, on this CPU (quiet machine; minutes)
	@$(PY) -m tests.speed.cpu_table

bench-cuda: $(READY)  ## every CUDA row of the table of targets, exactness first (under 8 minutes)
	@$(PY) -m tests.speed.cuda_table

profile: $(READY)  ## one training step at DEPTH=66 as a trace that Perfetto opens
	@$(PY) -m bench.cost.trace $(call quoted,$(DEPTH)) $(call option,--device,DEVICE)

tensorboard: $(READY)  ## TensorBoard on curves of STUDY and on traces (its trace page loads code from the internet)
	@$(PY) -m results $(call quoted,$(or $(STUDY),digits)) --tensorboard
	@$(PY) -m tensorboard.main --logdir results/out

planted: $(READY)  ## judge made-up studies of known answer, 10,000 draws each, and print how often a verdict is wrong
	@$(PY) -m reports.judges.planted

test: $(READY)  ## run the tests (those of the Ray executor: make test-ray)
	@$(PY) -m pytest tests -m "not ray"

test-ray: $(READY)  ## run the tests of the Ray executor: two nodes on this machine, one removed mid-sweep
	@$(PY) -m pytest tests -m ray

.venv-2.11/.ready: requirements.lock
	@PYTHON=$(call quoted,$(PYTHON)) VENV=.venv-2.11 sh .ci/setup 2.11.0

test-cuda-2.11: .venv-2.11/.ready  ## run the tests of the CUDA path on the oldest torch, in an environment of its own (needs g++, no GPU)
	@.venv-2.11/bin/python -m pytest tests/harness/ghost

faults: $(READY)  ## do harm to small sweeps, every fault many times, and print what was lost (minutes; TRIES=10)
	@$(PY) -m tests.harness.chaos $(call quoted,$(or $(TRIES),10))

scale: $(READY)  ## how tables and page grow with the number of records, 100 to 100,000 made-up ones (minutes)
	@PYTHONPATH=. $(PY) tests/scale.py

check: $(READY)  ## lint and type-check
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy

clean:  ## remove what was derived (tables, pages, caches); records and VENV stay
	rm -rf results/out reports/html .mypy_cache .ruff_cache .pytest_cache .ci/out
