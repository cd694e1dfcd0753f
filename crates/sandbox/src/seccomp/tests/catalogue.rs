//! Each attack of the catalogue that a filter answers, as numbers and arguments, and what honest programs need beside it.
//! Numbers are written out, as an attacker would; names would come from our own table.

use super::interpreter::{Call, run};
use super::{Action, instructions, verdict};

const ALLOW: Action = Action::Allow;
const EPERM: Action = Action::Errno(1);
const EINVAL: Action = Action::Errno(22);
const ENOSYS: Action = Action::Errno(38);
const ENOPROTOOPT: Action = Action::Errno(92);
const EPROTONOSUPPORT: Action = Action::Errno(93);
const EOPNOTSUPP: Action = Action::Errno(95);
const EAFNOSUPPORT: Action = Action::Errno(97);

/// Asserts the verdict, also with garbage in the high half of every argument: the kernel looks at the low one (SC-10).
fn check(case: &str, number: u32, arguments: &[u64], expected: Action) {
    let filter = instructions(super::super::job());
    for garbage in [0, 1 << 32, 0xffff_ffff << 32] {
        let mut all = [garbage; 6];
        arguments.iter().zip(&mut all).for_each(|(argument, slot)| *slot |= argument);
        let got = run(&filter, &Call::native(number, all)).0;
        assert_eq!(got, verdict(expected), "{case}: call {number} with {all:x?}");
    }
}

fn check_all(case: &str, numbers: &[u32], expected: Action) {
    for number in numbers {
        check(case, *number, &[], expected);
        check(case, *number, &[u64::MAX; 6], expected);
    }
}

#[test]
fn whole_calls_are_refused() {
    check_all("SC-01 io_uring", &[425, 426, 427], ENOSYS);
    check_all("SC-02 bpf", &[321], EPERM);
    check_all("SC-03 perf_event_open", &[298], EPERM);
    check_all("SC-04 userfaultfd", &[323], EPERM);
    check_all("SC-05 keyrings", &[248, 249, 250], ENOSYS);
    check_all("SC-11 splice, tee, vmsplice", &[275, 276, 278], ENOSYS);
    check_all("SC-11 sendfile, the same by another name", &[40], EINVAL);
    check_all("SC-12 other processes", &[101, 310, 311, 312, 438, 440], EPERM);
    check_all("SC-13 mount API", &[428, 429, 430, 431, 432, 433, 442, 457, 458, 467, 470], EPERM);
    check_all("SC-14 namespaces and roots", &[272, 308, 155, 161], EPERM);
    check_all("FS-07 mount, umount2", &[165, 166], EPERM);
    check_all("SC-15 administration", &[175, 313, 176, 246, 320, 169, 167, 168, 163, 179, 443, 103], EPERM);
    check_all("SC-16 rare memory calls", &[447, 154, 216, 237, 238, 239, 256, 279, 450], ENOSYS);
    check_all("SC-17 clocks", &[227, 164, 159, 305], EPERM);
    check_all("SC-20 fanotify, dcookie, handles", &[300, 301, 212, 303, 304], EPERM);
    check_all("SC-21 mlockall, sched_setattr", &[151, 314], EPERM);
    check_all("SC-22 ports", &[172, 173], EPERM);
    check_all("SG-12 cachestat", &[451], EPERM);
    check_all("NS-12 host name", &[170, 171], EPERM);
    check_all("NS-02 clone3", &[435], ENOSYS);
    check_all("unknown numbers", &[337, 423, 472, 512, 521, 547, 1023, 0x3fff_ffff], ENOSYS);
    check_all("NS-10 x32", &[0x4000_0000, 0x4000_0027, 0x4000_0209, 0x7fff_ffff, u32::MAX], ENOSYS);
}

#[test]
fn clone_makes_no_namespaces_and_no_siblings() {
    for flag in [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
        check("NS-02", 56, &[flag | 17], EPERM);
        check("NS-02", 56, &[flag | 0x003d_0f00], EPERM);
    }
    check("CLONE_PARENT", 56, &[0x8000 | 17], EPERM);
    check("fork", 56, &[0x0120_0011], ALLOW);
    check("thread", 56, &[0x003d_0f00], ALLOW);
    check("posix_spawn", 56, &[0x4111], ALLOW);
}

