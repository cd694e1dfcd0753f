//! How long a delivery is ours, by our own clock: counted from when a renewal was sent, so that it ends here before it ends there.

use crate::LEASE;
use crate::bus::Bus;
use async_nats::Client;
use async_nats::jetstream::Message;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Between renewals.
const RENEW: Duration = Duration::from_millis(LEASE.as_millis() as u64 / 4);
/// A lease ends here by so much before it ends there.
const MARGIN: Duration = Duration::from_secs(1);
/// «Work in progress» (NATS ADR-15).
const PROGRESS: &[u8] = b"+WPI";

/// A lease that is renewed until it is dropped.
pub struct Lease {
    lost: watch::Receiver<bool>,
    renewing: JoinHandle<()>,
}

impl Lease {
    /// The lease of a message that has just come.
    pub fn of(bus: &Bus, message: &Message) -> Self {
        let (sender, lost) = watch::channel(false);
        let (client, reply) = (bus.client.clone(), message.reply.clone());
        let renewing = tokio::spawn(async move {
            if let Some(reply) = reply {
                renew(&client, reply.to_string()).await;
            }
            sender.send_replace(true);
        });
        Self { lost, renewing }
    }

    /// Returns when it may be another's.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        drop(lost.wait_for(|lost| *lost).await);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

/// Renews as long as that works; returns when the lease has ended. The clock goes on while this process is stopped.
async fn renew(client: &Client, reply: String) {
    let mut until = Instant::now() + LEASE - MARGIN;
    loop {
        sleep_until((Instant::now() + RENEW).min(until)).await;
        loop {
            let sent = Instant::now();
            if sent >= until {
                return;
            }
            // An answer says that the consumer's leader has it (nats-server acknowledges acknowledgements that ask for it).
            match timeout_at(until, client.request(reply.clone(), PROGRESS.into())).await {
                Ok(Ok(_)) => {
                    until = sent + LEASE - MARGIN;
                    break;
                }
                Ok(Err(_)) => sleep_until((Instant::now() + MARGIN / 4).min(until)).await,
                Err(_) => return,
            }
        }
    }
}
