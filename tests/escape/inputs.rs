//! Hostile requests: what is refused before anything runs, and what is taken as the data it is.
