# Everything a user runs. `make` alone lists the targets: users' have two hashes before their words, developers' three.
# Variables: STUDY=digits  DEVICE=auto|cpu|cuda  SEEDS=0,1,2 or 3 or auto
#            DEPTHS=18,66  TIME_LIMIT=9m  WORKERS=2  THREADS=1
#            EXECUTOR=process|inline|ray  DATA_ROOT=data
#            DOWNLOAD=1  PYTHON=python3
#            A=results/records  B=OTHER (folders of records)
#            BASE=FILE.json|CHECKOUT|PYTHON  JSON=FILE  TORCH=2.11.0
#            VENV=.venv (none: PYTHON as it is, nothing is installed)
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON ?= python3
VENV ?= .venv
STUDY ?=
DEVICE ?= auto
SEEDS ?=
DEPTHS ?=
ARCHITECTURE ?= resnet
DATA_ROOT ?= data
EXECUTOR ?= process
TIME_LIMIT ?=
DOWNLOAD ?=
DEPTH ?= 66
BASE ?=
JSON ?=
TORCH ?=
A ?=
B ?=

ifeq ($(VENV),none)
READY :=
READY_DEV :=
PY := $(PYTHON)
else
READY_DEV := $(VENV)/.ready-dev
READY := $(if $(filter ray,$(EXECUTOR)),$(READY_DEV),$(VENV)/.ready)
PY := $(VENV)/bin/python
endif

# Ctrl-C while Python itself starts would end in its traceback: it waits until a first line of ours runs (`begin` in bench/first.py).
HOLD := $(if $(shell env --block-signal=INT true 2>/dev/null && echo yes),env --block-signal=INT)
OURS = $(strip $(HOLD) $(PY))

# A misspelt variable would be ignored, and something else be run than was asked. Those of the environment are not looked at.
KNOWN := STUDY DEVICE SEEDS DEPTHS DATA_ROOT DOWNLOAD EXECUTOR TIME_LIMIT WORKERS THREADS DEPTH ARCHITECTURE BASE JSON TORCH TRIES A B PYTHON VENV
empty :=
space := $(empty) $(empty)
GIVEN := $(foreach word,$(subst \$(space),_,$(MAKEOVERRIDES)),$(firstword $(subst =, ,$(subst :=,=,$(word)))))
UNKNOWN := $(filter-out $(KNOWN) RAY_%,$(GIVEN))
$(if $(UNKNOWN),$(error unknown variable $(UNKNOWN); known: $(KNOWN); any other stands before make: NAME=VALUE make))

# So would one that a target does not take. `help` takes any.
RUN := STUDY DEVICE SEEDS DEPTHS DATA_ROOT DOWNLOAD EXECUTOR TIME_LIMIT WORKERS THREADS
TAKES_help := $(KNOWN)
TAKES_ablation := $(RUN)
TAKES_taste := $(RUN)
TAKES_robustness := $(RUN)
TAKES_tune := $(filter-out SEEDS DEPTHS,$(RUN))
TAKES_show := STUDY SEEDS DEPTHS
TAKES_summary := ARCHITECTURE DEPTH
TAKES_report := STUDY
TAKES_against := STUDY A B
TAKES_tensorboard := STUDY
TAKES_profile := DEPTH DEVICE
TAKES_bench := DEVICE JSON
TAKES_bench-compare := BASE DEVICE JSON
TAKES_other := TORCH
TAKES_setup := TORCH
TAKES_faults := TRIES
# For a goal and a variable: says no.
refuse = $(error make $(1) does not take $(2); it takes: $(TAKES_$(1)) PYTHON VENV)
$(foreach goal,$(or $(MAKECMDGOALS),help),$(foreach name,$(filter $(KNOWN),$(GIVEN)),\
	$(if $(filter $(name),$(TAKES_$(goal)) PYTHON VENV),,$(call refuse,$(goal),$(name)))))

# One word of the shell, whatever is in it.
quoted = '$(subst ','\'',$(1))'
option = $(if $($(2)),$(1) $(call quoted,$($(2))))
TUNE_OPTIONS = $(call option,--device,DEVICE) $(call option,--executor,EXECUTOR) $(call option,--data-root,DATA_ROOT) \
	$(call option,--time-limit,TIME_LIMIT) $(call option,--workers,WORKERS) $(call option,--threads,THREADS) \
	$(if $(filter-out 0 no false,$(DOWNLOAD)),--download)
