//! When a run is sent: at its tenant's turn, so that no tenant has more on its way than it may, and none fills the queue before others.
//!
//! What waits for its turn waits here, in its gateway's memory and store; the stream has little more than workers have room for. A tenant's
//! part is its share of all places, among the tenants that want any, or its ceiling if that is less. Most of that part are *slots*: the first
//! message of `fc.slot.TENANT.N` is the only one, so N gateways cannot together send more than there are. The rest, for tenants without a
//! ceiling, each gateway may send without asking: a cluster with little to do stores nothing more for a run.
//!
//! A slot is given back when its run has ended. One of a run that is in no queue, whose gateway died, is removed by whoever waits for it.

use super::share::{Part, level, part};
use super::{Gateway, News, Sent};
use crate::bus::{ClusterError, Stored, failed};
use crate::names::{self, Name, RUNS, SLOTS};
use crate::nodes::{Node, NodeState};
use crate::now_ms;
use async_nats::HeaderMap;
use futures_util::{StreamExt as _, TryStreamExt as _};
use model::TenantId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Between two looks for a slot, if nobody says that one is free.
const LOOK: Duration = Duration::from_secs(1);
/// How often a gateway counts places and tells others what it has, while something waits.
const COUNT: Duration = Duration::from_millis(500);
/// So often it counts places while nothing waits.
const COUNT_IDLE: Duration = Duration::from_secs(2);
/// So often it tells them although nothing changed.
const TELL: Duration = Duration::from_secs(2);
/// What another gateway told counts for so long.
const HEARD: Duration = Duration::from_secs(6);
/// A slot this old whose run is nowhere is nobody's.
const STALE_MS: i128 = 30_000;
/// A run that could not be stored for so long looks whether its slot is still its own: well before another takes that for stale.
const DOUBT: Duration = Duration::from_secs(15);

/// What a tenant's run may be sent by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Without asking.
    Free,
    /// By a slot: its number, its place in the stream, when it was taken or looked at.
    Slot(usize, u64, Instant),
}

/// Runs of one tenant.
#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Arc<Sent>>,
    /// On their way without a slot.
    free: usize,
    /// Sent, with a slot or without, and not ended; and those that wait.
    unsettled: usize,
    /// The most that it may have at once, if somebody said that.
    ceiling: Option<usize>,
    is_fed: bool,
    wake: Arc<Notify>,
    /// A slot that was given back here.
    hint: Option<usize>,
}

impl Line {
    /// Runs that are not settled, and how many places those want.
    fn load(&self) -> Load {
        Load { unsettled: self.unsettled, wants: self.unsettled.min(self.ceiling.unwrap_or(usize::MAX)) }
    }
}

/// What a gateway has to do for a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Load {
    unsettled: usize,
    wants: usize,
}

/// What another gateway has to do.
#[derive(Debug)]
struct Told {
    tenants: BTreeMap<TenantId, Load>,
    at: Instant,
}

/// The lines of all tenants.
#[derive(Debug, Default)]
pub(super) struct Turns {
    lines: Mutex<BTreeMap<TenantId, Line>>,
    others: Mutex<HashMap<Name, Told>>,
    places: AtomicUsize,
    gateways: AtomicUsize,
}

impl Turns {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<TenantId, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn others(&self) -> MutexGuard<'_, HashMap<Name, Told>> {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.retain(|_, told| told.at.elapsed() < HEARD);
        others
    }

    /// The part of a tenant now.
    fn part_of(&self, ceiling: Option<usize>) -> Part {
        let lines = self.lines();
        let mut wants: BTreeMap<TenantId, usize> =
            lines.iter().map(|(tenant, line)| (tenant.clone(), line.load().wants)).collect();
        drop(lines);
        for told in self.others().values() {
            for (tenant, load) in &told.tenants {
                let all = wants.entry(tenant.clone()).or_default();
                *all = all.saturating_add(load.wants);
            }
        }
        let (places, gateways) = (self.places.load(Ordering::Relaxed), self.gateways.load(Ordering::Relaxed));
        // A quarter more than there is room for, so that a worker need not wait for a gateway. Of few places that is none.
        part(ceiling, level(places + places / 4, wants.into_values()), gateways)
    }

    /// The first in line, which stays there; `None` ends who feeds it.
    fn first(&self, tenant: &TenantId) -> Option<(Arc<Sent>, Arc<Notify>)> {
        let mut lines = self.lines();
        let line = lines.get_mut(tenant)?;
        let first = line.waiting.front().map(|run| (run.clone(), line.wake.clone()));
        line.is_fed = first.is_some();
        if first.is_none() && line.unsettled == 0 {
            lines.remove(tenant);
        }
        first
    }

    /// Takes a run out of its line; whether it was there.
    fn leave(&self, run: &Arc<Sent>) -> bool {
        let mut lines = self.lines();
        let Some(line) = lines.get_mut(&run.outgoing.tenant) else { return false };
        let at = line.waiting.iter().position(|other| Arc::ptr_eq(other, run));
        at.and_then(|at| line.waiting.remove(at)).is_some()
    }

    fn wake(&self, tenant: &TenantId) {
        if let Some(line) = self.lines().get(tenant) {
            line.wake.notify_one();
        }
    }

    fn wake_all(&self) {
        self.lines().values().for_each(|line| line.wake.notify_one());
    }
}

