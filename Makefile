# Thin: every target is one command of the project, run in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Reads for `make bench`: simulated when empty.
READS  ?=
# More arguments for pip, such as an index that has the CPU build of torch.
PIP_ARGS ?=
# For `make image`: docker or buildah; the images' names are IMAGE-service and IMAGE-loadgen.
BUILDER ?= docker
IMAGE   ?= fiveways
TAG     ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# What the Dockerfile may be told; its own choice where empty.
BASE_IMAGE  ?=
INDEX       ?=
TORCH_INDEX ?=

.PHONY: setup test lint bench bench-speed image clean
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "fiveways needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "$(PYTHON) cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[cluster,dev]'
	@for optional in mappy pyslow5 fast-ctc-decode; do \
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

# Where a peer cannot be installed, it says why and the report says that it is not.
bench-speed: setup
	-@$(BIN)/python -m benchmarks.environments
	$(BIN)/python -m benchmarks.speed $(ARGS)

image:
	for target in loadgen service; do \
	  $(BUILDER) build $(if $(filter docker,$(BUILDER)),,--format docker) --target $$target --tag $(IMAGE)-$$target:$(TAG) \
	    $(foreach name,BASE_IMAGE INDEX TORCH_INDEX,$(if $($(name)),--build-arg $(name)=$($(name)))) \
	    --build-arg VERSION=$(TAG) --build-arg REVISION=$$(git rev-parse HEAD) \
	    --build-arg SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) . || exit 1; \
	done

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
