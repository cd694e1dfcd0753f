//! The proxy over real sockets: attacks on it, each beside what must work, and the clients that people use.

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod world;