impl Gateway {
    /// How many runs wait here for their turn.
    pub fn held(&self) -> usize {
        self.turns.lines().values().map(|line| line.waiting.len()).sum()
    }

    /// How long the run waits that waits here for longest.
    pub(super) fn longest_held(&self) -> Duration {
        let lines = self.turns.lines();
        let waiting = lines.values().flat_map(|line| &line.waiting);
        waiting.map(|run| run.known().heard.elapsed()).max().unwrap_or_default()
    }

    /// How many runs of a tenant other gateways have that are not settled, as they told lately; of all tenants if none is named.
    pub fn elsewhere(&self, tenant: Option<&TenantId>) -> usize {
        let counted = |told: &Told| match tenant {
            Some(tenant) => told.tenants.get(tenant).map_or(0, |load| load.unsettled),
            None => told.tenants.values().map(|load| load.unsettled).sum(),
        };
        self.turns.others().values().map(counted).sum()
    }

    /// Places of all workers that take runs, as they told lately.
    pub fn places(&self) -> usize {
        self.turns.places.load(Ordering::Relaxed)
    }

    /// Counts a run that is to be sent.
    pub(super) fn enters(&self, run: &Sent) {
        let mut lines = self.turns.lines();
        let line = lines.entry(run.outgoing.tenant.clone()).or_default();
        line.unsettled += 1;
        line.ceiling = run.outgoing.ceiling;
    }

    /// Has a run sent at its turn: after those of its tenant of the same priority.
    pub(super) fn line_up(self: &Arc<Self>, run: Arc<Sent>) {
        let tenant = run.outgoing.tenant.clone();
        let mut lines = self.turns.lines();
        let line = lines.entry(tenant.clone()).or_default();
        let priority = run.outgoing.priority;
        let before = line.waiting.iter().rposition(|other| other.outgoing.priority >= priority);
        line.waiting.insert(before.map_or(0, |at| at + 1), run);
        if !std::mem::replace(&mut line.is_fed, true) {
            tokio::spawn(self.clone().feed(tenant));
        }
    }

    /// Takes a run out of its line and ends it; whether it was there.
    pub(super) async fn leaves(self: &Arc<Self>, run: &Arc<Sent>) -> bool {
        let was_there = self.turns.leave(run);
        if was_there {
            self.turns.wake(&run.outgoing.tenant);
            self.end(run, None, News::Cancelled).await;
        }
        was_there
    }

