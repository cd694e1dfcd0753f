//! Many nodes on a real NATS: what goes there and comes back, what is lost when nodes die (nothing), and who may do what on the bus.

mod chaos;
mod durable;
mod fairness;
mod figures;
mod lab;
mod layers;
mod runs;
mod sessions;
mod tls;
mod trust;
