//! What happens when we fail: every step of the plan in turn, init, the supervisor, the disk. The answer is always right, and
//! nothing is ever left.

mod deaths;
mod steps;
