//! Memory for the first objects of a fork: a region of its own, handed out from one end.
//!
//! The interpreter's own allocator keeps free blocks between those in use. In a fork all its pages are shared with the zygote, so
//! that each object made touches two of them, the block's and its pool's head, and the kernel copies both. Here new objects lie
//! side by side in pages that were never written. When the region is used up, or for what is large, the interpreter's own
//! allocator serves as before. What is given back is used again only if it was handed out last.
//!
//! A program may have several interpreters, each with its own lock (PEP 684), so what is handed out is counted atomically.

use core::ffi::{c_char, c_int, c_void};
use core::ptr::{addr_of_mut, copy_nonoverlapping, null_mut, write_bytes};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes of the region. A program that makes more objects is long enough not to notice.
const REGION_BYTES: usize = 1 << 20;
/// Largest block: as the interpreter's own allocator has it for small objects.
const BLOCK_BYTES_MAX: usize = 512;
/// Before each block, its size.
const HEAD_BYTES: usize = size_of::<usize>();
const ALIGNMENT: usize = 16;

/// Domains of `PyMemAllocatorDomain`: the interpreter's buffers, and its objects.
const DOMAINS: [c_int; 2] = [1, 2];

/// `PyMemAllocatorEx`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Allocator {
    /// What each of its functions is given first.
    pub context: *mut c_void,
    /// As the C library's of this name.
    pub malloc: Option<unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void>,
    /// As the C library's of this name.
    pub calloc: Option<unsafe extern "C" fn(*mut c_void, usize, usize) -> *mut c_void>,
    /// As the C library's of this name.
    pub realloc: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, usize) -> *mut c_void>,
    /// As the C library's of this name.
    pub free: Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>,
}

const NONE: Allocator =
    Allocator { context: null_mut(), malloc: None, calloc: None, realloc: None, free: None };

#[repr(C, align(4096))]
struct Region([u8; REGION_BYTES]);

static mut REGION: Region = Region([0; REGION_BYTES]);
/// Bytes handed out so far.
static USED: AtomicUsize = AtomicUsize::new(0);
/// The interpreter's own, for each domain.
static mut USUAL: [Allocator; DOMAINS.len()] = [NONE; DOMAINS.len()];

type Access = unsafe extern "C" fn(c_int, *mut Allocator);

