//! Which sandboxes wait, and how many should: by what was needed lately, within a budget of memory.

use crate::spawner::{BUILT, Shape};
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use tokio::net::UnixStream;

/// Most shapes that are kept ready; the one that was not needed for longest gives way.
const SHAPES_MAX: usize = 8;
/// Most shapes of which one sandbox is kept for a while.
const FOR_A_WHILE_MAX: usize = 4;
/// How long that is, from their last use.
const WHILE: Duration = Duration::from_secs(600);
/// Every so often a quarter of what lately was needed at most is forgotten.
const FORGET: Duration = Duration::from_secs(5);
/// A sandbox that waited for longer is replaced: the zygote it was to be filled from serves no more.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// How many sandboxes may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSize {
    /// Of the usual shape, always.
    pub min: usize,
    /// Of all shapes together.
    pub max: usize,
    /// What they may hold of memory together, in bytes.
    pub memory_bytes: u64,
}

/// What waits, and what came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolLoad {
    /// Sandboxes that wait, built or being built.
    pub idle: usize,
    /// How many there should be, those in use included.
    pub target: usize,
    /// Sandboxes in use.
    pub leased: usize,
    /// Leases of sandboxes that were built when they were asked for.
    pub warm: u64,
    /// Leases that had to wait for a build.
    pub cold: u64,
}

/// What is kept ready for some runs, and what that holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Sandboxes that wait, built or being built.
    pub idle: usize,
    /// Sandboxes in use.
    pub leased: usize,
    /// Bytes of memory that those that wait hold, rounded up from what was measured.
    pub memory_bytes: u64,
}

/// A keeper that nobody has leased.
#[derive(Debug)]
pub struct Idle {
    socket: UnixStream,
    since: Instant,
}

/// What becomes of a keeper that waits.
enum Fitness {
    Built,
    Building,
    Dead,
}

impl Idle {
    /// One that was asked for just now.
    pub fn new(socket: UnixStream) -> Self {
        Self { socket, since: Instant::now() }
    }

    /// Looks at what the keeper said so far.
    fn fitness(&self) -> Fitness {
        let mut packet = [0; 8];
        match sys::socket::receive(self.socket.as_fd(), &mut packet) {
            Ok((1.., _)) if packet[0] == BUILT => Fitness::Built,
            Err(error) if error.errno == libc::EAGAIN => Fitness::Building,
            _ => Fitness::Dead,
        }
    }
}

/// All sandboxes that wait.
#[derive(Debug, Default)]
pub struct Shelves {
    size: Option<PoolSize>,
    shelves: Vec<Shelf>,
    /// Given to each shelf as its name.
    count: u64,
    warm: u64,
    cold: u64,
}

/// Those of one shape.
#[derive(Debug)]
struct Shelf {
    number: u64,
    shape: Shape,
    /// Fewest that wait.
    min: usize,
    idle: VecDeque<Idle>,
    /// Asked for and not yet here.
    coming: usize,
    leased: usize,
    /// Most that were in use at once, lately.
    peak: usize,
    forgotten: Instant,
    used: Instant,
    /// Whether one waits until it was not used for a while.
    for_a_while: bool,
}

impl Shelf {
    fn new(number: u64, shape: Shape, min: usize) -> Self {
        let now = Instant::now();
        Self {
            number,
            shape,
            min,
            idle: VecDeque::new(),
            coming: 0,
            leased: 0,
            peak: 0,
            forgotten: now,
            used: now,
            for_a_while: false,
        }
    }

    /// How many there should be, those in use included: for each that is in use one that is being built.
    fn target(&self) -> usize {
        (2 * self.peak).max(self.min).max(usize::from(self.for_a_while))
    }

    fn count(&self) -> usize {
        self.idle.len() + self.coming + self.leased
    }

    fn forget(&mut self, now: Instant) {
        self.for_a_while &= now.duration_since(self.used) < WHILE;
        let times = now.duration_since(self.forgotten).as_secs() / FORGET.as_secs();
        for _ in 0..times.min(32) {
            self.peak = (self.peak * 3 / 4).max(self.leased);
        }
        if times > 0 {
            self.forgotten = now;
        }
    }
}

impl Shelves {
    /// Says how many may wait, and of which shapes how many always do.
    pub fn open(&mut self, size: PoolSize, shapes: Vec<(Shape, usize)>) {
        self.size = Some(size);
        for (shape, min) in shapes {
            self.keep(&shape, min);
        }
    }

    /// Says of one more shape how many always wait.
    pub fn keep(&mut self, shape: &Shape, min: usize) {
        let number = self.number_of(shape);
        if let Some(shelf) = self.named(number) {
            shelf.min = min;
        }
    }

    /// Says of a shape that one waits until it was not used for a while. Of many such the one that was not used for longest gives way.
    pub fn keep_for_a_while(&mut self, shape: &Shape) {
        let number = self.number_of(shape);
        let others = self.shelves.iter_mut().filter(|shelf| shelf.for_a_while && shelf.number != number);
        let mut others: Vec<&mut Shelf> = others.collect();
        if others.len() >= FOR_A_WHILE_MAX
            && let Some(oldest) = others.iter_mut().min_by_key(|shelf| shelf.used)
        {
            oldest.for_a_while = false;
        }
        if let Some(shelf) = self.named(number) {
            shelf.for_a_while = true;
            shelf.used = Instant::now();
        }
    }

