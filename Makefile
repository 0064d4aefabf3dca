# Thin: every target is one command of the project, run in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Reads for `make bench`: simulated when empty.
READS  ?=
# More arguments for pip, such as an index that has the CPU build of torch.
PIP_ARGS ?=

.PHONY: setup test lint bench clean
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "fiveways needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "$(PYTHON) cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	@for optional in mappy pyslow5; do \
	  $(BIN)/pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt $$optional 2>$(VENV)/$$optional.log \
	    || echo "$$optional cannot be installed here (it may need a C compiler and zlib's headers): what uses it says so; see $(VENV)/$$optional.log" >&2; \
	done
	@touch $@

test: setup
	$(BIN)/pytest $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/fiveways bench lab $(if $(READS),--reads '$(READS)') $(ARGS)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
