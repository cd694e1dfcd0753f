//! Compiles a [`Policy`] to classic BPF. Pure: policy in, instructions out; runs in the build script and in tests.
//!
//! The program, in order:
//!
//! 1. another architecture than x86_64 (`int 0x80` and 32-bit programs) kills the process;
//! 2. a number with the x32 bit, or above it, is `ENOSYS`;
//! 3. a binary search over ranges of numbers with the same fate, weighted by how many real calls lie in a range: the kernel
//!    runs the filter once per known number at install to learn what is always allowed, and that is most of the cost;
//! 4. at a leaf the fate, or the checks of arguments: load the low half, mask, compare.
//!
//! Instructions are emitted back to front. A jump then always knows how far its target is, a target out of the reach of its
//! eight bits gets a long jump or a copy of the return, and there is nothing to patch.

use std::collections::BTreeMap;
use std::fmt;

use super::policy::{Action, Case, Policy, Rule, Term};

/// One classic BPF instruction, laid out like the kernel's `sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// Load an absolute word of `seccomp_data`: BPF_LD | BPF_W | BPF_ABS.
pub const LOAD: u16 = 0x20;
/// Mask the accumulator: BPF_ALU | BPF_AND | BPF_K.
pub const AND: u16 = 0x54;
/// Jump always: BPF_JMP | BPF_JA.
pub const JUMP: u16 = 0x05;
/// Jump if equal: BPF_JMP | BPF_JEQ | BPF_K.
pub const JUMP_EQUAL: u16 = 0x15;
/// Jump if greater or equal: BPF_JMP | BPF_JGE | BPF_K.
pub const JUMP_GREATER_EQUAL: u16 = 0x35;
/// End with a verdict: BPF_RET | BPF_K.
pub const RETURN: u16 = 0x06;

/// `AUDIT_ARCH_X86_64`.
pub const ARCH: u32 = 0xc000_003e;
/// The bit that marks the x32 ABI; no native number reaches it.
pub const X32_BIT: u32 = 0x4000_0000;
/// `SECCOMP_RET_KILL_PROCESS`.
pub const KILL_PROCESS: u32 = 0x8000_0000;
/// `SECCOMP_RET_ALLOW`.
pub const ALLOW: u32 = 0x7fff_0000;
/// `SECCOMP_RET_ERRNO`, the errno in the low half.
pub const ERRNO: u32 = 0x0005_0000;

const ENOSYS: Action = Action::Errno(38);
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
/// Arguments are 64 bits wide from here on; on little endian the low half comes first.
const OFFSET_ARGUMENTS: u32 = 16;
/// `BPF_MAXINSNS`.
const MAX_INSTRUCTIONS: usize = 4096;
/// How far a conditional jump reaches, less room for what may be put between while its other target is made.
const REACH: usize = 250;
/// Numbers the install-time scan of the kernel visits, about `NR_syscalls`.
const SCANNED_NUMBERS: u32 = 472;

/// The program would be longer than the kernel takes.
#[derive(Debug)]
pub struct TooLong(pub usize);

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the filter has {} instructions, the kernel takes {MAX_INSTRUCTIONS}", self.0)
    }
}

/// The value a filter returns for an action.
pub fn verdict(action: Action) -> u32 {
    match action {
        Action::Allow => ALLOW,
        Action::Errno(errno) => ERRNO | u32::from(errno),
    }
}

/// Compiles a policy to a filter the kernel accepts.
pub fn compile(policy: &Policy) -> Result<Vec<Instruction>, TooLong> {
    let mut program = Program::default();
    let unlisted = Rule { cases: Vec::new(), otherwise: policy.default };
    let search = program.search(&ranges(policy, &unlisted));
    let x32 = Target::Return(verdict(ENOSYS));
    let checked = program.branch(JUMP_GREATER_EQUAL, X32_BIT, x32, search);
    let number = program.load(OFFSET_NUMBER, checked);
    let arch = program.branch(JUMP_EQUAL, ARCH, number, Target::Return(KILL_PROCESS));
    program.load(OFFSET_ARCH, arch);
    let mut instructions = program.reversed;
    instructions.reverse();
    if instructions.len() > MAX_INSTRUCTIONS {
        return Err(TooLong(instructions.len()));
    }
    Ok(instructions)
}

/// Consecutive numbers with one fate, up to the next range's start.
struct Range<'a> {
    start: u32,
    rule: &'a Rule,
    /// How many of the numbers the kernel scans at install lie in it, at least one.
    weight: u32,
}

