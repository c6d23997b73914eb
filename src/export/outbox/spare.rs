//! Memory of chunks that have been delivered, for those to come.
//!
//! Chunks are some 60 kB and live for milliseconds, made by one thread and let go by another. Given back to the allocator,
//! much of that memory goes back to the system each time, and a page fetched from it again costs as much as filling it.

use crate::sync::Mutex;

/// A few buffers, 1 MiB at most.
#[derive(Debug, Default)]
pub(super) struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    /// An empty buffer for so many bytes, and not for many more: what waits in an outbox is counted by it.
    pub(super) fn take(&self, len: usize) -> Vec<u8> {
        let mut buffers = self.0.lock();
        let fits = |buffer: &Vec<u8>| buffer.capacity() >= len && buffer.capacity() - len <= len / 16;
        if let Some(place) = buffers.iter().rposition(fits) {
            return buffers.swap_remove(place);
        }
        drop(buffers);
        // A little more, so that it fits the next chunk too, whose numbers may have a digit more.
        Vec::with_capacity(len + len / 64)
    }

    /// Keeps a buffer, unless there are enough of them or it is a large one.
    pub(super) fn give(&self, mut buffer: Vec<u8>) {
        const MOST: usize = 8;
        const LARGEST: usize = 128 * 1024;
        if buffer.capacity() > LARGEST {
            return;
        }
        buffer.clear();
        let mut buffers = self.0.lock();
        let last = if buffers.len() >= MOST { Some(buffers.remove(0)) } else { None };
        buffers.push(buffer);
        drop(buffers);
        drop(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_if_it_fits_and_only_a_few_are_kept() {
        let spare = Spare::default();
        spare.give(Vec::with_capacity(1000));
        assert!(spare.take(1001).capacity() >= 1001);
        assert!(spare.take(900).capacity() < 1000, "too large");
        assert_eq!(spare.take(990).capacity(), 1000);
        assert!(spare.take(990).capacity() != 1000, "it is taken");
        spare.give(Vec::with_capacity(129 * 1024));
        (0..100).for_each(|len| spare.give(vec![0; 1000 + len]));
        let kept = std::mem::take(&mut *spare.0.lock());
        assert_eq!(kept.iter().map(Vec::capacity).collect::<Vec<_>>(), (1092..1100).collect::<Vec<_>>());
        assert!(kept.iter().all(Vec::is_empty));
    }
}
