//! Nothing but fuzz targets, in `targets.rs`. `cargo test -p fireclay-fuzz` tries each on random inputs for a moment;
//! `cargo bolero test -p fireclay-fuzz TARGET` (cargo-bolero, libFuzzer) for as long as one likes.