/// Splits all numbers into maximal ranges of equal rules.
fn ranges<'a>(policy: &'a Policy, unlisted: &'a Rule) -> Vec<Range<'a>> {
    let mut ranges = vec![Range { start: 0, rule: unlisted, weight: 0 }];
    let mut begin = |start: u32, rule: &'a Rule| match ranges.last_mut() {
        Some(last) if last.start == start => last.rule = rule,
        Some(last) if last.rule == rule => {}
        _ => ranges.push(Range { start, rule, weight: 0 }),
    };
    for (number, rule) in &policy.rules {
        begin(*number, rule);
        if !policy.rules.contains_key(&(number + 1)) {
            begin(number + 1, unlisted);
        }
    }
    let mut end = SCANNED_NUMBERS;
    for range in ranges.iter_mut().rev() {
        range.weight = end.saturating_sub(range.start).max(1);
        end = end.min(range.start);
    }
    ranges
}

/// Where a branch goes: to a verdict, or to an instruction by its place counted from the end.
#[derive(Debug, Clone, Copy)]
enum Target {
    Return(u32),
    Place(usize),
}

/// The program so far, last instruction first.
#[derive(Default)]
struct Program {
    reversed: Vec<Instruction>,
    /// The nearest return of each verdict.
    returns: BTreeMap<u32, usize>,
}

impl Program {
    /// Emits the decision among ranges: left of the middle, right of it, or the one that is left.
    fn search(&mut self, ranges: &[Range<'_>]) -> Target {
        match ranges {
            [] => unreachable!("ranges cover all numbers"),
            [range] => self.rule(range.rule),
            _ => {
                let (left, right) = ranges.split_at(middle(ranges));
                let start = right[0].start;
                let right = self.search(right);
                let left = self.search(left);
                self.branch(JUMP_GREATER_EQUAL, start, right, left)
            }
        }
    }

    fn rule(&mut self, rule: &Rule) -> Target {
        let otherwise = Target::Return(verdict(rule.otherwise));
        rule.cases.iter().rev().fold(otherwise, |next, case| self.case(case, next))
    }

    fn case(&mut self, case: &Case, next: Target) -> Target {
        let hit = Target::Return(verdict(case.action));
        case.terms.iter().rev().fold(hit, |hit, term| self.term(term, hit, next))
    }

    fn term(&mut self, term: &Term, hit: Target, miss: Target) -> Target {
        let compare = |next, value: &u32| self.branch(JUMP_EQUAL, *value, hit, next);
        let mut target = term.values.iter().rev().fold(miss, compare);
        if term.mask != u32::MAX {
            target = self.push(AND, term.mask, target);
        }
        self.load(OFFSET_ARGUMENTS + 8 * u32::from(term.argument), target)
    }

    fn load(&mut self, offset: u32, next: Target) -> Target {
        self.push(LOAD, offset, next)
    }

    /// Emits an instruction that falls through to `next`.
    fn push(&mut self, code: u16, k: u32, next: Target) -> Target {
        let next = self.reachable(next);
        if next + 1 != self.reversed.len() {
            self.long_jump(next);
        }
        Target::Place(self.emit(Instruction { code, jt: 0, jf: 0, k }))
    }

    fn branch(&mut self, code: u16, k: u32, yes: Target, no: Target) -> Target {
        let no = self.reachable(no);
        let yes = self.reachable(yes);
        let (jt, jf) = (self.offset(yes), self.offset(no));
        Target::Place(self.emit(Instruction { code, jt, jf, k }))
    }

    /// The place of a target, or of a copy or long jump near enough for a conditional jump.
    fn reachable(&mut self, target: Target) -> usize {
        let near = |place: usize, end: usize| end - place <= REACH;
        let end = self.reversed.len();
        match target {
            Target::Place(place) if near(place, end) => place,
            Target::Place(place) => self.long_jump(place),
            Target::Return(verdict) => match self.returns.get(&verdict) {
                Some(place) if near(*place, end) => *place,
                _ => {
                    let place = self.emit(Instruction { code: RETURN, jt: 0, jf: 0, k: verdict });
                    self.returns.insert(verdict, place);
                    place
                }
            },
        }
    }

    fn long_jump(&mut self, place: usize) -> usize {
        let skip = u32::try_from(self.skipped(place)).expect("programs are far shorter than 2^32");
        self.emit(Instruction { code: JUMP, jt: 0, jf: 0, k: skip })
    }

    fn offset(&self, place: usize) -> u8 {
        u8::try_from(self.skipped(place)).expect("`reachable` left more room than two instructions take")
    }

    /// How many instructions the next one must skip to arrive at `place`.
    fn skipped(&self, place: usize) -> usize {
        self.reversed.len() - place - 1
    }

    fn emit(&mut self, instruction: Instruction) -> usize {
        self.reversed.push(instruction);
        self.reversed.len() - 1
    }
}

/// Where to split so that both halves weigh about the same; at least one range stays on each side.
fn middle(ranges: &[Range<'_>]) -> usize {
    let weight = |part: &[Range<'_>]| part.iter().map(|range| range.weight).sum::<u32>();
    let imbalance = |index: &usize| weight(&ranges[..*index]).abs_diff(weight(&ranges[*index..]));
    (1..ranges.len()).min_by_key(imbalance).expect("two ranges or more")
}