#[test]
fn sockets_are_of_few_kinds() {
    const SOCKET: u32 = 41;
    check("SC-06 AF_ALG", SOCKET, &[38, 5, 0], EAFNOSUPPORT);
    check("SC-07 RXRPC", SOCKET, &[33, 2, 2], EAFNOSUPPORT);
    check("SC-08 VSOCK", SOCKET, &[40, 1, 0], EAFNOSUPPORT);
    for family in (0..64).filter(|family| ![1, 2, 10, 16].contains(family)) {
        check("SC-09 every other family", SOCKET, &[family, 3, 0], EAFNOSUPPORT);
    }
    for protocol in 1..32 {
        check("SC-07 netlink", SOCKET, &[16, 3, protocol], EPERM);
    }
    check("netlink route", SOCKET, &[16, 0x8_0003, 0], ALLOW);
    for family in [2, 10] {
        check("tcp", SOCKET, &[family, 0x8_0801, 6], ALLOW);
        check("udp", SOCKET, &[family, 0x8_0002, 0], ALLOW);
        check("raw", SOCKET, &[family, 3, 1], EPERM);
        check("packet of old", SOCKET, &[family, 10, 0x300], EPERM);
        check("sctp", SOCKET, &[family, 5, 132], EPERM);
        for protocol in [33, 115, 132, 136, 256, 262] {
            check("SC-09 families by protocol", SOCKET, &[family, 1, protocol], EPROTONOSUPPORT);
            check("SC-09 families by protocol", SOCKET, &[family, 2, protocol], EPROTONOSUPPORT);
        }
    }
    for kind in [1, 2, 5] {
        check("unix", SOCKET, &[1, kind | 0x8_0800, 0], ALLOW);
        check("unix pair", 53, &[1, kind, 0], ALLOW);
    }
    check("unix raw", SOCKET, &[1, 3, 0], EPERM);
    check("tipc pair", 53, &[30, 2, 0], EAFNOSUPPORT);
}

#[test]
fn socket_options_attach_nothing() {
    const SETSOCKOPT: u32 = 54;
    for option in [26, 50, 51, 52] {
        check("SC-02 programs", SETSOCKOPT, &[3, 1, option], EPERM);
    }
    check("SC-11 zero copy", SETSOCKOPT, &[3, 1, 60], EOPNOTSUPP);
    check("FS-17 kernel TLS", SETSOCKOPT, &[3, 6, 31], ENOPROTOOPT);
    check("FS-17 ESP in UDP", SETSOCKOPT, &[3, 17, 100], ENOPROTOOPT);
    check("SO_REUSEADDR", SETSOCKOPT, &[3, 1, 2], ALLOW);
    check("TCP_NODELAY", SETSOCKOPT, &[3, 6, 1], ALLOW);
    check("option 26 of IP", SETSOCKOPT, &[3, 0, 26], ALLOW);
}

#[test]
fn prctl_is_a_list() {
    const PRCTL: u32 = 157;
    check("SC-19 PR_SET_MM", PRCTL, &[35], EPERM);
    check("SC-19 PR_SET_SECCOMP", PRCTL, &[22, 2], EPERM);
    check("SC-19 PR_SET_PTRACER", PRCTL, &[0x5961_6d61, u64::MAX], EPERM);
    check("NS-08 raise", PRCTL, &[47, 2, 21], EPERM);
    check("NS-08 ask", PRCTL, &[47, 1, 21], ALLOW);
    for option in [24, 28, 31, 32, 33, 53, 55, 59, 62, 67, 74, 77, 78, 0, 1000, 0x7fff_ffff] {
        check("unlisted option", PRCTL, &[option], EPERM);
    }
    for option in [1, 2, 3, 4, 8, 15, 16, 21, 23, 29, 30, 36, 38, 39, 41, 0x5356_4d41] {
        check("honest option", PRCTL, &[option], ALLOW);
    }
}

#[test]
fn filters_are_not_for_user_code() {
    const SECCOMP: u32 = 317;
    check("SC-18 NEW_LISTENER", SECCOMP, &[1, 8, 0x1000], EPERM);
    check("SC-18 any filter", SECCOMP, &[1, 0, 0x1000], EPERM);
    check("strict mode", SECCOMP, &[0, 0, 0], EPERM);
    check("asking", SECCOMP, &[2, 0, 0x1000], ALLOW);
}