unsafe extern "C" {
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// The interpreter's functions that tell and set the allocator of a domain; looked up before any fork.
#[derive(Clone, Copy)]
pub struct Arena {
    get: Access,
    set: Access,
}

impl Arena {
    /// None where the interpreter has no such functions.
    pub fn find() -> Option<Self> {
        let find = |name: &core::ffi::CStr| {
            // SAFETY: a null library means all that are loaded, and the name ends with a NUL.
            let found = unsafe { dlsym(null_mut(), name.as_ptr()) };
            // SAFETY: both symbols are functions of this type since Python 3.4.
            (!found.is_null()).then(|| unsafe { core::mem::transmute::<*mut c_void, Access>(found) })
        };
        Some(Self { get: find(c"PyMem_GetAllocator")?, set: find(c"PyMem_SetAllocator")? })
    }

    /// Has the interpreter make its small objects in the region from now on. To be called once, in a fork.
    pub fn open(self) {
        for (index, domain) in DOMAINS.into_iter().enumerate() {
            let usual = addr_of_mut!(USUAL).cast::<Allocator>().wrapping_add(index);
            let mut ours = Allocator {
                context: usual.cast(),
                malloc: Some(malloc),
                calloc: Some(calloc),
                realloc: Some(realloc),
                free: Some(free),
            };
            // SAFETY: a domain, and a place for its allocator that lives as long as the process.
            unsafe { (self.get)(domain, usual) };
            // SAFETY: likewise; the interpreter copies what it is given. It was just told what serves as before.
            unsafe { (self.set)(domain, &raw mut ours) };
        }
    }
}

fn region() -> *mut u8 {
    addr_of_mut!(REGION).cast()
}

/// The size of a block of the region; `None` if it is none.
fn size_of_block(block: *mut c_void) -> Option<usize> {
    let offset = (block as usize).wrapping_sub(region() as usize);
    // SAFETY: before each block that was handed out lies its size, which `take` wrote; nobody else hands out such addresses.
    (offset < REGION_BYTES).then(|| unsafe { block.cast::<usize>().sub(1).read() })
}

/// Bytes between the beginnings of two blocks, if the first has this size.
fn stride(size: usize) -> usize {
    (size + HEAD_BYTES).next_multiple_of(ALIGNMENT)
}

/// Takes a block from the region; null if there is no room, or if it is large. Its content is zero, or what was given back.
fn take(size: usize) -> *mut c_void {
    if size > BLOCK_BYTES_MAX {
        return null_mut();
    }
    let mut used = USED.load(Relaxed);
    loop {
        let next = used + stride(size);
        if next + ALIGNMENT > REGION_BYTES {
            return null_mut();
        }
        match USED.compare_exchange_weak(used, next, Relaxed, Relaxed) {
            Ok(_) => break,
            Err(now) => used = now,
        }
    }
    // Of the first stride only the last word is used: the head of the block behind it.
    let block = region().wrapping_add(used + ALIGNMENT);
    // SAFETY: within the region, aligned, and nobody's: what lies between `used` and `next` was just claimed.
    unsafe { block.cast::<usize>().sub(1).write(size) };
    block.cast()
}

/// Where a block ends, in terms of [`USED`] when it was handed out last.
fn end(block: *mut c_void, size: usize) -> usize {
    start(block) + stride(size)
}

/// What [`USED`] was before the block was handed out.
fn start(block: *mut c_void) -> usize {
    block as usize - region() as usize - ALIGNMENT
}

/// Makes the block that was handed out last longer, where it is. False if it is another, or too long.
fn grow(block: *mut c_void, old: usize, size: usize) -> bool {
    if size > BLOCK_BYTES_MAX || start(block) + stride(size) + ALIGNMENT > REGION_BYTES {
        return false;
    }
    let grown = USED.compare_exchange(end(block, old), start(block) + stride(size), Relaxed, Relaxed).is_ok();
    if grown {
        // SAFETY: the head of a block of the region, whose owner calls.
        unsafe { block.cast::<usize>().sub(1).write(size) };
    }
    grown
}

/// As the C library's; `usual` is the place of the [`Allocator`] that serves what the region does not.
///
/// # Safety
/// As that demands.
pub unsafe extern "C" fn malloc(usual: *mut c_void, size: usize) -> *mut c_void {
    let block = take(size);
    if !block.is_null() {
        return block;
    }
    // SAFETY: `open` passes the place of the usual allocator as context.
    let usual = unsafe { *usual.cast::<Allocator>() };
    // SAFETY: the usual function with its own context.
    usual.malloc.map_or(null_mut(), |malloc| unsafe { malloc(usual.context, size) })
}

/// As the C library's; `usual` is the place of the [`Allocator`] that serves what the region does not.
///
/// # Safety
/// As that demands.
pub unsafe extern "C" fn calloc(usual: *mut c_void, count: usize, size: usize) -> *mut c_void {
    let bytes = count.saturating_mul(size);
    let block = take(bytes);
    if !block.is_null() {
        // SAFETY: just taken, of this size. It may have been given back before.
        unsafe { write_bytes(block.cast::<u8>(), 0, bytes) };
        return block;
    }
    // SAFETY: as in `malloc`.
    let usual = unsafe { *usual.cast::<Allocator>() };
    // SAFETY: as in `malloc`.
    usual.calloc.map_or(null_mut(), |calloc| unsafe { calloc(usual.context, count, size) })
}

/// As the C library's; `usual` is the place of the [`Allocator`] that serves what the region does not.
///
/// # Safety
/// As that demands.
pub unsafe extern "C" fn realloc(usual: *mut c_void, block: *mut c_void, size: usize) -> *mut c_void {
    let Some(old) = size_of_block(block) else {
        // SAFETY: as in `malloc`; a block that is not the region's is the usual allocator's, or null.
        let usual = unsafe { *usual.cast::<Allocator>() };
        // SAFETY: as above.
        return usual.realloc.map_or(null_mut(), |realloc| unsafe { realloc(usual.context, block, size) });
    };
    if stride(size) <= stride(old) {
        // A smaller one keeps its room, and a larger one is told to be so: what it holds is copied by this size later.
        // SAFETY: the head of a block of the region, whose owner calls.
        unsafe { block.cast::<usize>().sub(1).write(size.max(old)) };
        return block;
    }
    if grow(block, old, size) {
        return block;
    }
    // SAFETY: the context is passed on.
    let moved = unsafe { malloc(usual, size) };
    if !moved.is_null() {
        // SAFETY: both are at least `old` bytes long, and two blocks are apart.
        unsafe { copy_nonoverlapping(block.cast::<u8>(), moved.cast::<u8>(), old) };
    }
    moved
}

/// As the C library's; `usual` is the place of the [`Allocator`] that serves what the region does not.
///
/// # Safety
/// As that demands.
pub unsafe extern "C" fn free(usual: *mut c_void, block: *mut c_void) {
    match size_of_block(block) {
        // If it was not the last, it stays.
        Some(size) => drop(USED.compare_exchange(end(block, size), start(block), Relaxed, Relaxed)),
        None => {
            // SAFETY: as in `malloc`.
            let usual = unsafe { *usual.cast::<Allocator>() };
            if let Some(free) = usual.free {
                // SAFETY: as in `realloc`.
                unsafe { free(usual.context, block) };
            }
        }
    }
}
