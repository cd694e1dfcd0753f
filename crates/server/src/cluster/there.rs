//! A run that another node does: what this one hears of it.

use super::Withdrawal;
use cluster::{Away, News, Took};
use model::{Outcome, RunId, RunResult};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use worker::machine::{Event, Machine, Order};
use worker::phases::{Before, Measured};
use worker::pool::Stream;

/// A run that other nodes have.
#[derive(Debug)]
pub struct There {
    pub(super) away: Away,
    pub(super) order: Box<Order>,
    pub(super) machine: Machine,
    /// What comes after what was told last.
    pub(super) next: Option<Event>,
    pub(super) _counted: Counted,
}

/// A run of a tenant on its way, as long as this is there.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// Counts it.
    pub(super) fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What another node measured of a run.
fn measured_there(took: Took) -> Measured {
    let Took { install, compile, lease, fork, guest, collect } = took;
    let before = Some(Before { install, compile });
    Measured { before, lease, fork, guest, collect, ..Measured::default() }
}

impl There {
    /// Waits for the next event; `None` after the last.
    pub async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.next.take() {
            return Some(event);
        }
        Some(match self.away.next().await? {
            News::Started => Event::Started,
            News::Output { stderr, bytes } => {
                Event::Output(if stderr { Stream::Stderr } else { Stream::Stdout }, bytes)
            }
            News::Egress(attempt) => Event::Egress(attempt),
            News::Fault(fault) => Event::Settled(Box::new(self.machine.result_of_fault(&self.order, fault))),
            News::Cancelled => Event::Settled(Box::new(self.cancelled())),
            News::Settled(result, took, files) => {
                self.next = Some(Event::Settled(Box::new(self.arrived(*result, files).await)));
                Event::Measured(measured_there(took))
            }
        })
    }

    fn cancelled(&self) -> RunResult {
        let mut result = self.machine.denied((*self.order).clone(), Vec::new());
        result.outcome = Some(Outcome::Cancelled);
        result.digests.outputs = worker::run::outputs_digest(&result);
        result
    }

    /// Puts the files of a result where those of this machine's runs lie.
    async fn arrived(&self, result: RunResult, files: Vec<Vec<u8>>) -> RunResult {
        if files.is_empty() {
            return result;
        }
        let directory = arrived_of(&self.machine, &self.order.id);
        let write = async {
            tokio::fs::create_dir_all(&directory).await?;
            for (index, content) in files.into_iter().enumerate() {
                tokio::fs::write(directory.join(index.to_string()), content).await?;
            }
            std::io::Result::Ok(())
        };
        match write.await {
            Ok(()) => result,
            Err(error) => {
                let fault = model::Fault::new(
                    model::FaultCode::ResourcesExhausted,
                    format!("keep artifacts: {error}"),
                );
                self.machine.result_of_fault(&self.order, fault)
            }
        }
    }

    /// What takes it back.
    pub fn canceller(&self) -> Withdrawal {
        self.away.canceller()
    }

    /// Says that its end is in the store.
    pub async fn recorded(&self) {
        self.away.recorded().await;
    }
}

/// Where artifacts lie that came from another node: this machine may run the same run, too.
pub fn arrived_of(machine: &Machine, id: &RunId) -> PathBuf {
    machine.artifacts_of(id).with_extension("arrived")
}
