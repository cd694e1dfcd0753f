# What people run here. `scripts/test` is the whole; the rest are its parts.

default:
    @just --list

# All that CI runs.
ci:
    scripts/test

build:
    cargo build --release --workspace --features fireclay/full --locked

# Format, lints, and what no compiler checks.
lint:
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets --features fireclay/full --locked -- -D warnings
    cargo xtask tidy

test: build
    cargo test --release --workspace --features fireclay/full --locked

# The same programs with and without the guest runners.
guest:
    python3 guest/tests/test_runners.py

soak runs="1000": build
    cargo xtask soak {{runs}}

# A service at twice what it can do, with attacks among the runs.
load seconds="60": build
    cargo xtask load {{seconds}}

# What is fast and what is not: see bench/README.md.
bench *arguments:
    cargo xtask bench {{arguments}}

# A release: slower to build, smaller and a little faster.
dist:
    cargo build --profile dist --features fireclay/full --locked
