# `make` lists the verbs. Each of them sets up .venv first; that happens once, and again when pyproject.toml or
# constraints.txt changed, the folder moved, or PYTHON= asks for another version.
#
#   PYTHON=/path/to/python3.12   the interpreter .venv is made from (default: the first 3.10-3.12 on PATH, python3 first)
#   PYTEST_ARGS="tests/unit -x"  passed on to pytest by test, test-faults and test-all

# A Makefile read from elsewhere (make -f path/Makefile) goes on in its own folder, so every path below is relative to it.
HERE := $(shell cd "$$(dirname "$$(echo "$(MAKEFILE_LIST)" | sed 's/^ *//')")" && pwd -P)
VERBS := demo clean-demo test test-faults test-all lint docs clean .venv
ifneq ($(CURDIR),$(HERE))
.PHONY: help $(VERBS)
.DEFAULT_GOAL := help
help $(VERBS):
	@$(MAKE) --no-print-directory -C "$(HERE)" $@
else

SHELL := /bin/sh
PY := .venv/bin/python
IKD := .venv/bin/ikd
DONE := .venv/set-up-done
# Measured: .venv with torch's CPU build is 2.8 GiB, and pip unpacks at most 0.5 GiB at a time into its temporary folder.
NEEDED_MIB := 4000
CPU_TORCH := https://download.pytorch.org/whl/cpu
NEEDED_TEMPORARY_MIB := 1000

.PHONY: help demo clean-demo test test-faults test-all lint docs clean .venv
help:
	@echo "make demo         sweep distillation recipes on the drawn data set, rank them, export the best student (to .demo/)"
	@echo "make clean-demo   delete the demo's sweep and student, so that make demo begins anew"
	@echo "make test         lint, then every test that takes seconds"
	@echo "make test-faults  the tests that kill processes, fill disks and cut networks; what fails is run once more (20 minutes)"
	@echo "make test-all     lint, then every test, those that take minutes or kill processes included"
	@echo "make lint         ruff, ruff format and mypy, changing nothing"
	@echo "make docs         the documentation as a site in build/site, links checked; it needs no network"
	@echo "make .venv        only set up: .venv with the versions of constraints.txt"
	@echo "make clean        delete .venv, .demo and every cache in this folder"

# The sweep lies in the ikd home, as every sweep does, so that `ikd status demo` finds it.
demo: $(DONE)
	$(IKD) sweep search_spaces/quickstart.yaml --name demo --runner runners/local.yaml
	$(IKD) export demo --to .demo/student
	@echo
	@echo "The best student is in $(CURDIR)/.demo/student"
	@echo "To go on:  . '$(CURDIR)/.venv/bin/activate'   then: ikd status demo, ikd show demo 0, ikd ui"

clean-demo:
	rm -rf .demo "$${IKD_HOME:-$$HOME/ikd}/sweeps/demo"

# Files go in order, as those of a few long tests (contracts, e2e) come first and not last, when one process would wait for the other.
test: lint
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not fault" --durations=10 $(PYTEST_ARGS)

# A slow machine may miss a deadline once; both outcomes are printed. What fails twice fails.
test-faults: $(DONE)
	$(PY) -m pytest tests/faults -m fault --reruns 1 --rerun-show-tracebacks -rfEs --durations=20 $(PYTEST_ARGS)

test-all: lint
	$(PY) -m pytest --durations=20 $(PYTEST_ARGS)

lint: $(DONE)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# The theme's advertisement of its successor is no warning of ours.
docs: $(DONE)
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	$(PY) -m pages.check build/site
	@echo "The pages are in $(CURDIR)/build/site/index.html; with search: $(PY) -m http.server --directory build/site"

clean:
	rm -rf .venv .demo .mypy_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -not -path './.git/*' -exec rm -rf {} +

.venv: $(DONE)

# --- set-up -----------------------------------------------------------------------------------------------------------

# One line on stdout says what is wrong with an interpreter; nothing is printed when it will do.
define PROBE
import sys
if not (3, 10) <= sys.version_info[:2] <= (3, 12):
    print("is Python %d.%d.%d" % sys.version_info[:3])
else:
    try:
        import ensurepip, venv
    except ImportError:
        print("has no venv module (Debian, Ubuntu: apt install python%d.%d-venv)" % sys.version_info[:2])
endef
export PROBE

