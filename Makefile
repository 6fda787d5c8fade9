# The two commands of the study are `make book` and `make test`; `make help` lists the others.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
UV := $(shell sed -n 's/^\(uv==[^ ;]*\).*/\1/p' requirements.lock)

# Of the runs of `make book`: one, which takes a quarter of an hour on two cores.
SEEDS ?= 0

# Address of the public repository of this copy, for launch buttons: make book REPOSITORY=https://github.com/owner/name
REPOSITORY ?= $(INTRA_REPOSITORY)
export INTRA_REPOSITORY := $(REPOSITORY)

# One thread: the same sums on any machine, and faster for small models on few cores.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= passive
export HF_HUB_OFFLINE ?= 1
export PYTHONHASHSEED ?= 0

.DEFAULT_GOAL := help
.PHONY: help env book test bench lint format lock reproduce accept lab clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

env: $(STAMP) ## build the environment in .venv from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON); name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "Python 3.11 or later is needed, this is %d.%d; name another: make PYTHON=..." % v[:2])'
	@start=$$(date +%s); set -e; echo "building the environment in $(VENV) ..."; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV); \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(UV)"; \
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements.lock; \
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; \
	echo $$(($$(date +%s) - start)) >$(VENV)/.seconds; \
	touch $(STAMP); \
	echo "environment ready in $$(cat $(VENV)/.seconds) s"

book: env ## run all studies with one seed (SEEDS=0-1: with two), execute the notebooks, render _build/html/index.html
	@$(BIN)/intra reproduce --seeds $(SEEDS)

test: env ## run the unit tests and compare every notebook with its stored outputs
	@$(BIN)/python -m pytest --nbval --nbval-current-env tests notebooks

bench: env ## measure time and memory, and write book/records/bench.json
	@$(BIN)/python -m intra.bench

lint: env ## check code and notebooks
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: env ## format code and notebooks
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

lock: env ## compile requirements.lock again; UPGRADE=--upgrade takes newer releases
	@$(BIN)/uv pip compile --quiet pyproject.toml --extra test --extra cluster --universal --python-version 3.11 \
		--no-header --no-annotate $(UPGRADE) --output-file requirements.lock

reproduce: env ## all studies from nothing, with all their seeds, then the book
	rm -rf _build/records _build/run
	@$(BIN)/intra reproduce

accept: env ## make the last run the reference: its records and the outputs of its notebooks
	@$(BIN)/intra reproduce --accept

lab: env ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab notebooks

clean: ## remove what was built, but not the environment
	rm -rf _build .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
