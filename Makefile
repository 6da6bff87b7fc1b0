# `make` alone prints the menu. All that these targets create is in build/ and .venv/.
.DEFAULT_GOAL := help
.PHONY: help demo picture test test-all test-fast check bench constraints canary bump release fleet clean

# uv from the PATH, else installed by pip into build/tools, which works with a system's Python, too. A Python without pip can
# still create a virtual environment that has pip.
PYTHON ?= python3
TOOLS := build/tools
UV := $(if $(shell command -v uv),,$(TOOLS)/bin/uv)
export PATH := $(PATH):$(CURDIR)/$(TOOLS)/bin
RUN := uv run --quiet

# The answers that add dependencies: the tested set covers all of them together.
WITH_DEPENDENCIES := data_remote=s3 data_remote=gcs data_remote=azure data_remote=ssh compute=dask compute=ray \
	deployment=docker deployment=kubernetes

help: ## print this menu
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

demo: $(UV) ## generate the default project into build/demo and train it
	@test -e build/demo || { rm -rf build/new && uv tool run --quiet --from 'cookiecutter>=2.7,<3' cookiecutter --no-input . \
		--output-dir build/new project_slug=demo > /dev/null && mv build/new/demo build/demo && rmdir build/new; }
	@mkdir -p build/demo/.uv/bin && ln -sf "$$(command -v uv)" build/demo/.uv/bin/uv
	@$(MAKE) --no-print-directory -C build/demo setup train status
	@printf '\nNext, in build/demo:\n  make ui      # see the run in Prefect and the model in MLflow\n  make test    # run its tests\n  make deploy  # register its flows with a Prefect server\n'

picture: demo ## draw docs/picture.png: the report, run and model of the demo, in headless Chromium
	@$(RUN) --no-project --with 'playwright>=1.64,<2' --with 'pillow>=12' python docs/picture.py

test: $(UV) ## run what each push has to pass: generate projects, train and deploy them
	$(RUN) pytest --numprocesses auto --dist loadscope --no-loadscope-reorder -m 'not nightly'

test-all: $(UV) ## run all tests, also those that only the night runs: the same with other answers and Pythons
	$(RUN) pytest --numprocesses auto --dist loadscope --no-loadscope-reorder

test-fast: $(UV) ## run the fast tests, which generate projects but do not run them
	$(RUN) pytest --numprocesses auto -m 'not slow and not nightly'

check: $(UV) ## check format, lint and types; change nothing
	$(RUN) ruff format --check
	$(RUN) ruff check
	$(RUN) mypy

bench: $(UV) ## time a project's commands beside a bare script
	$(RUN) python tests/bench/bench.py

constraints: $(UV) ## write constraints.txt: the versions that exclude-newer gives, for all choices together
	rm -rf build/constraints
	for choice in $(WITH_DEPENDENCIES); do $(RUN) cookiecutter --no-input --accept-hooks no . --output-dir build/constraints \
		project_slug=$$(echo $$choice | tr = -) $$choice || exit 1; done
	cd build/constraints/compute-ray && uv pip compile --quiet --upgrade --universal --python-version 3.11 --group dev \
		--no-header --no-annotate ../*/pyproject.toml --output-file '../../../{{cookiecutter.__folder}}/constraints.txt'

canary: $(UV) ## train, test and schedule with the newest versions of everything; name those that break it
	@$(RUN) python tools/canary.py $(ANSWERS) $(if $(BEFORE),--before $(BEFORE)) $(if $(HOLD),--hold $(HOLD))

bump: $(UV) ## move the tested set to what the canary passes of the versions of two weeks ago
	-@$(RUN) python tools/canary.py --before "$$(date --date '14 days ago' +%F)"
	$(RUN) python tools/bump.py

fleet: $(UV) ## print a line per project of PROJECTS="folder address file"; ARGS=--update pushes an update branch to each
	@$(RUN) python tools/fleet.py $(ARGS) $(PROJECTS)

release: check ## commit and tag VERSION=v2, if changelog and tree are ready; push nothing
	@$(RUN) python tools/release.py '$(VERSION)'

clean: ## remove build/, with the demo, and .venv/
	rm -rf build .venv

$(TOOLS)/bin/uv:
	@echo 'Installing uv into build/tools.'
	@$(PYTHON) -m pip install --quiet --root-user-action ignore --target $(TOOLS) uv 2> /dev/null \
		|| { $(PYTHON) -m venv $(TOOLS) && $(TOOLS)/bin/pip install --quiet uv; }
