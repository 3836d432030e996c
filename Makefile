.DEFAULT_GOAL := help
.PHONY: help setup setup-run setup-test setup-release demo test test-long lint format bench papers
.PHONY: rooms release sbom audit-deps lock clean

help: ## print these verbs
	@sed -n 's/^\([a-z-]*\):.* ## /\1 \t/p' Makefile | expand -t 12

setup: setup-test ## make .venv and everything that the tests need

setup-run: ## make .venv with what brokerctl itself needs
	@scripts/setup.sh run

setup-test:
	@scripts/setup.sh test

setup-release:
	@scripts/setup.sh release

demo: setup-run ## watch the whole story on an embedded issuer
	@.venv/bin/brokerctl demo

test: setup-test ## lint, then every test but the long ones (T="-k word" to choose)
	@scripts/test.sh $(T)

test-long: setup-test ## the long tests alone; FUZZ_MINUTES=10 of odd inputs are among them
	@scripts/test.sh -m long $(T)

lint: setup-test ## ruff, mypy, import-linter
	@scripts/lint.sh

format: setup-test ## let ruff rewrite what it can
	@.venv/bin/ruff check --fix-only --quiet . && .venv/bin/ruff format --quiet .

bench: setup-run ## the budget, as ratios to a bare Python start
	@scripts/bench.sh

papers: setup-test ## write man pages, completions, docs/commands.md, sessions and pictures anew
	@.venv/bin/python scripts/papers.py
	@.venv/bin/python scripts/sessions.py
	@.venv/bin/python scripts/picture.py
	@.venv/bin/python scripts/rooms.py --picture --write

rooms: setup-test ## how the code is cut: files, imports, circles, rooms (A="--against REF")
	@.venv/bin/python scripts/rooms.py $(A)

release: setup-release ## dist/: sdist, wheel, SBOM, release notes, SHA256SUMS; the same bytes each time
	@scripts/release.sh

sbom: setup-release ## dist/sbom.cdx.json alone: what requirements/run.txt pins, as CycloneDX
	@scripts/sbom.sh dist/sbom.cdx.json

audit-deps: setup-release ## ask a vulnerability database about every pin; needs that database's network
	@scripts/audit_deps.sh

lock: setup-test ## resolve the dependencies anew into requirements/*.txt
	@scripts/lock.sh

clean: ## remove all that make made
	@rm -rf .venv .setup.lock dist build .hypothesis .*_cache tests/*/*/node_modules
