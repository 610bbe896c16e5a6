# `make demo` and `make test` are all a new user needs: both install first when that is not done.
# Another interpreter than python3: make install PYTHON=python3.11

PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.docs-installed
RUN := $(VENV)/bin

# Compiled modules are kept, also where the surroundings say otherwise: pytest rewrites the asserts
# of every test file, in every process of a test run, and that takes 15 s.
test test-all test-beside test-slow: export PYTHONDONTWRITEBYTECODE :=

# One line for an unsupported Python, instead of pages from pip.
define CHECK_PYTHON
command -v $(PYTHON) >/dev/null || { \
  echo "rgan_tf: no $(PYTHON) here; install Python 3.11 and name it: make install PYTHON=..." >&2; exit 2; }; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
  echo "rgan_tf: needs Python 3.11, and $(PYTHON) is" \
    "$$($(PYTHON) --version 2>&1); name another: make install PYTHON=python3.11" >&2; exit 2; }
endef

.PHONY: install demo studio web browser test test-all test-beside test-slow lint format docs clean

install: $(STAMP)

$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)
	$(RUN)/rgan demo

# A page to compose pictures on; makes the demo's model first if there is none.
studio: $(STAMP)
	$(RUN)/rgan studio $(STUDIO_ARGS)

# The page of the studio from its sources, into export/studio/static. Needs Node 20; users do not.
web:
	cd export/studio/web && npm ci --ignore-scripts --no-audit --no-fund && npm test && npm run build

# A browser from Debian's packages and the Node packages of the page, for the tests of the studio.
BROWSER := chromium fonts-dejavu-core
browser: $(STAMP)
	command -v chromium >/dev/null || { apt-get update -qq && \
	  apt-get install -y -qq --no-install-recommends $(BROWSER) >/dev/null; }
	cd export/studio/web && npm ci --ignore-scripts --no-audit --no-fund --silent

# Two processes, each with whole files: most of a test's time is spent tracing, on one core. Files
# start in the order of tests/plugins/two_workers.py.
WORKERS := -n 2 --dist loadfile --no-loadscope-reorder --durations=50

# Of every expensive kind of test one: whole trainings, servers, exports, compiled variants.
test: $(STAMP)
	$(RUN)/python -m pytest $(WORKERS) $(PYTEST_ARGS)

# All but what takes minutes.
test-all: $(STAMP)
	$(RUN)/python -m pytest -m "not slow" $(WORKERS) $(PYTEST_ARGS)

# Only the tests that RGAN_COCO_ROOT and RGAN_WEIGHTS change, with the reason of each skip.
test-beside: $(STAMP)
	$(RUN)/python -m pytest -m "beside and not slow" -rs $(PYTEST_ARGS)

test-slow: $(STAMP)
	$(RUN)/python -m pytest -m slow $(PYTEST_ARGS)

lint: $(STAMP)
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

# The pages of docs/ and the API reference, in site/; a broken link or reference fails.
docs: $(DOCS_STAMP)
	$(RUN)/mkdocs build --clean  # not --quiet, which would hide warnings from the strict mode

$(DOCS_STAMP): $(STAMP)
	$(RUN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	@touch $(DOCS_STAMP)

format: $(STAMP)
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

clean:
	rm -rf $(VENV) site export/studio/web/node_modules *.egg-info .pytest_cache .ruff_cache .hypothesis
