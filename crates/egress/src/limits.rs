//! How much one sandbox may have of its proxy.

use std::time::Duration;

/// How much one sandbox may have. All of its connections count together, but for the times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; one more is answered 503.
    pub connections_max: usize,
    /// From the start of a connection to the end of its head, and from then to the end of its ClientHello.
    pub head_time: Duration,
    /// To resolve a name, and again to reach one of its addresses.
    pub connect_time: Duration,
    /// How long nothing may pass, either way.
    pub idle_time: Duration,
    /// How long a connection may last.
    pub whole_time: Duration,
    /// Bytes to servers: heads, bodies and what tunnels carry.
    pub bytes_up_max: u64,
    /// Bytes from servers.
    pub bytes_down_max: u64,
    /// Attempts of each verdict that are told one by one; later ones are only counted. So refusals cannot crowd out what passed.
    pub attempts_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 64,
            head_time: Duration::from_secs(10),
            connect_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(120),
            whole_time: Duration::from_secs(3600),
            bytes_up_max: 100 << 20,
            bytes_down_max: 1 << 30,
            attempts_max: 1000,
        }
    }
}
