# Every target sets up what it needs. `make` alone prints this list.
.DEFAULT_GOAL := help
.PHONY: help setup lock setup-tests servers demo test test-scripts test-fast check evaluate lab bench card soak fuzz reliability coverage mutation golden picture docs sbom images release audit clean

PY := .venv/bin/python
READY := .venv/.ready
NODE_READY := node_modules/.ready
# A third of a test's time waits for servers and browsers.
WORKERS = --numprocesses $(shell echo $$(($$(nproc) + 2))) --maxprocesses 4
TESTS = $(if $(ROOM),$(or $(wildcard tests/$(ROOM) tests/$(ROOM)_* tests/test_$(ROOM).py),$(error no tests/$(ROOM))))

# Where Python may write no bytecode, each process that a test starts would compile the packages again.
unexport PYTHONDONTWRITEBYTECODE

help: ## Print the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY) ## Make .venv with the pinned dependencies
$(READY): requirements.lock pyproject.toml scripts/setup
	@scripts/setup

lock: $(READY) ## Resolve dependencies into the lock files, with hashes; ARGS="--upgrade-package NAME" renews one
	@scripts/lock $(ARGS)

$(NODE_READY): package-lock.json scripts/setup-node
	@scripts/setup-node

setup-tests: servers $(READY) $(NODE_READY) ## Install Prometheus, Alertmanager, PostgreSQL, node_exporter, Chromium and Node where they are missing
servers:
	@scripts/setup-tests

demo: $(READY) ## Run a simulated platform, the hub and its page, all on loopback
	@.venv/bin/foreshock demo $(ARGS)

test: setup-tests $(if $(ROOM),,test-scripts) ## Run every test; ROOM=store runs those of one folder of tests/
	@$(PY) -m pytest -m "not soak" $(WORKERS) $(TESTS) $(ARGS)

test-scripts: $(NODE_READY)
	@npm test --silent

test-fast: $(READY) ## Run the tests without servers, browsers, and simulations, in about a minute
	@$(PY) -m pytest -m "not soak and not slow" $(WORKERS) $(TESTS) $(ARGS)

check: $(READY) $(NODE_READY) ## Lint, formatting and types
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@npm run check --silent

evaluate: $(READY) ## Score the analysis on simulated platforms; ARGS="--help" lists the options
	@$(PY) -m foreshock_evaluation $(ARGS)

lab: .venv-lab/.ready ## Check the laboratory of real processes in two minutes, as root; ARGS="--help" lists its commands
	@$(PY) -m foreshock_lab $(or $(ARGS),check)
.venv-lab/.ready: $(READY) lab/requirements.lock lab/services/node/package-lock.json scripts/setup-lab
	@scripts/setup-lab

bench: setup-tests ## Write the performance table; SIZE=quick prints a smaller one, CHECK=1 fails if a figure misses its goal
	@$(PY) -m bench $(if $(SIZE),--size $(SIZE),--write-docs) $(if $(CHECK),--check) $(ARGS)

card: setup-tests ## Check and measure the exporter on the NVIDIA GPUs of this host, beside nvitop-exporter and dcgm-exporter
	@$(PY) -m pytest -m gpu -rs tests/gpu
	@$(PY) -m bench.exporter.card $(ARGS)

soak: setup-tests ## Run the long tests, and the property tests on other cases than `make test` has
	@$(PY) -m pytest -m soak $(ARGS)
	@FORESHOCK_TEST_CASES=searching $(PY) -m pytest -m "hypothesis and not soak" $(ARGS)

fuzz: $(READY) ## Search malformed input for each parser; SECONDS=60 each, TARGETS="otlp_json", KEEP=1 grows the corpus
	@$(PY) -m scripts.testing.fuzz --seconds $(or $(SECONDS),60) $(if $(KEEP),--keep) $(TARGETS)

reliability: $(READY) ## Kill the store, cut its power, damage its files and its disk; print the table of the documentation
	@$(PY) -m tests.store.faults.report $(ARGS)

coverage: $(READY) ## Print the branch coverage of the parts of `make mutation` by their tests
	@$(PY) -m scripts.testing.mutation --coverage $(ARGS)

mutation: $(READY) .venv-mutation/.ready ## Print the mutation score of store, WAL recovery, receivers, and authentication
	@$(PY) -m scripts.testing.mutation $(ARGS)
.venv-mutation/.ready: requirements-mutation.lock
	@python3 -m venv .venv-mutation
	@.venv-mutation/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-mutation.lock
	@touch $@

golden: $(READY) ## Rewrite expected outputs
	@$(PY) -m pytest -m "not soak" -k golden --golden $(ARGS)

picture: setup-tests ## Take the documents' pictures of the real pages again
	@$(PY) -m scripts.docs.pictures $(ARGS)

docs: .venv-docs/.ready ## Build the documentation site into build/docs, and check its links
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet
	@echo "build/docs/index.html"
.venv-docs/.ready: requirements-docs.lock
	@python3 -m venv .venv-docs
	@.venv-docs/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-docs.lock
	@touch $@

sbom: $(READY) .venv-audit/.ready ## Write CycloneDX SBOMs of exporter and hub into build/sbom, and check licenses
	@scripts/release/sbom

images: ## Build the images of exporter, hub, and demo with podman into build/images; ARGS go to `podman build`
	@scripts/release/images $(ARGS)

release: $(READY) $(NODE_READY) .venv-audit/.ready ## Build wheel, sdist, chart, SBOMs, and images into dist, signed with the SSH key KEY
	@scripts/release/release "$(KEY)" $(ARGS)

audit: $(READY) .venv-audit/.ready ## Compare the locked versions with known vulnerabilities; OSV=all.zip needs no network
	@scripts/release/audit $(OSV)
.venv-audit/.ready: requirements-audit.lock
	@python3 -m venv .venv-audit
	@.venv-audit/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-audit.lock
	@touch $@

clean: ## Remove what the other targets made
	@rm -rf .venv .venv-audit .venv-docs .venv-lab .venv-mutation node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build
