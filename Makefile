# Every target does its own set-up (scripts/servers.sh, scripts/tools.sh); Rust is all it asks for.
MAKEFLAGS += --no-print-directory
.PHONY: help demo test test-all sim lint memory trial bench-merge bench-expr bench-mapped bench-parked bench-seed

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

demo: ## two databases kept in step, until Ctrl-C (ARGS="--once --json": unattended)
	@scripts/demo.sh $(ARGS)

test: ## all tests, on real servers (ARGS="-E 'test(name)'": some of them)
	@scripts/test.sh $(ARGS)

test-all: ## all of that, every pair of servers in every mode, and docs/pairs.md (ARGS=--matrix-only: just the pairs)
	@scripts/matrix.sh $(ARGS)

sim: ## random schedules of merging nodes, and of wrong ones (SEED=n: one with its trace; VARIANT=name: of a wrong one)
	@scripts/sim.sh

lint: ## formatting, clippy, dependencies
	@scripts/lint.sh

bench-merge: ## what merge costs beside transactional mode, time and CPU (ROWS=2000 ROUNDS=1: shorter)
	@scripts/bench-merge.sh

bench-expr: ## what a row filter and a computed value cost for a row (ROUNDS=100000: shorter)
	@cargo bench --bench expr

bench-mapped: ## what names, words and a filter cost the stream from MySQL to PostgreSQL (CHANGES=5000 ROUNDS=1: shorter)
	@scripts/bench-mapped.sh

bench-parked: ## how fast the rest flows while rows wait for a person (ROWS=500 ROUNDS=1: shorter)
	@scripts/bench-parked.sh

bench-seed: ## how long the first copy takes, beside native copy, pgloader and mysqldump (ROWS=100000 ROUNDS=1: shorter)
	@scripts/bench-seed.sh

memory: ## resident memory and CPU under large, many and no changes (SIZE_MB=100 ROWS=100000 make memory: shorter)
	@scripts/memory.sh

trial: ## first copies of millions of rows, and of 500 tables, under load and kills (ROWS=20000 make trial: shorter; ARGS=name: one)
	@scripts/trial.sh $(ARGS)