AUTO := $(if $(filter-out auto,$(SEEDS)),,$(SEEDS))
RUN_OPTIONS = $(TUNE_OPTIONS) $(call option,--seeds,SEEDS) $(call option,--depths,DEPTHS)

.PHONY: help setup setup-all ablation taste list show summary tune robustness report against bench bench-compare other bench-cpu bench-cuda profile tensorboard planted faults scale \
	test test-ray test-cuda-2.11 check reports-published clean

help:
	@echo "make TARGET [VARIABLE=value ...]"
	@grep -hE '^[a-z0-9.-]+:.*  ## ' Makefile | sed -E 's/:.*  ## /\t/' | awk -F'\t' '{printf "  %-18s %s\n", $$1, $$2}'
	@grep -E '^# (Variables|  )' Makefile | cut -c3-
	@echo "for those who change the suite:"
	@grep -hE '^[a-z0-9.-]+:.*  ### ' Makefile | sed -E 's/:.*  ### /\t/' | awk -F'\t' '{printf "  %-18s %s\n", $$1, $$2}'

setup: $(if $(TORCH),,$(READY))  ## install what studies need into VENV; TORCH=cpu: no CUDA
	@[ -z $(call quoted,$(TORCH)) ] || PYTHON=$(call quoted,$(PYTHON)) VENV=$(call quoted,$(VENV)) sh .ci/setup $(call quoted,$(TORCH))

setup-all: $(READY_DEV)  ## install the rest, too: Ray, tests, checks

$(VENV)/.ready: requirements.lock
	@PYTHON=$(call quoted,$(PYTHON)) VENV=$(call quoted,$(VENV)) sh .ci/setup

# Ray and what tests and checks need: 400 MB that a study does without.
$(VENV)/.ready-dev: requirements-dev.lock
	@PYTHON=$(call quoted,$(PYTHON)) VENV=$(call quoted,$(VENV)) LOCK=requirements-dev.lock sh .ci/setup

# Judges, and runs more seeds of what is open for want of them, until nothing is or the last look was taken.
MORE_SEEDS = before=; \
	while [ $$code -le 1 ] && more=$$($(OURS) -m reports "$$study" --seeds-wanted) && [ -n "$$more" ] && [ "$$more" != "$$before" ]; do \
		before=$$more; $(OURS) -m bench run "$$study" $(TUNE_OPTIONS) $$more; code=$$?; \
		case $$code in 0|1|3) ;; *) exit $$code ;; esac; \
	done;

# The default study is chosen by the device and the data that are there; the choice is said.
ablation: $(READY)  ## run STUDY; tables, page and verdicts (default: by device)
	@study=$(call quoted,$(STUDY)); started=$$(date +%s); \
	[ -n "$$study" ] || study=$$($(OURS) -m bench default $(call option,--device,DEVICE) $(call option,--data-root,DATA_ROOT)) || exit $$?; \
	$(OURS) -m bench run "$$study" $(if $(AUTO),$(TUNE_OPTIONS) $(call option,--depths,DEPTHS),$(RUN_OPTIONS)); code=$$?; \
	case $$code in 0|1|3) ;; *) exit $$code ;; esac; \
	$(if $(AUTO),$(MORE_SEEDS)) \
	$(OURS) -m reports "$$study" --tables --next --started "$$started" && exit $$code

taste: STUDY = taste
taste: ablation  ## a small default study: a minute or two, to 130 layers

list: $(READY)  ## the built-in studies
	@$(OURS) -m bench list

show: $(READY)  ## what is in STUDY, and what it will take
	@$(OURS) -m bench show $(call quoted,$(or $(STUDY),digits)) $(call option,--seeds,SEEDS) $(call option,--depths,DEPTHS)

summary: $(READY)  ## the net ARCHITECTURE=resnet of DEPTH=66 layer by layer
	@$(OURS) -m bench summary $(call quoted,$(ARCHITECTURE)) --depth $(call quoted,$(DEPTH))

tune: $(READY)  ## search each net's learning rate for STUDY (lr = "tuned")
	@[ -n $(call quoted,$(STUDY)) ] || { echo "error: name a study: make tune STUDY=my.toml" >&2; exit 2; }
	@$(OURS) -m bench tune $(call quoted,$(STUDY)) $(TUNE_OPTIONS)

