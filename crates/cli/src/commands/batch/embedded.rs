//! The same service in this process, without a listener: for a data directory that nobody serves.

use crate::commands::serve::{self, Started};
use crate::env::{self, Settings as Surroundings};
use anyhow::Context;
use axum::body::{Body, Bytes};
use axum::http::Request;
use futures_util::stream;
use http_body_util::BodyExt as _;
use server::settings::Settings;
use std::io::{self, BufRead, BufReader, Read};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

/// Bytes of lines that are handed over at once, and how often before the service has taken them.
const PIECE_BYTES: usize = 64 << 10;
const PIECES_MAX: usize = 4;

/// A service of our own.
pub struct Embedded {
    started: Started,
}

impl Embedded {
    /// Starts it, with the settings of the environment.
    pub fn start(surroundings: &Surroundings) -> anyhow::Result<Self> {
        // What a batch needs warm, its first run of it says.
        let flags = [("pool.warm".to_owned(), "[]".to_owned())];
        let settings = || Ok(Settings::resolve(None, &env::of_the_service(), &flags)?);
        Ok(Self { started: serve::start(settings, surroundings, false)? })
    }

    /// Sends lines and returns the lines that are answered, as they come. The service ends with them.
    pub fn lines(
        self,
        path: &str,
        mut lines: impl Read + Send + 'static,
    ) -> anyhow::Result<Box<dyn BufRead>> {
        let (sender, receiver) = mpsc::channel(PIECES_MAX);
        std::thread::spawn(move || {
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let read = lines.read(&mut piece).map(|count| Bytes::copy_from_slice(&piece[..count]));
                let last = !read.as_ref().is_ok_and(|bytes| !bytes.is_empty());
                // The service wants no more: it says why in its answer.
                if sender.blocking_send(read).is_err() || last {
                    return;
                }
            }
        });
        let pieces = stream::unfold(receiver, |mut receiver: mpsc::Receiver<io::Result<Bytes>>| async move {
            let piece = receiver.recv().await?;
            // An empty piece is the end; for HTTP it would be, too.
            if piece.as_ref().is_ok_and(Bytes::is_empty) { None } else { Some((piece, receiver)) }
        });
        let request = Request::post(path)
            .header("content-type", "application/x-ndjson")
            .body(Body::from_stream(pieces))
            .context("make a request")?;
        let router = server::http::local_router(self.started.service.clone());
        let answer = self.started.runtime.block_on(router.oneshot(request))?;
        let (status, body) = (answer.status(), answer.into_body());
        if !status.is_success() {
            let text = self.started.runtime.block_on(body.collect())?.to_bytes();
            anyhow::bail!("the batch was refused: {}", String::from_utf8_lossy(&text));
        }
        let started = self.started;
        Ok(Box::new(BufReader::new(Answers { started, body, rest: Bytes::new() })))
    }
}

/// The body of an answer as one who reads wants it.
struct Answers {
    started: Started,
    body: Body,
    rest: Bytes,
}

impl Read for Answers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.started.runtime.block_on(self.body.frame()) {
                None => return Ok(0),
                Some(Err(error)) => return Err(io::Error::other(error)),
                // Trailers say nothing that we read.
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
            }
        }
        let count = (&self.rest[..]).read(buffer)?;
        drop(self.rest.split_to(count));
        Ok(count)
    }
}
