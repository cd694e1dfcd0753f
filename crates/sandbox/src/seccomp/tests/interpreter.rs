//! Runs classic BPF the way the kernel does for seccomp, and checks what the kernel checks before it takes a program.
//! Written from the kernel's documentation, not from the compiler, so that the two can disagree.

use super::Instruction;

/// What the kernel shows to a filter: `struct seccomp_data`, without the instruction pointer, which no filter of ours reads.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub arch: u32,
    pub number: u32,
    pub arguments: [u64; 6],
}

impl Call {
    /// A call of the native ABI.
    pub fn native(number: u32, arguments: [u64; 6]) -> Self {
        Self { arch: 0xc000_003e, number, arguments }
    }

    fn word(&self, offset: u32) -> u32 {
        let bytes: Vec<u8> = [self.number, self.arch, 0, 0]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .chain(self.arguments.iter().flat_map(|argument| argument.to_le_bytes()))
            .collect();
        let start = offset as usize;
        u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap())
    }
}

/// Runs a program; returns its verdict and how many instructions it took.
pub fn run(program: &[Instruction], call: &Call) -> (u32, usize) {
    let (mut accumulator, mut at) = (0u32, 0usize);
    for steps in 1.. {
        let Instruction { code, jt, jf, k } = program[at];
        let jump = |taken: bool| 1 + usize::from(if taken { jt } else { jf });
        at += match code {
            0x06 => return (k, steps),
            0x20 => {
                accumulator = call.word(k);
                1
            }
            0x54 => {
                accumulator &= k;
                1
            }
            0x05 => 1 + k as usize,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x45 => jump(accumulator & k != 0),
            _ => panic!("instruction {at} has the unknown code {code:#x}"),
        };
    }
    unreachable!("jumps go forward only")
}

/// Asserts what `bpf_check_classic` and `seccomp_check_filter` of the kernel demand.
pub fn assert_acceptable(program: &[Instruction]) {
    assert!((1..=4096).contains(&program.len()), "{} instructions", program.len());
    for (at, instruction) in program.iter().enumerate() {
        let inside = |skip: usize| assert!(at + 1 + skip < program.len(), "{at}: {instruction:?} jumps out");
        match instruction.code {
            0x06 | 0x54 => {}
            0x20 => {
                assert!(instruction.k % 4 == 0 && instruction.k < 64, "{at}: {instruction:?} loads outside")
            }
            0x05 => inside(instruction.k as usize),
            0x15 | 0x25 | 0x35 | 0x45 => {
                inside(instruction.jt.into());
                inside(instruction.jf.into());
            }
            code => panic!("{at}: the kernel has no code {code:#x} for seccomp"),
        }
    }
    assert_eq!(program.last().unwrap().code, 0x06, "the last instruction returns");
}

#[test]
fn kernel_would_accept_both_filters() {
    for filter in [super::super::job(), super::super::init()] {
        assert_acceptable(&super::instructions(filter));
    }
}
