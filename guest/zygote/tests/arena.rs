//! The region for a fork's first objects, beside an allocator that is the C library's: no block is anybody else's, none is cut,
//! whatever order they are made, grown and given back in.

#[path = "../src/arena.rs"]
#[expect(dead_code, reason = "there is no interpreter here to be given the allocator")]
mod arena;

use arena::{Allocator, calloc, free, malloc, realloc};
use std::ffi::c_void;
use std::ptr::null_mut;

/// How far from its beginning a block of the region may be.
const REGION_BYTES: usize = 1 << 20;

unsafe extern "C" fn usual_malloc(_: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: any size may be asked for.
    unsafe { libc::malloc(size) }
}
unsafe extern "C" fn usual_calloc(_: *mut c_void, count: usize, size: usize) -> *mut c_void {
    // SAFETY: any size may be asked for.
    unsafe { libc::calloc(count, size) }
}
unsafe extern "C" fn usual_realloc(_: *mut c_void, block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's block is the C library's.
    unsafe { libc::realloc(block, size) }
}
unsafe extern "C" fn usual_free(_: *mut c_void, block: *mut c_void) {
    // SAFETY: the caller's block is the C library's.
    unsafe { libc::free(block) }
}

/// A block, and what was written to it.
struct Block {
    at: *mut u8,
    content: Vec<u8>,
}

impl Block {
    fn check(&self) {
        assert_eq!(self.at as usize % 16, 0);
        // SAFETY: the block is this long.
        let found = unsafe { std::slice::from_raw_parts(self.at, self.content.len()) };
        assert_eq!(found, self.content);
    }

    fn fill(&mut self, size: usize, byte: u8) {
        self.content = vec![byte; size];
        // SAFETY: the block is this long.
        unsafe { std::ptr::write_bytes(self.at, byte, size) };
    }
}

/// Numbers as good as any, the same in each run (xorshift).
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) as usize
}

#[test]
fn every_block_keeps_what_was_written_to_it() {
    let mut usual = Allocator {
        context: null_mut(),
        malloc: Some(usual_malloc),
        calloc: Some(usual_calloc),
        realloc: Some(usual_realloc),
        free: Some(usual_free),
    };
    let context: *mut c_void = (&raw mut usual).cast();
    let (mut blocks, mut state): (Vec<Block>, u64) = (Vec::new(), 88_172_645_463_325_252);
    // The first of all is the region's.
    let (mut first, mut from_region) = (None, 0);
    for step in 0..200_000usize {
        let size = match next(&mut state) % 20 {
            0 => 4096,
            1 => 512,
            _ => 1 + next(&mut state) % 120,
        };
        let byte = step as u8;
        match next(&mut state) % 8 {
            0..=2 => {
                // SAFETY: the context is an allocator, as it has to be.
                let at = unsafe { malloc(context, size) }.cast::<u8>();
                let first = *first.get_or_insert(at as usize);
                from_region += usize::from((at as usize).wrapping_sub(first) < REGION_BYTES);
                let mut block = Block { at, content: Vec::new() };
                block.fill(size, byte);
                blocks.push(block);
            }
            3 => {
                // SAFETY: likewise.
                let at = unsafe { calloc(context, 1, size) }.cast();
                let mut block = Block { at, content: vec![0; size] };
                block.check();
                block.fill(size, byte);
                blocks.push(block);
            }
            kind @ 4..=5 if !blocks.is_empty() => {
                // The last one is where it was made, more often than chance has it.
                let index = if kind == 4 { blocks.len() - 1 } else { next(&mut state) % blocks.len() };
                let block = &mut blocks[index];
                block.check();
                let kept = size.min(block.content.len());
                // SAFETY: the block is a live one of this allocator.
                block.at = unsafe { realloc(context, block.at.cast(), size) }.cast();
                block.content.truncate(kept);
                block.check();
                block.fill(size, byte);
            }
            kind if !blocks.is_empty() => {
                let index = if kind == 6 { blocks.len() - 1 } else { next(&mut state) % blocks.len() };
                let block = blocks.swap_remove(index);
                block.check();
                // SAFETY: nobody uses it any more.
                unsafe { free(context, block.at.cast()) };
            }
            _ => {}
        }
    }
    blocks.iter().for_each(Block::check);
    assert!(from_region > 1_000, "only {from_region} came from the region");
}
