//! Saves the files of durable sessions of this node to the bus: when runs and requests changed them, and at an end that leaves the
//! session to others. Of what did not change nothing is read or sent.
//!
//! Small files share chunks, large ones have their own. Each is an entry of a tar archive, so that all of them, one after the other, are
//! what `PUT /v1/sessions/{id}/archive` takes in.

use crate::service::{Service, now_ms};
use crate::sessions::{Keeping, OpenSession};
use cluster::saves::CHUNK;
use cluster::{Bus, Piece, Said, Shelf, Worker};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use worker::session::archive::ENTRIES_MAX;
use worker::session::pack::Packing;
use worker::session::{Entry, Kind, Standing, Why, Workspace};

/// How often it is looked for what changed of which nobody told: by processes beside runs.
const LOOK: Duration = Duration::from_secs(20);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// A file that was changed so shortly before it was looked at may change again in the same tick of the clock (inode(7): times are the
/// kernel's, which has 4 ms and more between two).
const TICK_NS: i128 = 1_000_000_000;

/// Saves for this service, for as long as the process lives.
pub fn keep(service: &Service, bus: Bus, worker: &Arc<Worker>) {
    let (keeping, mut came) = Keeping::new(bus.identity.name.to_string());
    if service.sessions.keeping.set(keeping).is_err() {
        return;
    }
    let (worker, most) = (worker.clone(), service.settings.session.files_bytes);
    tokio::spawn(async move {
        while let Some(open) = came.recv().await {
            let Some(epoch) = open.durable.as_ref().map(|durable| durable.epoch) else { continue };
            let shelf = Shelf::new(bus.clone(), open.session.id().clone(), epoch);
            let most = most.min(open.limits.disk_bytes);
            let saver = Saver { open, shelf, worker: worker.clone(), most, files: HashMap::new() };
            tokio::spawn(saver.work());
        }
    });
}

/// A file as it was saved.
struct Kept {
    entry: Entry,
    /// Of its part of the archive.
    digest: [u8; 32],
    pieces: Vec<Piece>,
    /// Whether it may have changed since without a sign of that.
    in_doubt: bool,
}

struct Saver {
    open: Arc<OpenSession>,
    shelf: Shelf,
    worker: Arc<Worker>,
    /// Bytes of all files.
    most: u64,
    files: HashMap<PathBuf, Kept>,
}

/// A chunk that is being filled, and whose pieces are in it.
#[derive(Default)]
struct Filling {
    bytes: Vec<u8>,
    pieces: Vec<(PathBuf, u32, u32)>,
}