    /// Sends the runs of a tenant, each at its turn, until none waits.
    async fn feed(self: Arc<Self>, tenant: TenantId) {
        let mut looked = Instant::now();
        while let Some((run, wake)) = self.turns.first(&tenant) {
            if run.is_ended() {
                self.turns.leave(&run);
                continue;
            }
            match self.turn(&run).await {
                Ok(Some(turn)) => {
                    *run.turn.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn);
                    if self.turns.leave(&run) && !run.is_ended() {
                        let gateway = self.clone();
                        tokio::spawn(async move { gateway.dispatch(&run).await });
                    } else {
                        // It was taken back meanwhile.
                        self.give_back(&run);
                    }
                    continue;
                }
                Ok(None) if looked.elapsed() > 5 * LOOK => {
                    looked = Instant::now();
                    if let Err(error) = self.sweep_slots(&tenant).await {
                        crate::log::warn(&error);
                    }
                }
                Ok(None) => {}
                Err(error) => crate::log::warn(&error),
            }
            tokio::select! {
                () = wake.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// What a run may be sent by now; `None` if its tenant has its part.
    async fn turn(&self, run: &Sent) -> Result<Option<Turn>, ClusterError> {
        let tenant = &run.outgoing.tenant;
        let before = *run.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if before.is_some() {
            // It is sent again, and has what it was sent by.
            return Ok(before);
        }
        let part = self.turns.part_of(run.outgoing.ceiling);
        let hint = {
            let mut lines = self.turns.lines();
            let line = lines.entry(tenant.clone()).or_default();
            if line.free < part.free {
                line.free += 1;
                return Ok(Some(Turn::Free));
            }
            line.hint.take().filter(|hint| *hint < part.slots)
        };
        if let Some(hint) = hint
            && let Some(turn) = self.claim(run, hint).await?
        {
            return Ok(Some(turn));
        }
        let taken = self.slots(tenant).await?;
        let taken: BTreeSet<usize> = taken.iter().filter_map(|slot| names::part(slot, 3)).collect();
        if taken.len() >= part.slots {
            return Ok(None);
        }
        for slot in (0..part.slots).filter(|slot| !taken.contains(slot)) {
            if let Some(turn) = self.claim(run, slot).await? {
                return Ok(Some(turn));
            }
        }
        Ok(None)
    }

    async fn claim(&self, run: &Sent, slot: usize) -> Result<Option<Turn>, ClusterError> {
        let subject = names::slot(&run.outgoing.tenant, slot);
        let id = format!("{subject}.{}", run.outgoing.run);
        let stored = self.bus.store(subject.clone(), &id, HeaderMap::new(), run.subject.clone().into()).await;
        if stored.is_err()
            && let Some(line) = self.turns.lines().get_mut(&run.outgoing.tenant)
        {
            // It may be taken, and its answer lost: the same is asked for again, and is no second one.
            line.hint = Some(slot);
        }
        let asked = Instant::now();
        match stored? {
            Stored::Yes { before: false, place } => Ok(Some(Turn::Slot(slot, place, asked))),
            // By this run, then or now: it may have been given back since.
            Stored::Yes { before: true, .. } => {
                let own = self.slot_of(&subject).await?.filter(|(.., of)| *of == run.subject);
                Ok(own.map(|(place, ..)| Turn::Slot(slot, place, asked)))
            }
            Stored::Taken => Ok(None),
        }
    }

    /// The subjects of slots of a tenant that are taken.
    async fn slots(&self, tenant: &TenantId) -> Result<Vec<String>, ClusterError> {
        let doing = format!("ask for slots of {tenant}");
        let stream = self.bus.js.get_stream_no_info(SLOTS).await.map_err(failed(&doing))?;
        let subjects = stream.info_with_subjects(names::slots(tenant)).await.map_err(failed(&doing))?;
        subjects.map_ok(|(subject, _)| subject).try_collect().await.map_err(failed(&doing))
    }

    /// A slot's place in the stream, when it was taken, milliseconds since 1970, and the subject of the run that has it.
    async fn slot_of(&self, subject: &str) -> Result<Option<(u64, i128, String)>, ClusterError> {
        let found = self.bus.last_of_leader(SLOTS, subject).await?;
        Ok(found.map(|message| {
            let since_ms = message.time.unix_timestamp_nanos() / 1_000_000;
            (message.sequence, since_ms, String::from_utf8_lossy(&message.payload).into_owned())
        }))
    }

    /// Whether a run may still be sent by what it was to be sent by: one that could not be stored for long may have lost its slot.
    pub(super) async fn has_turn(&self, run: &Sent) -> bool {
        let turn = *run.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Turn::Slot(slot, place, since)) = turn else { return true };
        if since.elapsed() < DOUBT {
            return true;
        }
        let looked = Instant::now();
        let subject = names::slot(&run.outgoing.tenant, slot);
        let is_own = matches!(self.slot_of(&subject).await, Ok(Some((at, ..))) if at == place);
        let turn = is_own.then_some(Turn::Slot(slot, place, looked));
        *run.turn.lock().unwrap_or_else(PoisonError::into_inner) = turn;
        is_own
    }

    /// Gives back what an ended run was sent by, and forgets it.
    pub(super) fn has_ended(self: &Arc<Self>, run: &Arc<Sent>) {
        self.give_back(run);
        let mut lines = self.turns.lines();
        let Some(line) = lines.get_mut(&run.outgoing.tenant) else { return };
        line.unsettled = line.unsettled.saturating_sub(1);
        if line.unsettled == 0 && line.waiting.is_empty() && !line.is_fed {
            lines.remove(&run.outgoing.tenant);
        }
    }

    fn give_back(self: &Arc<Self>, run: &Arc<Sent>) {
        let turn = run.turn.lock().unwrap_or_else(PoisonError::into_inner).take();
        let tenant = run.outgoing.tenant.clone();
        match turn {
            Some(Turn::Free) => {
                let mut lines = self.turns.lines();
                if let Some(line) = lines.get_mut(&tenant) {
                    line.free = line.free.saturating_sub(1);
                    line.wake.notify_one();
                }
            }
            Some(Turn::Slot(slot, place, _)) => {
                let gateway = self.clone();
                tokio::spawn(async move { gateway.free_slot(&tenant, Some(slot), place).await });
            }
            // The process before this one may have had a slot for it.
            None if run.outgoing.again => {
                let (gateway, run) = (self.clone(), run.clone());
                tokio::spawn(async move { gateway.free_slots_of(&run).await });
            }
            None => {}
        }
    }

    /// Removes a slot, and tells all who may wait for it. One that could not be removed is stale some time.
    async fn free_slot(&self, tenant: &TenantId, slot: Option<usize>, place: u64) {
        if let Ok(stream) = self.bus.js.get_stream_no_info(SLOTS).await {
            drop(stream.delete_message(place).await);
        }
        if let Some(line) = self.turns.lines().get_mut(tenant) {
            line.hint = slot;
            line.wake.notify_one();
        }
        drop(self.bus.client.publish(names::freed(tenant), Vec::new().into()).await);
    }

    async fn free_slots_of(&self, run: &Sent) {
        let tenant = &run.outgoing.tenant;
        for subject in self.slots(tenant).await.unwrap_or_default() {
            if let Ok(Some((place, _, of))) = self.slot_of(&subject).await
                && of == run.subject
            {
                self.free_slot(tenant, None, place).await;
            }
        }
    }

    /// Removes slots of a tenant that are nobody's: their run is in no queue, and not of this gateway.
    async fn sweep_slots(&self, tenant: &TenantId) -> Result<(), ClusterError> {
        for subject in self.slots(tenant).await? {
            let Some((place, since_ms, of)) = self.slot_of(&subject).await? else { continue };
            let is_ours = names::part(&of, 5).is_some_and(|run| self.get(&run).is_some());
            let is_old = i128::from(now_ms()) - since_ms > STALE_MS;
            if is_old && !is_ours && !self.has(RUNS, &of).await? {
                self.free_slot(tenant, None, place).await;
            }
        }
        Ok(())
    }

    /// Counts places, tells other gateways what there is to do here, for as long as the service lives.
    pub(super) async fn count(self: Arc<Self>) {
        let mut told = (String::new(), None::<Instant>);
        let mut counted = None::<Instant>;
        let mut tick = tokio::time::interval(COUNT);
        loop {
            tick.tick().await;
            let tenants: BTreeMap<TenantId, Load> = {
                let lines = self.turns.lines();
                lines.iter().map(|(tenant, line)| (tenant.clone(), line.load())).collect()
            };
            // Who has nothing to do asks seldom, and says it once.
            let is_old = counted.is_none_or(|at| at.elapsed() > COUNT_IDLE);
            if (is_old || self.held() > 0 || self.places() == 0)
                && let Ok(nodes) = self.nodes().await
            {
                self.learn(&nodes);
                counted = Some(Instant::now());
            }
            let text = serde_json::to_string(&tenants).expect("it is JSON");
            let is_due = told.1.is_none_or(|at| at.elapsed() > TELL) && !tenants.is_empty();
            if is_due || told.0 != text {
                let subject = names::load(self.name());
                drop(self.bus.client.publish(subject, text.clone().into()).await);
                told = (text, Some(Instant::now()));
            }
        }
    }

    fn learn(&self, nodes: &[Node]) {
        let ready = nodes.iter().filter(|node| node.worker && node.state == NodeState::Ready);
        let places = ready.map(|node| node.places).sum();
        let gateways = nodes.iter().filter(|node| node.gateway).count();
        let before = self.turns.places.swap(places, Ordering::Relaxed);
        self.turns.gateways.store(gateways, Ordering::Relaxed);
        if before != places {
            self.turns.wake_all();
        }
    }

    /// Hears what other gateways have to do, and when a slot is free.
    pub(super) async fn hear_others(
        self: Arc<Self>,
        mut said: impl futures_util::Stream<Item = async_nats::Message> + Unpin,
    ) {
        while let Some(message) = said.next().await {
            if let Some(tenant) = message.subject.strip_prefix("fc.freed.") {
                if let Ok(tenant) = tenant.parse::<TenantId>() {
                    self.turns.wake(&tenant);
                }
                continue;
            }
            let (Some(name), Ok(tenants)) =
                (names::part::<Name>(&message.subject, 2), serde_json::from_slice(&message.payload))
            else {
                continue;
            };
            if name != *self.name() {
                self.turns.others().insert(name, Told { tenants, at: Instant::now() });
            }
        }
    }
}
