# make run    sets everything up, trains on the bundled digits, samples and reconstructs
# make test   sets everything up and runs the tests
# Python 3.11 to 3.13 is all that has to be there; make run PYTHON=/path/to/python names one.
SHELL := /bin/bash
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c '$(FITS)' >/dev/null 2>&1 && { echo $$p; break; }; done)
LOWEST ?= $(shell for p in python3.11 python3 "$(PYTHON)"; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := .venv/bin
DATA ?= data

.PHONY: run test test-slow test-scale test-slurm test-faults test-browser lint docs wheel test-lowest bench results race clean

run: .venv/installed
	$(BIN)/vae-train experiment=first_digits
	$(BIN)/vae sample
	$(BIN)/vae reconstruct
	@echo
	@echo "The pictures are the two files just named, and images/ beside them."
	@echo "Move through its latent space in the browser:  $(BIN)/vae explore"
	@echo "Curves and pictures of the whole training:  $(BIN)/tensorboard --logdir outputs"

test: .venv/installed
	$(BIN)/python -m pytest

test-slow: .venv/installed
	$(BIN)/python -m pytest -m slow

# several processes: sweeps at once, searches, torchrun, a cluster's launcher on this machine
test-scale: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[sweep,optuna,cluster]'
	$(BIN)/python -m pytest -n 0 -m scale tests/scale tests/training/test_ranks.py

# a sweep on a Slurm cluster of this machine alone, whose time limit strikes (as root; 10 minutes)
test-slurm: .venv/installed
	@command -v slurmctld >/dev/null && command -v munged >/dev/null || \
		{ echo "error: Slurm is not installed; install it: apt-get install slurm-wlm munge"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cluster]'
	$(BIN)/python -m pytest -n 0 -m slurm tests/scale

# kills, signals, full disks, broken numbers, hostile files, two at once, long runs: every promise of docs/reliability.md
test-faults: .venv/installed
	$(BIN)/python -m pytest -m "faults or not (slow or scale or slurm or browser)" tests/faults tests/runs

# the page of vae explore in a headless Chromium; its screenshots go to build/explore, and with VAE_TEST_MNIST=data
# VAE_PICTURES=docs/pictures those of the README are made again
test-browser: .venv/installed
	@command -v chromedriver >/dev/null || { echo "error: no Chromium: apt-get install --no-install-recommends chromium chromium-driver"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[browser]'
	$(BIN)/python -m pytest -m browser -n 0 tests/explore

# every command, in an environment of its own with the lowest version of every dependency (some 5 GB, build/lowest)
test-lowest:
	@test -n "$(LOWEST)" || { echo "error: Python 3.11 is needed (make test-lowest LOWEST=/path/to/python3.11)"; exit 1; }
	$(LOWEST) -m venv --clear build/lowest
	build/lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	build/lowest/bin/uv pip install --python build/lowest/bin/python --resolution lowest-direct -e '.[dev,docs,export]'
	build/lowest/bin/python -m pytest -m "not faults" tests/test_pages.py tests/commands/test_completion.py

# training steps beside their matrix products, other loops and JAX: the table of docs/performance.md (DATA holds MNIST/raw)
bench: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(BIN)/python benchmarks/speed.py $(DATA) --jax $(BIN)/python --write docs/performance.md

# one row of the published results, from training to the table of docs/results.md (DATA holds MNIST/raw): make results ROW=iwae_k1
results: .venv/installed
	@test -n "$(ROW)" || { echo "error: ROW is missing (make results ROW=iwae_k1); the rows are in docs/results.md"; exit 1; }
	$(BIN)/python benchmarks/published.py $(DATA) $(ROW)

# the race to a test NLL of 88: trains against the clock, evaluates, and writes the table of docs/race.md
race: .venv/installed
	$(BIN)/python benchmarks/race.py $(DATA) $(or $(RECIPE),race_88) --seed $(or $(SEED),0)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --strict vaecli/runs vaecli/config vaecli/training

# the pages and the API reference as a site; a dead link, anchor or picture, or a page in no menu, is an error
docs: .venv/docs
	rm -rf build/docs docs/api
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -c docs -d build/doctrees . build/docs
	@echo "wrote build/docs/index.html"

# builds the wheel and uses it from an empty folder, with the dependencies of .venv
wheel: .venv/installed
	rm -rf build/wheel && mkdir -p build/wheel/empty
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(BIN)/pip install --quiet --no-deps --target build/wheel/site build/wheel/*.whl
	cd build/wheel/empty && export PYTHONPATH=../site && py=$(CURDIR)/$(BIN)/python && \
	$$py -c "import vaecli, sys; sys.exit('site' not in vaecli.__file__)" && \
	$$py -m vaecli train epochs=2 && $$py -m vaecli sample && $$py -m vaecli reconstruct && $$py -m vaecli --help

.venv/installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: Python 3.11, 3.12 or 3.13 is needed (make run PYTHON=/path/to/python)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

.venv/docs: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

clean:
	rm -rf .venv build dist docs/api .pytest_cache .mypy_cache .ruff_cache
