# A menu; `make` alone prints it. Everything made here lies in build/ and .venv/.
.DEFAULT_GOAL := help
.PHONY: help demo test check bench constraints clean

# uv, from the PATH or through pip into an environment of its own, which no system's Python refuses. Where Python has no
# venv (Debian splits it off), pip can still install into a plain folder.
PYTHON ?= python3
TOOLS := $(CURDIR)/build/tools
UV := $(or $(shell command -v uv),$(TOOLS)/bin/uv)
export PATH := $(patsubst %/,%,$(dir $(UV))):$(PATH)
RUN := uv run --quiet

help: ## print this menu
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

demo: $(UV) ## generate the default project into build/demo and train it
	@test -e build/demo || $(RUN) cookiecutter --no-input . --output-dir build project_slug=demo > /dev/null
	@$(MAKE) --no-print-directory -C build/demo setup train status
	@printf '\nNext, in build/demo:\n  make ui      # look\n  make test    # test\n  make deploy  # deploy\n'

test: $(UV) ## prove that every project that can be generated runs
	$(RUN) pytest --numprocesses auto --dist loadscope

check: $(UV) ## format and lint, changing nothing
	$(RUN) ruff format --check
	$(RUN) ruff check

bench: $(UV) ## time the commands beside a bare script
	$(RUN) python tests/bench.py

# The answers that bring dependencies of their own.
WITH_OWN := deployment=docker
constraints: $(UV) ## write down the tested set of all answers together, as exclude-newer gives it
	rm -rf build/constraints
	for answer in deployment=process $(WITH_OWN); do $(RUN) cookiecutter --no-input --accept-hooks no . \
		--output-dir build/constraints/$$answer project_slug=tested-set $$answer || exit 1; done
	cd build/constraints/deployment=process/tested-set && uv pip compile --quiet --universal --python-version 3.11 \
		--group dev --no-header --no-annotate pyproject.toml $(WITH_OWN:%=../../%/tested-set/pyproject.toml) \
		--output-file '$(CURDIR)/{{cookiecutter.project_slug}}/constraints.txt'

clean: ## remove build/, the demo included, and .venv/
	rm -rf build .venv

$(TOOLS)/bin/uv:
	$(PYTHON) -m venv $(TOOLS) || $(PYTHON) -m pip --version > /dev/null
	if test -x $(TOOLS)/bin/pip; then $(TOOLS)/bin/pip install --quiet uv; else $(PYTHON) -m pip install --quiet --target $(TOOLS) uv; fi