# Sets $$python to the first interpreter that will do. A command on PATH may still fail to run (pyenv's shims do), so each is tried.
define find_python
	if [ -n "$(PYTHON)" ]; then set -- "$(PYTHON)"; else set -- python3 python3.12 python3.11 python3.10; fi; \
	python= ; reasons= ; \
	for candidate in "$$@"; do \
	  if ! command -v "$$candidate" >/dev/null 2>&1; then wrong="not found"; \
	  elif ! wrong=$$("$$candidate" -c "$$PROBE" 2>/dev/null); then wrong="does not run"; fi; \
	  if [ -z "$$wrong" ]; then python=$$candidate; break; fi; \
	  reasons="$$reasons  $$candidate: $$wrong\n"; \
	done; \
	if [ -z "$$python" ]; then \
	  printf "set-up: ikd needs Python 3.10, 3.11 or 3.12, and found none:\n$$reasons" >&2; \
	  echo "Install one of them, or name it: make $(or $(MAKECMDGOALS),demo) PYTHON=/path/to/python3.12" >&2; \
	  exit 1; \
	fi
endef

# $(call check_disk,FOLDER,NEEDED MIB,WHAT FOR,WHAT ELSE HELPS)
define check_disk
	free=$$(df -Pk "$(1)" | awk 'NR == 2 {print int($$4 / 1024)}'); needed=$$(($(2))); \
	if [ "$${free:-0}" -lt "$$needed" ]; then \
	  echo "set-up: too little free disk space for $(3): $(1) has $$free MiB free, $$needed MiB are needed." >&2; \
	  echo "Free some space$(4), then run make again." >&2; \
	  exit 1; \
	fi
endef

define pip_failed
	echo "set-up: pip failed, its own message is above (disk space left here: $$(df -Pk . | awk 'NR == 2 {print int($$4 / 1024)}') MiB)." >&2; \
	echo "No network, or a proxy? Set PIP_INDEX_URL or HTTPS_PROXY. No matching version? Try another Python: make .venv PYTHON=/path/to/python3.11" >&2; \
	echo "Disk full? The index's torch brings 6 GiB of CUDA; PIP_EXTRA_INDEX_URL=$(CPU_TORCH) avoids that." >&2; \
	echo "Then run make again; it goes on where it stopped." >&2; \
	exit 1
endef

# The usual OpenCV wants libGL even where it opens no window; where there is none (containers), the headless build is put over it.
HEADLESS := --force-reinstall --no-deps opencv-python-headless

# A finished .venv that belongs to another folder (the tree was moved: its scripts and the editable install point to the old place)
# or to another version than PYTHON= asks for is made again.
VERSION_OF = -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
ifneq ($(wildcard $(DONE)),)
ifneq ($(shell cat $(DONE)),$(CURDIR))
.PHONY: $(DONE)
else ifneq ($(PYTHON),)
ifneq ($(shell "$(PYTHON)" $(VERSION_OF)),$(shell $(PY) $(VERSION_OF)))
.PHONY: $(DONE)
endif
endif
endif

$(DONE): pyproject.toml constraints.txt
	@$(find_python); \
	there=$$(du -sm .venv 2>/dev/null | cut -f1); \
	$(call check_disk,$(CURDIR),$(NEEDED_MIB) - $${there:-0},.venv,); \
	$(call check_disk,$${TMPDIR:-/tmp},$(NEEDED_TEMPORARY_MIB),pip's temporary files, or point TMPDIR to a larger disk); \
	version=$$("$$python" $(VERSION_OF)); \
	if [ "$$(cat .venv/made-for 2>/dev/null)" != "$(CURDIR) $$version" ] || ! $(PY) -m pip --version >/dev/null 2>&1; then \
	  rm -rf .venv; \
	  echo "Making .venv with $$python ($$version); nothing is compiled, about 2 minutes on a fast network"; \
	  "$$python" -m venv .venv || { rm -rf .venv; exit 1; }; \
	  echo "$(CURDIR) $$version" > .venv/made-for; \
	fi; \
	rm -f $@; \
	if [ -t 1 ]; then quiet= ; else quiet=--quiet; fi; \
	$(PY) -m pip install $$quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' || { $(pip_failed); }; \
	$(PY) -c 'import cv2' 2>/dev/null || $(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt $(HEADLESS) || \
	  { $(pip_failed); }; \
	echo "$(CURDIR)" > $@
endif