    /// Takes one that waits, if there is one, and the name of its shelf, to be given back when the run is over.
    pub fn take(&mut self, shape: &Shape) -> (Option<UnixStream>, u64) {
        let number = self.number_of(shape);
        let mut taken = None;
        if let Some(shelf) = self.named(number) {
            shelf.leased += 1;
            shelf.peak = shelf.peak.max(shelf.leased);
            shelf.used = Instant::now();
            while let Some(idle) = shelf.idle.pop_front() {
                match idle.fitness() {
                    Fitness::Dead => {}
                    Fitness::Built => {
                        taken = Some((idle.socket, true));
                        break;
                    }
                    Fitness::Building => {
                        taken = Some((idle.socket, false));
                        break;
                    }
                }
            }
        }
        let warm = matches!(taken, Some((_, true)));
        self.warm += u64::from(warm);
        self.cold += u64::from(!warm);
        (taken.map(|(socket, _)| socket), number)
    }

    /// A run is over.
    pub fn give_back(&mut self, number: u64) {
        if let Some(shelf) = self.named(number) {
            shelf.leased = shelf.leased.saturating_sub(1);
        }
    }

    /// What is to be asked for now: each is counted as coming until it is put, or nothing is. Those too many or too old are let go.
    pub fn wanted(&mut self, now: Instant) -> Vec<(u64, Shape)> {
        let Some(size) = self.size else { return Vec::new() };
        let (mut room, mut memory) = (size.max, size.memory_bytes);
        let mut wanted = Vec::new();
        for shelf in &mut self.shelves {
            shelf.forget(now);
            shelf.idle.retain(|idle| now.duration_since(idle.since) < IDLE_MAX);
            let each = shelf.shape.idle_bytes();
            let affordable = usize::try_from(memory / each).unwrap_or(usize::MAX);
            let waiting = shelf.target().saturating_sub(shelf.leased).min(room).min(affordable);
            shelf.idle.truncate(waiting);
            let lacking = waiting.saturating_sub(shelf.idle.len() + shelf.coming);
            room -= waiting;
            memory -= waiting as u64 * each;
            shelf.coming += lacking;
            wanted.extend((0..lacking).map(|_| (shelf.number, shelf.shape.clone())));
        }
        wanted
    }

    /// Puts one that was asked for on its shelf.
    pub fn put(&mut self, number: u64, idle: Idle) {
        if let Some(shelf) = self.named(number) {
            shelf.coming = shelf.coming.saturating_sub(1);
            shelf.idle.push_back(idle);
        }
    }

    /// Puts one back that builds anew after its run, if as many are wanted. It still counts as leased.
    pub fn put_back(&mut self, number: u64, idle: Idle) {
        if let Some(shelf) = self.named(number)
            && shelf.count() <= shelf.target()
        {
            shelf.idle.push_back(idle);
        }
    }

    /// Lets go of all that wait.
    pub fn clear(&mut self) {
        self.shelves.iter_mut().for_each(|shelf| shelf.idle.clear());
    }

    /// One that was asked for cannot be had.
    pub fn put_nothing(&mut self, number: u64) {
        if let Some(shelf) = self.named(number) {
            shelf.coming = shelf.coming.saturating_sub(1);
        }
    }

    /// How full they are.
    pub fn load(&self) -> PoolLoad {
        let sum = |of: fn(&Shelf) -> usize| self.shelves.iter().map(of).sum();
        let most = self.size.map_or(0, |size| size.max);
        PoolLoad {
            idle: sum(|shelf| shelf.idle.len() + shelf.coming),
            target: sum(Shelf::target).min(most),
            leased: sum(|shelf| shelf.leased),
            warm: self.warm,
            cold: self.cold,
        }
    }

    /// What is ready of some shapes.
    pub fn waiting(&self, of: impl Fn(&Shape) -> bool) -> Waiting {
        self.shelves.iter().filter(|shelf| of(&shelf.shape)).fold(Waiting::default(), |sum, shelf| {
            let idle = shelf.idle.len() + shelf.coming;
            Waiting {
                idle: sum.idle + idle,
                leased: sum.leased + shelf.leased,
                memory_bytes: sum.memory_bytes + idle as u64 * shelf.shape.idle_bytes(),
            }
        })
    }

    fn named(&mut self, number: u64) -> Option<&mut Shelf> {
        self.shelves.iter_mut().find(|shelf| shelf.number == number)
    }

    /// The shelf of this shape, a new one if there is none.
    fn number_of(&mut self, shape: &Shape) -> u64 {
        let known = self.shelves.iter().find(|shelf| shelf.shape == *shape).map(|shelf| shelf.number);
        known.unwrap_or_else(|| self.add(shape.clone()))
    }

    fn add(&mut self, shape: Shape) -> u64 {
        if self.shelves.len() >= SHAPES_MAX {
            let unused = self
                .shelves
                .iter()
                .enumerate()
                .filter(|(_, shelf)| shelf.min == 0 && shelf.leased == 0 && !shelf.for_a_while);
            if let Some((index, _)) = unused.min_by_key(|(_, shelf)| shelf.used) {
                self.shelves.remove(index);
            }
        }
        self.count += 1;
        self.shelves.push(Shelf::new(self.count, shape, 0));
        self.count
    }
}
