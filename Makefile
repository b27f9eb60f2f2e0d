# make demo   install into .venv and take the quickstart recipe from raw text to a model
# make test   install the test tools too and run the tests
# make check  format, lint, types, layers
PYTHON ?= python3
VENV ?= .venv
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-slow check reference clean

demo: $(VENV)/installed
	$(VENV)/bin/llmctl run quickstart

test: $(VENV)/installed-test
	$(VENV)/bin/python -m pytest --numprocesses auto --dist loadfile --max-worker-restart 0

test-slow: $(VENV)/installed-test
	$(VENV)/bin/python benchmarks/slow_tests.py

check: $(VENV)/installed-check
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/basedpyright --pythonpath $(VENV)/bin/python
	$(VENV)/bin/lint-imports

reference: $(VENV)/installed-test
	$(VENV)/bin/llmctl schema > recipes/recipe.schema.json
	$(VENV)/bin/python docs/make_reference.py
	$(VENV)/bin/python docs/make_benchmarks.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(PIP) --editable '.[test]'
	touch $@

$(VENV)/installed-check: $(VENV)/installed-test
	$(PIP) --editable '.[test,check]'
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
