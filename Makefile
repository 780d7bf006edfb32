# Each target works on a fresh clone: what is missing is installed, or named (scripts/setup).
# CARGO_TARGET_DIR and the other variables of cargo are honoured.

export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

.PHONY: help demo test check fmt fuzz cluster faults soak audit package image docs release conformance accuracy bench screenshots setup

help: ## List these targets
	@awk -F': ## ' '/^[a-z]+: ## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: ## See it work: captured submissions go through the gateway to a sandbox of KaiCalls
	@scripts/demo

test: ## Run everything: format, lints, doc tests, the suite, the example configuration
	@scripts/test

check: ## Run what takes seconds: format, lints, house rules
	@scripts/setup --test
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo test --locked --quiet --test tidy

fmt: ## Format the code
	@scripts/setup --test
	cargo fmt

fuzz: ## Fuzz every parser of foreign bytes, a minute each (longer: scripts/fuzz SECONDS)
	@scripts/fuzz

cluster: ## Run three gateways on one PostgreSQL with a standby, behind a balancer, until Ctrl-C
	@scripts/cluster

faults: ## Prove the promises under kills, full disks, upgrades and hostile senders (shorter: scripts/faults 20)
	@scripts/faults

soak: ## Run load and faults together for ten minutes (longer: scripts/soak SECONDS)
	@scripts/soak

audit: ## Check licences, known holes and doubled versions of the crates, and the oldest Rust
	@scripts/audit

package: ## Build the Debian package, into target/dist (tried as well: scripts/package --test)
	@scripts/package

image: ## Build the container image, into target/dist (tried as well: scripts/image --test)
	@scripts/image

docs: ## Build the documentation as a site, and check its links
	@scripts/docs

release: ## Build and try what is published: package, image, documentation; audit what they are built from
	@scripts/release

screenshots: ## Take a picture of each page of the console, in both themes (docs/screenshots)
	@scripts/setup --test
	@cargo run --locked --quiet --example screenshots

setup: ## Install what building and testing needs, or say what to install
	@scripts/setup --test

conformance: ## Compare with public suites, which FORMGATE_SUITES must name (docs/conformance.md)
	@cargo run --locked --quiet --example conformance

accuracy: ## Measure how often leads are right where no mapping is written (docs/auto.md); FORMGATE_CORPORA names more labelled forms
	@cargo run --locked --quiet --example accuracy

bench: ## Measure the gateway beside its peers, the store and the pure path; writes docs/performance.md
	@scripts/bench
