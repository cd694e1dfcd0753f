//! Bytes that pass: counted, held to their sums, and never waited for without end.

use crate::attempt::{Ledger, Way};
use crate::refusal::Refusal;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// What passes on one connection, both ways.
pub(crate) struct Flow<'a> {
    ledger: &'a Ledger,
    idle_time: Duration,
    last: Mutex<Instant>,
    passed: [AtomicU64; 2],
}

impl<'a> Flow<'a> {
    pub(crate) fn new(ledger: &'a Ledger, idle_time: Duration) -> Self {
        Self { ledger, idle_time, last: Mutex::new(Instant::now()), passed: Default::default() }
    }

    /// How many bytes went this way.
    pub(crate) fn passed(&self, way: Way) -> u64 {
        self.passed[way as usize].load(Ordering::Relaxed)
    }

    /// How many bytes may still go this way, by the sum of the sandbox.
    pub(crate) fn left(&self, way: Way) -> u64 {
        self.ledger.left(way)
    }

    /// Waits, as long as something passes in either direction now and then.
    pub(crate) async fn wait<T>(&self, work: impl Future<Output = io::Result<T>>) -> Result<T, Refusal> {
        let mut work = pin!(work);
        loop {
            let until = self.last() + self.idle_time;
            match timeout_at(until, work.as_mut()).await {
                Ok(done) => {
                    self.touch();
                    return done.map_err(Refusal::Broken);
                }
                Err(_) if self.last() + self.idle_time > Instant::now() => {}
                Err(_) => return Err(Refusal::Idle(self.idle_time.as_secs())),
            }
        }
    }

    /// Writes as many of these bytes as the sum still has; an error if it has not all of them.
    pub(crate) async fn send(
        &self,
        to: &mut (impl AsyncWrite + Unpin),
        way: Way,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.ledger.take(way, rest.len())?);
            self.wait(to.write_all(now)).await?;
            self.passed[way as usize].fetch_add(now.len() as u64, Ordering::Relaxed);
            rest = later;
        }
        Ok(())
    }

    /// Passes bytes on until there are no more, and says so to the other side.
    pub(crate) async fn pass(
        &self,
        from: &mut (impl AsyncBufRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        way: Way,
    ) -> Result<(), Refusal> {
        while self.pass_some(from, to, way, usize::MAX).await? > 0 {}
        self.wait(to.shutdown()).await
    }

    /// Passes at most `most` bytes on, and returns how many; 0 at the end.
    pub(crate) async fn pass_some(
        &self,
        from: &mut (impl AsyncBufRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        way: Way,
        most: usize,
    ) -> Result<usize, Refusal> {
        let bytes = self.wait(from.fill_buf()).await?;
        let count = bytes.len().min(most);
        self.send(to, way, &bytes[..count]).await?;
        from.consume(count);
        Ok(count)
    }

    fn last(&self) -> Instant {
        *self.last.lock().expect("no holder of this lock can panic")
    }

    fn touch(&self) {
        *self.last.lock().expect("no holder of this lock can panic") = Instant::now();
    }
}

/// Runs both until `down` ends, and `up` too if it is wanted, or one of them is refused. If it is not wanted, a server that takes no more
/// ends only `up`: its answer may still come.
pub(crate) async fn together(
    up: impl Future<Output = Result<(), Refusal>>,
    down: impl Future<Output = Result<(), Refusal>>,
    wants_up: bool,
) -> Result<(), Refusal> {
    let (mut up, mut down) = (pin!(up), pin!(down));
    let (mut up_done, mut down_done) = (false, false);
    poll_fn(|ctx| {
        if !up_done && let Poll::Ready(end) = up.as_mut().poll(ctx) {
            up_done = true;
            let survived = !wants_up && matches!(end, Err(Refusal::Broken(_)));
            if end.is_err() && !survived {
                return Poll::Ready(end);
            }
        }
        if !down_done && let Poll::Ready(end) = down.as_mut().poll(ctx) {
            down_done = true;
            if end.is_err() {
                return Poll::Ready(end);
            }
        }
        if down_done && (up_done || !wants_up) { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}