impl Saver {
    async fn work(mut self) {
        let open = self.open.clone();
        let Some(durable) = &open.durable else { return };
        open.session.built().await;
        loop {
            let changes = tokio::select! {
                changes = durable.wants_saving() => changes,
                () = tokio::time::sleep(LOOK) => durable.saving().changes,
                () = open.is_buried() => return,
            };
            let done = self.save().await;
            let failed = done.is_err();
            if let Err(failure) = &done {
                // Of some it is not known whether they are there.
                self.files.clear();
                worker::log::warn(format_args!("{}: save its files: {failure}", open.session.id()));
            }
            durable.has_tried(changes, done);
            if failed {
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = open.is_buried() => return,
                }
            }
        }
    }

    /// Says whether the session is this node's, and not one that others have or that is over.
    fn is_ours(&self) -> Result<(), String> {
        match self.open.session.standing() {
            Standing::Ended(ended) if ended.why != Why::ServiceRestarted => {
                Err("the session is over".to_owned())
            }
            _ if !self.worker.has_sessions() => {
                Err("the cluster did not hear of this node for so long that others may have the session"
                    .to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Saves what changed; returns when it was looked at.
    async fn save(&mut self) -> Result<i64, String> {
        self.is_ours()?;
        let at_ms = now_ms();
        let files = self.open.session.files().map_err(|fault| fault.to_string())?;
        let Some(files) = files else { return Err("the session has no files".to_owned()) };
        let listing = tokio::task::spawn_blocking(move || {
            let (entries, whole) = files.list("", true, ENTRIES_MAX).map_err(|error| error.to_string())?;
            if whole { Ok((files, entries)) } else { Err(format!("more than {ENTRIES_MAX} files")) }
        });
        let (mut files, entries) = listing.await.map_err(|error| error.to_string())??;
        let total = entries.iter().map(|entry| entry.bytes).sum::<u64>();
        if total > self.most {
            return Err(format!("{total} bytes of files; {} are saved", self.most));
        }
        if self.shelf.begin_anew() {
            self.files.clear();
        }
        let mut before = std::mem::take(&mut self.files);
        let mut filling = Filling::default();
        for entry in entries {
            // What has no name in an archive, and links and pipes, which it does not have.
            if entry.path.to_str().is_none() || !matches!(entry.kind, Kind::File | Kind::Directory) {
                continue;
            }
            let kept = before.remove(&entry.path);
            match kept {
                Some(kept) if kept.entry == entry && !kept.in_doubt => {
                    self.files.insert(entry.path, kept);
                }
                kept => files = self.take(files, entry, kept, &mut filling).await?,
            }
        }
        self.flush(&mut filling).await?;
        self.is_ours()?;
        let pieces = self.files.values().map(|kept| kept.pieces.clone()).collect();
        let times = self.open.times();
        let said = Said { at_ms, expires_at_ms: times.expires_at_ms, idle_ttl_ms: times.idle_ttl_ms };
        self.shelf.commit(pieces, said).await.map_err(|error| error.to_string())?;
        Ok(at_ms)
    }

    /// Takes in a file that changed, or may have.
    async fn take(
        &mut self,
        files: Workspace,
        entry: Entry,
        before: Option<Kept>,
        filling: &mut Filling,
    ) -> Result<Workspace, String> {
        let looked_ns = i128::from(now_ms()) * 1_000_000;
        let in_doubt = entry.modified_ns + TICK_NS > looked_ns;
        let (own, wanted) = (files.try_clone().map_err(|error| error.to_string())?, entry.clone());
        let mut packing = Packing::alone(own, wanted);
        let (mut digest, mut own, mut pieces) = (Sha256::new(), Vec::new(), Vec::new());
        loop {
            let packed = tokio::task::spawn_blocking(move || {
                let piece = packing.next_piece();
                piece.map(|piece| (piece, packing))
            });
            let packed = packed.await.map_err(|error| error.to_string())?;
            let piece;
            (piece, packing) = packed.map_err(|error| format!("{}: {error}", entry.path.display()))?;
            let Some(piece) = piece else { break };
            digest.update(&piece);
            own.extend(piece);
            while own.len() >= CHUNK {
                let rest = own.split_off(CHUNK);
                pieces.push(self.put(std::mem::replace(&mut own, rest)).await?);
            }
        }
        let digest: [u8; 32] = digest.finalize().into();
        if let Some(before) = before.filter(|before| before.digest == digest) {
            let kept = Kept { entry, in_doubt, ..before };
            self.files.insert(kept.entry.path.clone(), kept);
            return Ok(files);
        }
        let is_large = !pieces.is_empty();
        let path = entry.path.clone();
        self.files.insert(path.clone(), Kept { entry, digest, pieces, in_doubt });
        if is_large && !own.is_empty() {
            let piece = self.put(own).await?;
            self.files.entry(path).and_modify(|kept| kept.pieces.push(piece));
            return Ok(files);
        }
        if filling.bytes.len() + own.len() > CHUNK {
            self.flush(filling).await?;
        }
        let from = u32::try_from(filling.bytes.len()).map_err(|error| error.to_string())?;
        let bytes = u32::try_from(own.len()).map_err(|error| error.to_string())?;
        filling.bytes.extend(own);
        filling.pieces.push((path, from, bytes));
        Ok(files)
    }

    /// Stores a chunk of small files.
    async fn flush(&mut self, filling: &mut Filling) -> Result<(), String> {
        let Filling { bytes, pieces } = std::mem::take(filling);
        if bytes.is_empty() {
            return Ok(());
        }
        let chunk = self.put(bytes).await?.chunk;
        for (path, from, bytes) in pieces {
            let piece = Piece { chunk, from, bytes };
            self.files.entry(path).and_modify(|kept| kept.pieces.push(piece));
        }
        Ok(())
    }

    async fn put(&mut self, bytes: Vec<u8>) -> Result<Piece, String> {
        self.is_ours()?;
        let length = u32::try_from(bytes.len()).map_err(|error| error.to_string())?;
        let chunk = self.shelf.put(bytes).await.map_err(|error| error.to_string())?;
        Ok(Piece { chunk, from: 0, bytes: length })
    }
}
