# The two commands: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

BUILD := build
VENV := $(BUILD)/venv
BIN := $(abspath $(VENV))/bin
COLLECTION := $(BUILD)/ansible_collections/tenantry/kube
# The newest Python that starts; PYTHON=/path/to/python3 takes another one.
PYTHON ?= $(shell tests/newest-python)
TESTS ?= tests/lab
REPORT ?= lab

export ANSIBLE_CONFIG := $(abspath ansible.cfg)
export PYTHONPATH := $(abspath $(BUILD))

##@ The two commands
.PHONY: demo
demo: deps ## Build the lab, install the platform, stamp out virtual clusters, use one (minutes)
	@tests/demo/run $(BIN)

.PHONY: test
test: deps no-reports ## Everything CI runs: lint, sanity, unit, lab and role tests
	@echo "==> unit tests; lint beside them is shown after them"
	@$(MAKE) --keep-going lint > $(BUILD)/reports/lint.log 2>&1 & lint=$$!; \
	$(MAKE) test-unit && failed=0 || failed=1; \
	wait $$lint || failed=1; cat $(BUILD)/reports/lint.log; exit $$failed
	@echo "==> beside the tests on machines, whose waits leave the processors idle, what needs none (shown at the end)"
	@$(MAKE) --keep-going sanity test-floor > $(BUILD)/reports/others.log 2>&1 & others=$$!; \
	$(MAKE) test-servers > $(BUILD)/reports/servers.log 2>&1 & servers=$$!; \
	$(MAKE) --keep-going test-machines molecule && failed=0 || failed=1; \
	wait $$others || failed=1; wait $$servers || failed=1; \
	cat $(BUILD)/reports/others.log $(BUILD)/reports/servers.log; exit $$failed
	@$(BIN)/python tests/counts.py $(BUILD)/reports

.PHONY: no-reports
no-reports:
	@rm -rf $(BUILD)/reports && mkdir -p $(BUILD)/reports

.PHONY: nightly
nightly: export TENANTRY_NIGHTLY := 1
nightly: test conformance ## The same code with bigger numbers, and the tests that take minutes each (about two hours)

##@ Parts of the tests
.PHONY: lint
lint: venv ## ruff, vulture, import-linter, mypy, yamllint, ansible-lint (production profile), antsibull-docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	tests/static/run $(BIN)
	$(BIN)/yamllint --strict .
	$(BIN)/ansible-lint --offline --strict --profile production
	PATH=$(BIN):$$PATH antsibull-docs lint-collection-docs --plugin-docs .

.PHONY: sanity
sanity: venv ## ansible-test sanity, every target
	tests/sanity/run $(VENV)

.PHONY: test-unit
test-unit: venv ## Unit tests, and how much of the code they run: no root, no lab, under a minute
	$(BIN)/python -m $(MEASURED) pytest -q tests/unit --junit-xml=$(BUILD)/reports/unit.xml
	$(if $(MEASURED),@echo "the unit tests run $$($(BIN)/coverage report --format=total)% of the code (make coverage: by file)")

# Before Python 3.12, coverage nearly doubles the time.
MEASURED = $(shell $(BIN)/python -c 'import sys; print("coverage run -m" if sys.version_info >= (3, 12) else "")')

.PHONY: coverage
coverage: venv ## The same, by file (nearly twice the time before Python 3.12)
	$(BIN)/coverage run -m pytest -q tests/unit
	$(BIN)/coverage report --skip-covered --sort=cover

.PHONY: test-floor
test-floor: $(BUILD)/venv-floor/.stamp ## Unit tests with the oldest Python and packages that are supported
	$(BUILD)/venv-floor/bin/pytest -q tests/unit --junit-xml=$(BUILD)/reports/unit-floor.xml

$(BUILD)/venv-floor/.stamp: requirements-floor.txt syncer/requirements.txt
	$$(tests/newest-python 11 12) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement requirements-floor.txt
	@touch $@

.PHONY: test-lab
test-lab: deps ## Behaviour against the lab's real clusters (TESTS=tests/lab/test_x.py for one file)
	tests/lab/lab build
	$(BIN)/pytest $(TESTS) --durations=15 --junit-xml=$(BUILD)/reports/$(REPORT).xml

.PHONY: test-machines test-servers test-security
test-machines: ## The lab tests that need its machines
	@$(MAKE) test-lab TESTS="tests/lab -m machines" REPORT=lab-machines

test-servers: ## The lab tests with API servers of one process, which mostly wait: two files at a time
	@$(MAKE) test-lab TESTS="tests/lab -m 'not machines' --numprocesses 2 --dist loadfile" REPORT=lab-servers

test-security: ## Those of them that attack
	@$(MAKE) test-lab TESTS="tests/lab/security -m 'not machines'" REPORT=lab-security

.PHONY: molecule
molecule: deps ## The roles on throw-away systemd hosts of the lab
	tests/lab/lab build
	$(BIN)/pytest -q tests/molecule --junit-xml=$(BUILD)/reports/molecule.xml

