# Two commands do everything on a machine with Python 3.10 to 3.13:
#   make demo    a site on SQLite, a real cluster, a backfill to watch, the numbers
#   make test    the tests, on SQLite and on each server that can be reached
# Another interpreter: make test PYTHON=python3.12. Its last lines count what passed, failed and was skipped on each
# database. By default two databases are tested at once, each by two workers with a database of their own, which suits
# two cores: many tests wait. One after another, or on a larger machine: make test JOBS=1 WORKERS=4
# With a report of coverage, over all databases, which costs a third of the time more: make coverage
# The crash matrix, of which make test does a part, at length: every scenario on every database, and those that draw
# lots in so many rounds, each with a seed of its own that is shown in the test's name:
#   make torture ROUNDS=5
# After a change of the beacon's script, with Node's npx:
#   make script
# After a change of the read API, its OpenAPI document in docs/:
#   make openapi
# After a change of a text that is translated, with GNU gettext:
#   make messages
# The picture of the dashboard in the README, of the demo's data, with Chromium and its driver:
#   make picture
# The vendored lists of referrer spam and of channels, of which each release should have the newest, from their
# repositories, or from clones of them: make update-lists LISTS="--referrer-spam DIR --channels DIR"
#   make update-lists

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DEMO_DB = demo/demo.sqlite3
TESTS ?= project sqlite postgresql mariadb
JOBS ?= 2
WORKERS ?= 2
ROUNDS ?= 5

TERSER = terser@5.51.4

.PHONY: help demo test coverage torture lint script messages openapi picture update-lists clean

help:
	@sed -n '/^# /s/^# //p' Makefile

demo: $(VENV)/installed
	rm -rf demo
	mkdir demo
	PAGESTATS_DB=sqlite PAGESTATS_DB_NAME=$(DEMO_DB) PAGESTATS_BROKER=orm $(BIN)/python manage.py demo

test: $(VENV)/tested
	$(BIN)/python -m tests.run --jobs $(JOBS) --workers $(WORKERS) $(OPTIONS) $(TESTS)

coverage: $(VENV)/tested
	$(BIN)/python -m tests.run --coverage --jobs $(JOBS) --workers $(WORKERS) $(OPTIONS) $(TESTS)

torture: $(VENV)/tested
	PAGESTATS_TORTURE=$(ROUNDS) $(BIN)/python -m tests.run --only-crashes --jobs $(JOBS) --workers $(WORKERS) \
	  sqlite postgresql mariadb

# the beacon as browsers get it, with npx of Node; tests/test_beacon_script.py compares
script:
	npx --yes $(TERSER) django_pagestats/beacon/beacon.js --ecma 2020 --compress passes=2 --mangle \
	  --output django_pagestats/beacon/beacon.min.js

messages: $(VENV)/installed
	$(BIN)/python tools/messages.py

openapi: $(VENV)/installed
	$(BIN)/python tools/openapi.py

picture: $(VENV)/tested
	PAGESTATS_DB=sqlite PAGESTATS_DB_NAME=$(DEMO_DB) $(BIN)/python tools/picture.py

lint: $(VENV)/linted
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -W error manage.py makemigrations --check --dry-run

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) else \
	  "Python 3.10 to 3.13 is needed, $(PYTHON) is %d.%d: try make PYTHON=python3.13 ..." % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

$(VENV)/installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/tested: $(VENV)/bin/python pyproject.toml
	@$(BIN)/python -m pip install --quiet --editable '.[country,mysql,postgres,redis]' --group test --group browser --group sites --group api 2>$(VENV)/pip.log \
	  || { echo "mysqlclient cannot be built here ($(VENV)/pip.log says why): the tests on MariaDB will be skipped"; \
	       $(BIN)/python -m pip install --quiet --editable '.[country,postgres,redis]' --group test --group browser --group sites --group api; }
	@touch $(VENV)/installed $@

$(VENV)/linted: $(VENV)/tested
	$(BIN)/python -m pip install --quiet --group lint
	@touch $@

update-lists: $(VENV)/bin/python
	$(BIN)/python tools/update_lists.py $(LISTS)

clean:
	rm -rf $(VENV) .tox demo dist build .coverage .coverage.* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis
