//! The native half of the Python zygote: receives the description of a sandbox, forks the warm interpreter into it, and performs the
//! system calls that confine the fork. Loaded by `guest/python/zygote.py` as the extension module `fork`.
//!
//! It decides nothing: the calls are compiled from the plan by `crates/sandbox/src/joining/` and come as data, so that a forked job
//! and an executed one are confined by the same steps. No allocation, no library but the interpreter's own: between the fork and
//! the last call nothing is touched that another thread could have held (there is none, but the rule is cheap). `request.rs` has the
//! format of what comes.

#![no_std]

mod arena;
mod request;
mod thread;

use arena::Arena;
use core::arch::asm;
use core::ffi::{c_char, c_int, c_long, c_void};
use core::ptr::{addr_of_mut, null, null_mut};
use request::{
    CONFINED, Call, DATA, DESCRIPTOR, DESCRIPTORS_MAX, FAILED, FORKED, Header, KEPT, LITERAL, MAGIC,
    PID_NAMESPACE, REFUSED, REPORT, REQUEST_BYTES_MAX,
};
use thread::Thread;

const WRITE: u64 = 1;
const RECVMSG: u64 = 47;
const WAIT4: u64 = 61;
const SETNS: u64 = 308;
const CLOSE_RANGE: u64 = 436;
const PIDFD_OPEN: u64 = 434;
const GETPID: u64 = 39;
const EXIT_GROUP: u64 = 231;

const CLONE_NEWPID: u64 = 0x2000_0000;
const CLONE_VM: u64 = 0x100;
const CLONE_VFORK: u64 = 0x4000;
const CLONE_PARENT_SETTID: u64 = 0x10_0000;
const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
const CLONE_CHILD_SETTID: u64 = 0x100_0000;
const WALL: u64 = 0x4000_0000;
const MSG_CMSG_CLOEXEC: u64 = 0x4000_0000;
const EINTR: i64 = -4;
const EINVAL: i64 = -22;
const SIGCHLD: u64 = 17;

unsafe extern "C" {
    fn PyOS_BeforeFork();
    fn PyOS_AfterFork_Parent();
    fn PyOS_AfterFork_Child();
    fn PyLong_AsLong(object: *mut c_void) -> c_long;
    fn PyLong_FromLong(value: c_long) -> *mut c_void;
    fn PyModule_Create2(definition: *mut ModuleDefinition, api: c_int) -> *mut c_void;
}

