//! What every test of the built engine needs: the binary, one image, one way to run something and see what came of it.

pub mod order;
pub mod run;

pub use order::Order;
pub use run::{Ran, drive, fireclay, image};
