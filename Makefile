# Two commands matter: make demo, make test. Each makes its own .venv first.
PYTHON ?= python3
RUN = .venv/bin/python
export PYTHONDONTWRITEBYTECODE = # tests start Python some hundred times: what it compiles is kept

.PHONY: help demo test test-all test-most test-gpu test-long check bench notebooks clean
help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "lt_extrap needs Python 3.11 to 3.13; run make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --no-compile --editable '.[dev]'
	$(RUN) -W ignore -m compileall -qq -j 0 -x '/tests?/' .venv/lib || true # as pip would, on one core; some are of Python 2
	touch $@

demo: .venv/installed ## the whole path on the embedded world: baseline, curation, method, one table
	$(RUN) -m lt_extrap.demo

test: .venv/installed ## the fast tests, less than 3 minutes on 2 cores
	$(RUN) -m pytest -q -n 2 --dist worksteal

check: .venv/installed ## style, types, direction of imports
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

test-all: .venv/installed ## everything that CI runs, side by side
	$(MAKE) --jobs 2 check test-most

test-most: .venv/installed ## all tests but the long ones
	$(RUN) -m pytest -q -n 2 --dist worksteal -m 'not long'

test-gpu: .venv/installed ## what needs a CUDA device
	LT_EXTRAP_TEST_GPU=$${CUDA_VISIBLE_DEVICES:-0} $(RUN) -m pytest -v -n 2 tests/test_gpu.py

test-long: .venv/installed ## what CI has no time for: before a release
	$(RUN) -m pytest -q -n 2 --dist worksteal -m long

bench: .venv/installed ## speed and memory against peers, into runs/bench.json
	$(RUN) -m benchmarks

notebooks: .venv/installed ## run notebooks/*.py anew, into the .ipynb beside each, without what training prints
	rm -rf notebooks/runs
	.venv/bin/jupytext --quiet --update --to ipynb notebooks/*.py
	.venv/bin/jupyter-nbconvert --log-level=WARN --to notebook --inplace --execute \
	  --ExecutePreprocessor.record_timing=False notebooks/*.ipynb
	.venv/bin/jupyter-nbconvert --log-level=WARN --to notebook --inplace \
	  --TagRemovePreprocessor.enabled=True --TagRemovePreprocessor.remove_all_outputs_tags=progress notebooks/*.ipynb

clean: ## remove the environment and caches, never runs/
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
