# A menu; `make` alone prints it. Everything made here lies in build/ and .venv/.
.DEFAULT_GOAL := help
.PHONY: help demo test test-fast check bench constraints clean

# uv, from the PATH or through pip into a folder of its own, which no system's Python refuses. A Python without pip can still
# make an environment that has it.
PYTHON ?= python3
TOOLS := $(CURDIR)/build/tools
UV := $(or $(shell command -v uv),$(TOOLS)/bin/uv)
export PATH := $(patsubst %/,%,$(dir $(UV))):$(PATH)
RUN := uv run --quiet

# The answers that bring dependencies of their own: the tested set is that of all of them together.
BRINGING := data_remote=s3 data_remote=gcs data_remote=azure data_remote=ssh compute=dask compute=ray \
	deployment=docker deployment=kubernetes

help: ## print this menu
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

demo: $(UV) ## generate the default project into build/demo and train it
	@test -e build/demo || $(UV) tool run --quiet --from 'cookiecutter>=2.7,<3' cookiecutter --no-input . \
		--output-dir build project_slug=demo > /dev/null
	@mkdir -p build/demo/.uv/bin && ln -sf '$(UV)' build/demo/.uv/bin/uv
	@$(MAKE) --no-print-directory -C build/demo setup train status
	@printf '\nNext, in build/demo:\n  make ui      # look\n  make test    # test\n  make deploy  # deploy\n'

test: $(UV) ## prove that every project that can be generated runs
	$(RUN) pytest --numprocesses auto --dist loadscope

test-fast: $(UV) ## only the tests that generate projects and run none
	$(RUN) pytest --numprocesses auto -m 'not slow'

check: $(UV) ## format, lint and types, changing nothing
	$(RUN) ruff format --check
	$(RUN) ruff check
	$(RUN) mypy

bench: $(UV) ## time the commands beside a bare script
	$(RUN) python tests/bench/bench.py

constraints: $(UV) ## write down the tested set, as exclude-newer gives it: what any choice may need
	rm -rf build/constraints
	for choice in $(BRINGING); do $(RUN) cookiecutter --no-input --accept-hooks no . --output-dir build/constraints \
		project_slug=$$(echo $$choice | tr = -) $$choice || exit 1; done
	cd build/constraints/compute-ray && uv pip compile --quiet --upgrade --universal --python-version 3.11 --group dev \
		--no-header --no-annotate ../*/pyproject.toml --output-file '$(CURDIR)/{{cookiecutter.project_slug}}/constraints.txt'

clean: ## remove build/, the demo included, and .venv/
	rm -rf build .venv

$(TOOLS)/bin/uv:
	@echo 'Installing uv into build/tools.'
	@$(PYTHON) -m pip install --quiet --root-user-action ignore --target $(TOOLS) uv 2> /dev/null \
		|| { $(PYTHON) -m venv $(TOOLS) && $(TOOLS)/bin/pip install --quiet uv; }
