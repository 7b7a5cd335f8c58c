# Every target works on a fresh Debian machine with Python 3.11 or newer: `setup` installs what is missing.
PY := .venv/bin/python
FUZZ_SECONDS ?= 20
.PHONY: help setup demo test test-vm test-kubernetes lint bench fuzz cni image clean lock

help:            ## show this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t18

setup:           ## create .venv and install everything
	@scripts/setup.sh

demo: setup      ## three hosts on this machine, one story (needs root)
	@$(PY) -m weave demo

# Tests of the kernel wait more than they work; those of one file share a lab, and two files never do.
test: setup lint ## every test: unit, properties, simulation, store faults, the real kernel (needs root)
	@failed=; $(PY) -m pytest -m "not lab" -n auto --maxprocesses 4 || failed=yes; \
	$(PY) -m pytest -m lab -n auto --maxprocesses 2 --dist loadfile || failed=yes; test -z "$$failed"

test-vm: setup   ## WireGuard and ESP under a stock kernel, in an emulator (TESTBED_VM names the testbed)
	@$(PY) -m tests.vm

test-kubernetes: setup  ## a real cluster with our manifests (needs root, and a testbed beside the project)
	@$(PY) -m pytest tests/kubernetes --timeout=900 --timeout-method=thread $(SCENARIOS)

lint: setup      ## style, types, import rules
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -m flake8 --select ASYNC1,ASYNC2,ASYNC3 --extend-ignore ASYNC114,ASYNC124 \
		$$(grep -rlE 'async |trio' --include='*.py' weave store)
	@.venv/bin/lint-imports --no-logo

image: setup     ## build the image of a node without a registry (needs root)
	@deploy/image.sh

bench: setup     ## list the benches; run one with: .venv/bin/python -m bench NAME
	@$(PY) -m bench list

fuzz: setup      ## fuzz every decoder for FUZZ_SECONDS each
	@$(PY) -m tests.fuzz all --seconds $(FUZZ_SECONDS)

cni: setup       ## build the CNI plugins as a static C program, for hosts without Python
	@scripts/cni-program.sh build/cni/weave-net
	@ln -sf weave-net build/cni/weave-ipam

lock: setup      ## pin the dependencies again (needs uv)
	uv pip compile --quiet --generate-hashes --no-header --no-annotate --no-emit-index-url pyproject.toml -o requirements/runtime.txt
	uv pip compile --quiet --generate-hashes --no-header --no-annotate --no-emit-index-url --extra dev pyproject.toml -o requirements/dev.txt

clean:           ## remove everything that setup and the tests made
	@if [ -x $(PY) ]; then $(PY) -m weave lab down --all || true; fi
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