robustness: $(READY)  ## STUDY on other CPU kernels: which verdicts flip
	@$(OURS) -m reports.robustness $(call quoted,$(or $(STUDY),taste)) $(RUN_OPTIONS)

report: $(READY)  ## tables and page of STUDY from the records that are there
	@$(OURS) -m reports $(call quoted,$(or $(STUDY),digits)) --tables

against: $(READY)  ## STUDY's records in the folders A and B side by side
	@[ -n $(call quoted,$(B)) ] || { echo "error: name another folder of records: make against STUDY=digits B=..." >&2; exit 2; }
	@$(OURS) -m reports $(call quoted,$(or $(STUDY),digits)) $(call option,--records,A) --against $(call quoted,$(B))

reports-published: $(READY)  ### rebuild reports/published from results/published
	@$(OURS) -m reports --published

bench: $(READY)  ## benchmarks over depth: save a baseline, or compare with it
	@$(PY) -m tests.regressions.gate $(call option,--device,DEVICE) $(call option,--json,JSON)

bench-compare: $(READY)  ## fail if a benchmark is slower than BASE
	@[ -n $(call quoted,$(BASE)) ] || { echo "error: name a saved run, a checkout or an interpreter: make bench-compare BASE=..." >&2; exit 2; }
	@$(PY) -m tests.regressions.gate $(if $(filter %.json,$(BASE)),--base,--against) $(call quoted,$(BASE)) $(call option,--device,DEVICE) $(call option,--json,JSON)

other:  ## install another torch, TORCH=2.11.0, into .venv-2.11.0
	@[ -n $(call quoted,$(TORCH)) ] || { echo "error: name a version: make other TORCH=2.11.0" >&2; exit 2; }
	@PYTHON=$(call quoted,$(PYTHON)) VENV=.venv-$(call quoted,$(TORCH)) LOCK=requirements-dev.lock sh .ci/setup $(call quoted,$(TORCH))
	@echo "compare with it: make bench-compare BASE=.venv-"$(call quoted,$(TORCH))"/bin/python"

bench-cpu: $(READY)  ### our loop against a typical PyTorch loop, on this CPU
	@$(PY) -m tests.speed.cpu_table

bench-cuda: $(READY)  ### every CUDA row of the table of targets (under 11 minutes)
	@$(PY) -m tests.speed.cuda_table

profile: $(READY)  ## one training step at DEPTH=66 as a trace for Perfetto
	@$(OURS) -m bench.cost.trace $(call quoted,$(DEPTH)) $(call option,--device,DEVICE)

tensorboard: $(READY)  ## TensorBoard on STUDY (its trace page loads from the web)
	@$(OURS) -m results $(call quoted,$(or $(STUDY),digits)) --tensorboard
	@$(PY) -m tensorboard.main --logdir results/out

planted: $(READY)  ### judge made-up studies of known answer, 10,000 draws each
	@$(PY) -m reports.judges.planted

# A process per core, whole files each (fixtures are shared within a file), in the order of tests/conftest.py; two processes of two threads each stand
# in each other's way.
test: $(READY_DEV)  ### the tests, but for those of the Ray executor
	@OMP_NUM_THREADS=1 $(PY) -m pytest tests -m "not ray" -n logical --dist loadfile --benchmark-disable --no-loadscope-reorder --durations=40 --durations-min=3

test-ray: $(READY_DEV)  ### the tests of the Ray executor, on two nodes of this machine
	@$(PY) -m pytest tests/bench/sweep -m ray

.venv-2.11.0/.ready: requirements-dev.lock
	@PYTHON=$(call quoted,$(PYTHON)) VENV=.venv-2.11.0 LOCK=requirements-dev.lock sh .ci/setup 2.11.0

test-cuda-2.11: .venv-2.11.0/.ready  ### the CUDA path on the oldest torch (needs g++, no GPU)
	@.venv-2.11.0/bin/python -m pytest tests/harness/ghost

faults: $(READY)  ### do harm to small sweeps, TRIES=10 times each fault
	@$(PY) -m tests.harness.chaos $(call quoted,$(or $(TRIES),10))

scale: $(READY)  ### how tables and page grow with the number of records
	@PYTHONPATH=. $(PY) tests/scale.py

check: $(READY_DEV)  ### lint and type-check
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy

clean:  ## remove tables, pages and caches; records and VENV stay
	rm -rf results/out reports/html .mypy_cache .ruff_cache .pytest_cache .ci/out