#[test]
fn scheduling_stays_ordinary() {
    for policy in [1, 2, 6, 7] {
        check("SC-21 policy", 144, &[0, policy], EPERM);
        check("SC-21 policy, reset on fork", 144, &[0, policy | 0x4000_0000], EPERM);
    }
    for policy in [0, 3, 5, 0x4000_0003] {
        check("gentle policy", 144, &[0, policy], ALLOW);
    }
    for (class, expected) in [(0, ALLOW), (1, EPERM), (2, ALLOW), (3, ALLOW), (4, EPERM), (7, EPERM)] {
        check("SC-21 ioprio", 251, &[1, 0, class << 13 | 4], expected);
    }
}

#[test]
fn files_terminals_and_memory_keep_their_limits() {
    for (mode, expected) in
        [(0x2000, EPERM), (0x6000, EPERM), (0x1000, ALLOW), (0x8000, ALLOW), (0xc000, ALLOW), (0, ALLOW)]
    {
        check("FS-11 mknod", 133, &[0x1000, mode | 0o666, 0x101], expected);
        check("FS-11 mknodat", 259, &[3, 0x1000, mode | 0o666, 0x101], expected);
    }
    for request in [0x5412, 0x541c, 0x541d, 0x5423] {
        check("terminal injection", 16, &[0, request], EPERM);
    }
    check("TCGETS", 16, &[0, 0x5401], ALLOW);
    check("F_SETLEASE", 72, &[3, 1024], EPERM);
    check("F_NOTIFY", 72, &[3, 1026], EPERM);
    check("F_SETFD", 72, &[3, 2], ALLOW);
    check("SG-12 RWF_NOWAIT", 327, &[3, 0x1000, 1, 0, 0, 8], EOPNOTSUPP);
    check("preadv2", 327, &[3, 0x1000, 1, 0, 0, 1], ALLOW);
    check("KSM", 28, &[0x1000, 0x1000, 12], EINVAL);
    check("MADV_DONTNEED", 28, &[0x1000, 0x1000, 4], ALLOW);
    for (personality, expected) in
        [(0, ALLOW), (0xffff_ffff, ALLOW), (0x4_0000, EPERM), (0x40_0000, EPERM), (8, EPERM)]
    {
        check("personality", 135, &[personality], expected);
    }
}

/// A run of Python, Node and gcc under strace uses these; each must stay open with any argument.
#[test]
fn honest_programs_find_their_calls() {
    let calls = [
        0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 17, 20, 21, 22, 25, 32, 33, 39, 42, 44, 45, 46, 47,
        49, 50, 57, 58, 59, 60, 61, 62, 63, 79, 80, 83, 87, 89, 90, 97, 99, 102, 110, 131, 137, 158, 186,
        202, 203, 204, 217, 218, 228, 230, 231, 232, 233, 234, 257, 262, 263, 271, 273, 281, 288, 290, 291,
        292, 293, 302, 309, 318, 319, 322, 324, 326, 329, 330, 332, 334, 434, 436, 439, 441,
    ];
    check_all("honest", &calls, ALLOW);
}

fn check_init(number: u32, arguments: &[u64; 6], expected: Action) {
    let got = run(&instructions(super::super::init()), &Call::native(number, *arguments)).0;
    assert_eq!(got, verdict(expected), "init: call {number} with {arguments:x?}");
}

#[test]
fn init_can_wait_and_report_and_nothing_else() {
    for number in [0, 1, 3, 7, 14, 15, 39, 46, 47, 60, 61, 62, 202, 219, 228, 231, 247, 271] {
        check_init(number, &[u64::MAX; 6], ALLOW);
    }
    for number in [2, 41, 53, 56, 57, 59, 101, 157, 165, 257, 272, 308, 317, 319, 322, 425, 435, 500] {
        check_init(number, &[0; 6], EPERM);
    }
    check_init(9, &[0, 4096, 3, 0x22, u64::MAX, 0], ALLOW);
    check_init(9, &[0, 4096, 5, 0x22, u64::MAX, 0], EPERM);
    check_init(10, &[0x1000, 4096, 7, 0, 0, 0], EPERM);
    check_init(0x4000_0000, &[0; 6], ENOSYS);
}