.PHONY: conformance
conformance: deps ## Kubernetes' conformance tests inside a virtual cluster of each mode (docs/conformance.md)
	tests/lab/lab build
	$(BIN)/python -m tests.conformance

.PHONY: bench
bench: deps ## Measure: time to ready, idle memory, no-op of site.yml
	$(BIN)/python -m tests.bench

##@ Lab and demo
.PHONY: lab-up
lab-up: deps ## Bring the lab's machines up without the demo
	tests/lab/lab build
	tests/lab/lab up

.PHONY: demo-down
demo-down: ## Remove the demo and the lab's machines (the build cache stays)
	tests/lab/lab down
	rm -rf $(BUILD)/demo

##@ Development
.PHONY: deps
deps: ## Install what is missing: Debian packages for the lab, the virtual environment
	@tests/lab/lab deps
	@$(MAKE) venv

.PHONY: venv
venv: $(VENV)/.stamp $(COLLECTION) ## The virtual environment with the pinned tools

$(VENV)/.stamp: requirements.txt requirements.lock requirements-dev.txt syncer/requirements.txt
	@echo "==> virtual environment with $$($(PYTHON) --version)"
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt --requirement requirements-dev.txt
	@touch $@

$(COLLECTION):
	@mkdir -p $(@D) && ln -sfn ../../.. $@

.PHONY: format
format: venv ## Format the Python code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: sbom
sbom: $(BUILD)/venv-sbom/.stamp ## Bills of materials (CycloneDX) of the collection and of the image of the syncer, without its base image
	@mkdir -p $(BUILD)/sbom
	@version=$$(sed -n 's/^version: //p' galaxy.yml); for name in tenantry.kube tenantry.syncer; do \
	  printf '[project]\nname = "%s"\nversion = "%s"\n' $$name $$version >$(BUILD)/sbom/$$name.toml; done
	$(<D)/bin/cyclonedx-py requirements --output-reproducible --mc-type library \
	  --pyproject $(BUILD)/sbom/tenantry.kube.toml --output-file $(BUILD)/sbom/collection.cdx.json requirements.lock
	$(<D)/bin/cyclonedx-py requirements --output-reproducible --mc-type application \
	  --pyproject $(BUILD)/sbom/tenantry.syncer.toml --output-file $(BUILD)/sbom/syncer.cdx.json syncer/requirements.lock

$(BUILD)/venv-sbom/.stamp:
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet cyclonedx-bom==7.5.0
	@touch $@

# antsibull-docs writes only into a directory that nobody else can write to.
SITE := $(BUILD)/docs/source
.PHONY: docs
docs: $(BUILD)/venv-docs/.stamp $(COLLECTION) ## The documentation as a site: build/docs/site/index.html
	@rm -rf $(BUILD)/docs && mkdir -p $(SITE)/syncer $(SITE)/tests/lab && mkdir --mode 755 $(SITE)/reference
	@cp README.md $(SITE)/index.md && cp README.md $(SITE)/get-started.md
	@cp -r CONTRIBUTING.md SECURITY.md docs $(SITE)
	@cp syncer/README.md $(SITE)/syncer && cp tests/lab/README.md $(SITE)/tests/lab
	PATH=$(abspath $(<D))/bin:$$PATH ANSIBLE_COLLECTIONS_PATH=$(abspath $(BUILD)) antsibull-docs collection --use-current \
	  --squash-hierarchy --fail-on-error --no-add-antsibull-docs-version --dest-dir $(SITE)/reference tenantry.kube
	$(<D)/bin/sphinx-build --quiet --fail-on-warning -b html -c docs/site -d $(BUILD)/docs/doctrees $(SITE) $(BUILD)/docs/site

$(BUILD)/venv-docs/.stamp: docs/site/requirements.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement $<
	@touch $@

.PHONY: dist
dist: venv ## The collection as the tarball that is published
	$(BIN)/ansible-galaxy collection build --force --output-path $(BUILD)/dist

.PHONY: changelog
changelog: venv $(COLLECTION) ## The changelog that the next release will have: build/changelog/CHANGELOG.rst
	$(BIN)/antsibull-changelog lint
	@rm -rf $(BUILD)/changelog && mkdir -p $(BUILD)/changelog/ansible_collections/tenantry/kube
	@cp -r galaxy.yml README.md changelogs meta plugins roles $(BUILD)/changelog/ansible_collections/tenantry/kube
	@cd $(BUILD)/changelog/ansible_collections/tenantry/kube && PATH=$(BIN):$$PATH antsibull-changelog release --version 999.0.0
	@cp $(BUILD)/changelog/ansible_collections/tenantry/kube/CHANGELOG.rst $(BUILD)/changelog

DATE ?= $(shell date +%F)
.PHONY: release
release: venv $(COLLECTION) ## VERSION=1.2.3 [DATE=2026-01-31]: changelog, version, tarball, commit and tag; pushes nothing
	@.ci/release $(BIN) "$(VERSION)" "$(DATE)"

.PHONY: clean
clean: ## Remove the lab, every cache and everything built
	@! test -d $(BUILD)/lab || tests/lab/lab down
	rm -rf $(BUILD)

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