/// One system call.
///
/// # Safety
/// As the call itself demands of its arguments.
unsafe fn call(number: u64, arguments: [u64; 6]) -> i64 {
    let answer: i64;
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the kernel's convention on x86_64; it clobbers rcx and r11. What the call touches is the caller's promise.
    unsafe {
        asm!("syscall", inlateout("rax") number as i64 => answer, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    answer
}

/// `clone_args` of clone(2).
#[repr(C)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    rest: [u64; 6],
}

/// On which side of a fork one is.
enum Side {
    /// The zygote, with what the middle process's clone answered.
    Zygote(i64),
    /// The fork.
    Fork,
}

/// Forks through a process in the middle, which shares our memory and stack as after `vfork(2)`, is a child of ours in the PID
/// namespace that was entered last, makes the real fork and ends. So the fork's parent is gone, and the first process of *its*
/// namespace becomes its parent: it is reaped, and its status told, by the sandbox's own init.
///
/// # Safety
/// The caller has one thread. `arguments` is valid for clone3(2), without CLONE_VM.
unsafe fn fork_through_the_middle(arguments: &CloneArguments) -> Side {
    let answer: i64;
    let forked: u64;
    // SAFETY: the middle process touches no memory: all its work is the two system calls below, from registers. The kernel stops
    // us until it has ended (CLONE_VFORK), so stack and memory have one user at a time.
    unsafe {
        asm!(
            "mov edi, {flags}",
            "xor esi, esi",
            "xor edx, edx",
            "xor r10d, r10d",
            "xor r8d, r8d",
            "mov eax, 56", // clone
            "syscall",
            "test rax, rax",
            "jnz 3f",
            // The process in the middle.
            "mov rdi, r12",
            "mov esi, {size}",
            "mov eax, 435", // clone3
            "syscall",
            "test rax, rax",
            "jz 2f",
            "xor edi, edi",
            "test rax, rax",
            "cmovs rdi, rax",
            "neg rdi",      // Its exit code is the errno.
            "mov eax, 60",  // exit
            "syscall",
            "ud2",
            // The fork.
            "2:",
            "mov r13d, 1",
            "3:",
            flags = const CLONE_VM | CLONE_VFORK,
            size = const size_of::<CloneArguments>(),
            in("r12") arguments,
            inlateout("r13") 0u64 => forked,
            lateout("rax") answer,
            out("rdi") _, out("rsi") _, out("rdx") _, out("r8") _, out("r10") _, out("rcx") _, out("r11") _,
        );
    }
    if forked == 1 { Side::Fork } else { Side::Zygote(answer) }
}

/// A request as it lies in memory, checked.
struct Request {
    calls: *const Call,
    count: u32,
    data: *mut u8,
    descriptors: [i32; DESCRIPTORS_MAX],
    descriptor_count: usize,
}

#[repr(C, align(16))]
struct Aligned([u8; REQUEST_BYTES_MAX]);

static mut BUFFER: Aligned = Aligned([0; REQUEST_BYTES_MAX]);

/// What came over the socket.
enum Received {
    Request(Request),
    /// The other end is gone: nobody needs us.
    End,
    /// Something that none of ours would send.
    Nonsense,
}

#[repr(C)]
struct Slice {
    base: *mut u8,
    length: u64,
}

#[repr(C)]
struct MessageHeader {
    name: u64,
    name_length: u64,
    slices: *mut Slice,
    slice_count: u64,
    control: *mut u8,
    control_length: u64,
    flags: i64,
}

/// Bytes of a control message's own header (cmsg(3)): length, level, type.
const CONTROL_HEADER: usize = 16;

fn receive(socket: u64) -> Received {
    let mut control = [0u64; (CONTROL_HEADER + 4 * DESCRIPTORS_MAX) / 8];
    let buffer = addr_of_mut!(BUFFER).cast::<u8>();
    let mut slice = Slice { base: buffer, length: REQUEST_BYTES_MAX as u64 };
    let mut header = MessageHeader {
        name: 0,
        name_length: 0,
        slices: &raw mut slice,
        slice_count: 1,
        control: control.as_mut_ptr().cast(),
        control_length: size_of_val(&control) as u64,
        flags: 0,
    };
    let length = loop {
        // SAFETY: every pointer of the header is to live memory of the length beside it.
        match unsafe { call(RECVMSG, [socket, (&raw mut header) as u64, MSG_CMSG_CLOEXEC, 0, 0, 0]) } {
            EINTR => {}
            0 => return Received::End,
            length @ 1.. => break length as usize,
            _ => return Received::Nonsense,
        }
    };
    let mut descriptors = [-1; DESCRIPTORS_MAX];
    let mut descriptor_count = 0;
    if header.control_length as usize >= CONTROL_HEADER {
        descriptor_count = (control[0] as usize).saturating_sub(CONTROL_HEADER) / 4;
        for (index, descriptor) in descriptors.iter_mut().enumerate().take(descriptor_count) {
            let word = control[(CONTROL_HEADER + 4 * index) / 8];
            *descriptor = if index % 2 == 0 { word as i32 } else { (word >> 32) as i32 };
        }
    }
    match parse(buffer, length) {
        Some((calls, count, data)) if (2..=DESCRIPTORS_MAX).contains(&descriptor_count) => {
            Received::Request(Request { calls, count, data, descriptors, descriptor_count })
        }
        _ => Received::Nonsense,
    }
}

/// Finds the parts of a request and applies its relocations.
fn parse(buffer: *mut u8, length: usize) -> Option<(*const Call, u32, *mut u8)> {
    if length < size_of::<Header>() {
        return None;
    }
    // SAFETY: the buffer is aligned to 16 and as long as was just checked; any bits are a Header.
    let [magic, calls, relocations, data_bytes] = unsafe { *buffer.cast::<Header>() };
    let calls_at = size_of::<Header>();
    let relocations_at = (calls as usize).checked_mul(size_of::<Call>())?.checked_add(calls_at)?;
    let data_at = (relocations as usize).checked_mul(4)?.checked_add(relocations_at)?;
    let end = data_at.checked_add(data_bytes as usize)?;
    if magic != MAGIC || end != length {
        return None;
    }
    let data = buffer.wrapping_add(data_at);
    for index in 0..relocations as usize {
        let at = buffer.wrapping_add(relocations_at + 4 * index);
        // SAFETY: within the buffer, since the relocations end before its end.
        let offset = unsafe { at.cast::<u32>().read_unaligned() } as usize;
        if offset.checked_add(8)? > data_bytes as usize {
            return None;
        }
        let word = data.wrapping_add(offset).cast::<u64>();
        // SAFETY: within the data, as was just checked.
        unsafe { word.write_unaligned(word.read_unaligned().wrapping_add(data as u64)) };
    }
    Some((buffer.wrapping_add(calls_at).cast(), calls, data))
}

/// Performs the calls of a request; on failure, which one it was and its errno.
fn perform(request: &Request) -> Result<(), (u32, i64)> {
    for index in 0..request.count {
        // SAFETY: `parse` found this many calls in the buffer. The header's 16 bytes and the calls' size keep them aligned.
        let one = unsafe { *request.calls.wrapping_add(index as usize) };
        let mut arguments = one.arguments;
        for (place, argument) in arguments.iter_mut().enumerate() {
            match one.kinds >> (2 * place) & 3 {
                DATA => *argument += request.data as u64,
                DESCRIPTOR => {
                    let index = *argument as usize;
                    *argument = request.descriptors.get(index).map_or(u64::MAX, |fd| *fd as u64);
                }
                LITERAL => {}
                _ => return Err((index, EINVAL)),
            }
        }
        // SAFETY: the request is made by the keeper, which has all rights that we have; its addresses point into its own data.
        let answer = unsafe { call(u64::from(one.number), arguments) };
        let fine = if answer < 0 {
            one.tolerated != 0 && -answer == i64::from(one.tolerated)
        } else {
            one.expected < 0 || answer == i64::from(one.expected)
        };
        if !fine {
            return Err((index, answer));
        }
    }
    Ok(())
}

/// Writes one report. A keeper that is gone needs none.
fn report(pipe: i32, tag: u32, value: i32) {
    let record = [tag, value as u32];
    // SAFETY: eight live bytes.
    unsafe { call(WRITE, [pipe as u64, record.as_ptr() as u64, 8, 0, 0, 0]) };
}

/// Serves one request. True in the fork, when every call succeeded.
fn serve_one(request: &Request, home: u64, thread: &Thread, arena: Option<Arena>) -> bool {
    let [namespace, pipe] = [request.descriptors[PID_NAMESPACE], request.descriptors[REPORT]];
    // SAFETY: a descriptor and a flag.
    let entered = unsafe { call(SETNS, [namespace as u64, CLONE_NEWPID, 0, 0, 0, 0]) };
    if entered < 0 {
        report(pipe, REFUSED, -entered as i32);
        return false;
    }
    let mut inside = 0i32;
    let mut flags = CLONE_PARENT_SETTID;
    if thread.tid_address != 0 {
        flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
    }
    let arguments = CloneArguments {
        flags,
        pidfd: 0,
        child_tid: thread.tid_address,
        parent_tid: (&raw mut inside) as u64,
        exit_signal: SIGCHLD,
        rest: [0; 6],
    };
    // SAFETY: called with the interpreter's lock held, as every method is.
    unsafe { PyOS_BeforeFork() };
    // SAFETY: the zygote has one thread (`zygote.py` looks), and the arguments ask for a copy of memory.
    match unsafe { fork_through_the_middle(&arguments) } {
        Side::Fork => {
            thread.register();
            if let Err((index, answer)) = perform(request) {
                report(pipe, FAILED + index, -answer.min(0) as i32);
                // SAFETY: ends the process.
                unsafe { call(EXIT_GROUP, [1, 0, 0, 0, 0, 0]) };
            }
            report(pipe, CONFINED, 0);
            // SAFETY: nothing in the fork knows a descriptor from here on.
            unsafe { call(CLOSE_RANGE, [KEPT, u64::from(u32::MAX), 0, 0, 0, 0]) };
            if let Some(arena) = arena {
                arena.open();
            }
            // SAFETY: the fork, as the function demands.
            unsafe { PyOS_AfterFork_Child() };
            true
        }
        Side::Zygote(middle) => {
            let mut status = 0i32;
            if middle > 0 {
                // SAFETY: a live word for the status.
                while unsafe { call(WAIT4, [middle as u64, (&raw mut status) as u64, WALL, 0, 0, 0]) }
                    == EINTR
                {}
            }
            // SAFETY: a descriptor of our own namespace and a flag. If it failed, the next request enters another anyway.
            unsafe { call(SETNS, [home, CLONE_NEWPID, 0, 0, 0, 0]) };
            // SAFETY: the zygote, as the function demands.
            unsafe { PyOS_AfterFork_Parent() };
            match (middle, status >> 8 & 0xff) {
                (1.., 0) => report(pipe, FORKED, inside),
                (1.., errno) => report(pipe, REFUSED, errno),
                (errno, _) => report(pipe, REFUSED, -errno as i32),
            }
            false
        }
    }
}

/// `serve(socket)`: serves requests until the other end of the socket is gone. Returns 1 in each fork, 0 in the zygote at the end,
/// -1 if something came that is no request.
extern "C" fn serve(_module: *mut c_void, socket: *mut c_void) -> *mut c_void {
    // SAFETY: the interpreter passes an object; one that is no number becomes -1, of which nothing is received.
    let socket = unsafe { PyLong_AsLong(socket) } as u64;
    // SAFETY: no arguments.
    let own = unsafe { call(GETPID, [0; 6]) };
    // SAFETY: plain numbers.
    let home = unsafe { call(PIDFD_OPEN, [own as u64, 0, 0, 0, 0, 0]) };
    let (thread, arena) = (Thread::of_caller(), Arena::find());
    let answer = loop {
        match receive(socket) {
            Received::End => break 0,
            Received::Nonsense => break -1,
            Received::Request(request) => {
                if serve_one(&request, home as u64, &thread, arena) {
                    break 1;
                }
                for descriptor in &request.descriptors[..request.descriptor_count] {
                    // SAFETY: the descriptor came with the request, and nothing else knows it.
                    unsafe { call(CLOSE_RANGE, [*descriptor as u64, *descriptor as u64, 0, 0, 0, 0]) };
                }
            }
        }
    };
    // SAFETY: a number.
    unsafe { PyLong_FromLong(answer) }
}

/// `PyMethodDef`.
#[repr(C)]
struct MethodDefinition {
    name: *const c_char,
    call: Option<extern "C" fn(*mut c_void, *mut c_void) -> *mut c_void>,
    flags: c_int,
    doc: *const c_char,
}

/// `PyModuleDef`, whose layout the stable ABI keeps (PEP 384), for interpreters with a global lock.
#[repr(C)]
struct ModuleDefinition {
    references: isize,
    kind: *mut c_void,
    init: *mut c_void,
    index: isize,
    copy: *mut c_void,
    name: *const c_char,
    doc: *const c_char,
    size: isize,
    methods: *mut MethodDefinition,
    slots: *mut c_void,
    traverse: *mut c_void,
    clear: *mut c_void,
    free: *mut c_void,
}

/// METH_O: one argument.
const ONE_ARGUMENT: c_int = 8;
/// PYTHON_ABI_VERSION of the stable ABI.
const STABLE_ABI: c_int = 3;

static mut METHODS: [MethodDefinition; 2] = [
    MethodDefinition { name: c"serve".as_ptr(), call: Some(serve), flags: ONE_ARGUMENT, doc: null() },
    MethodDefinition { name: null(), call: None, flags: 0, doc: null() },
];

static mut MODULE: ModuleDefinition = ModuleDefinition {
    references: 1,
    kind: null_mut(),
    init: null_mut(),
    index: 0,
    copy: null_mut(),
    name: c"fork".as_ptr(),
    doc: null(),
    size: -1,
    methods: addr_of_mut!(METHODS).cast(),
    slots: null_mut(),
    traverse: null_mut(),
    clear: null_mut(),
    free: null_mut(),
};

/// Makes the module, for the interpreter's import.
#[unsafe(no_mangle)]
pub extern "C" fn PyInit_fork() -> *mut c_void {
    // SAFETY: the definition lives as long as the process and is the interpreter's from here on.
    unsafe { PyModule_Create2(addr_of_mut!(MODULE), STABLE_ABI) }
}

/// Nothing here panics on purpose; what the compiler leaves as a check ends the process.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        // SAFETY: ends the process.
        unsafe { call(EXIT_GROUP, [70, 0, 0, 0, 0, 0]) };
    }
}
