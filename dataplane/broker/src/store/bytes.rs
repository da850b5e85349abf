//! Blobs: strings and payloads in chains of small units.

use superpage::{ChunkPool, NIL, Placement, RegionError, Tier, record};

/// Names a blob: its first unit, or [`EMPTY`].
pub(crate) type BlobId = u32;

/// The blob of no bytes. It takes no unit and is legal in every call.
pub(crate) const EMPTY: BlobId = NIL;

record! {
    /// Where a reader of a blob has come to. It stays good while bytes are appended.
    #[derive(PartialEq, Eq)]
    pub(crate) struct BlobCursor {
        /// The unit that holds the byte before `at`; the first unit when `at` is 0.
        pub(crate) chunk: u32,
        /// Bytes before the next one to read.
        pub(crate) at: u32,
    }
}

/// Blobs of any length in units of one size.
///
/// The first unit begins with eight bytes: the blob's length and its last unit, so appending is
/// O(bytes). A blob of n bytes takes ⌈(n + 8) / unit⌉ units, and each unit four more for its link.
#[derive(Debug)]
pub(crate) struct ByteStore {
    pool: ChunkPool,
}

impl ByteStore {
    /// Makes an empty store.
    ///
    /// # Panics
    /// When a unit is no larger than the header of a blob.
    pub(crate) fn create(
        name: &str,
        unit_bytes: u32,
        units: u32,
        placement: Placement,
    ) -> Result<Self, RegionError> {
        assert!(unit_bytes as usize > HEADER_BYTES, "a unit must hold a header and a byte");
        Ok(Self { pool: ChunkPool::create(name, unit_bytes, units, placement)? })
    }

    /// Bytes of such a store.
    pub(crate) const fn bytes_for(unit_bytes: u32, units: u32) -> usize {
        ChunkPool::bytes_for(unit_bytes, units)
    }

    /// Stores a copy of `bytes`; `None` when there are not enough free units.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Option<BlobId> {
        let mut blob = EMPTY;
        self.append(&mut blob, bytes).then_some(blob)
    }

    /// Adds `bytes` at the end of `blob`, all or none; `false` when there are not enough free
    /// units. The empty blob becomes a new one.
    pub(crate) fn append(&mut self, blob: &mut BlobId, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            return true;
        }
        let len = self.len(*blob);
        if u32::try_from(len + bytes.len()).is_err() {
            return false;
        }
        let needed = self.units(len + bytes.len()) - self.units(len);
        if needed > self.pool.free_count() as usize {
            return false;
        }
        if *blob == EMPTY {
            *blob = self.take_unit();
            self.set_header(*blob, 0, *blob);
        }
        self.append_reserved(*blob, len, bytes);
        true
    }

    /// Bytes of a blob.
    pub(crate) fn len(&self, blob: BlobId) -> usize {
        if blob == EMPTY { 0 } else { self.header(blob).0 as usize }
    }

    /// Whether a blob is exactly `bytes`.
    pub(crate) fn eq(&self, blob: BlobId, bytes: &[u8]) -> bool {
        if self.len(blob) != bytes.len() {
            return false;
        }
        let (mut unit, mut start, mut rest) = (blob, HEADER_BYTES, bytes);
        while !rest.is_empty() {
            let stored = &self.pool.bytes(unit)[start..];
            let (part, after) = rest.split_at(stored.len().min(rest.len()));
            if stored[..part.len()] != *part {
                return false;
            }
            (unit, start, rest) = (self.pool.next(unit), 0, after);
        }
        true
    }

    /// Copies from `offset` on until the blob or `into` ends; returns the number of bytes. To read
    /// a long blob piece by piece, use a cursor.
    pub(crate) fn read(&self, blob: BlobId, offset: usize, into: &mut [u8]) -> usize {
        let len = self.len(blob);
        if offset >= len {
            return 0;
        }
        let mut cursor = self.start(blob);
        // Up to the unit that holds the byte before `offset`.
        for _ in 1..self.units(offset) {
            cursor.chunk = self.pool.next(cursor.chunk);
        }
        cursor.at = offset as u32;
        self.read_next(blob, &mut cursor, into)
    }

    /// A cursor at the first byte of `blob`, which must not be the empty one if bytes are to be
    /// appended later.
    pub(crate) fn start(&self, blob: BlobId) -> BlobCursor {
        BlobCursor { chunk: blob, at: 0 }
    }

    /// Copies from the cursor on until the blob or `into` ends, and moves the cursor along.
    pub(crate) fn read_next(
        &self,
        blob: BlobId,
        cursor: &mut BlobCursor,
        into: &mut [u8],
    ) -> usize {
        let rest = self.len(blob) - cursor.at as usize;
        let wanted = rest.min(into.len());
        let mut into = &mut into[..wanted];
        while !into.is_empty() {
            let start = self.enter_unit(cursor);
            let stored = &self.pool.bytes(cursor.chunk)[start..];
            let (part, after) = into.split_at_mut(stored.len().min(into.len()));
            part.copy_from_slice(&stored[..part.len()]);
            cursor.at += part.len() as u32;
            into = after;
        }
        wanted
    }

    /// Gives all units of a blob back.
    ///
    /// # Panics
    /// When the blob is not there.
    pub(crate) fn release(&mut self, blob: BlobId) {
        self.pool.free_chain(blob);
    }

    /// Units that are free.
    pub(crate) fn free_units(&self) -> u32 {
        self.pool.free_count()
    }

    /// Bytes of one unit.
    pub(crate) fn unit_bytes(&self) -> u32 {
        self.pool.chunk_bytes()
    }

    /// What the store lies on and how much of it.
    pub(crate) fn region(&self) -> (Tier, usize) {
        (self.pool.tier(), self.pool.region_bytes())
    }

    /// Units of a blob of `len` bytes.
    fn units(&self, len: usize) -> usize {
        if len == 0 { 0 } else { (len + HEADER_BYTES).div_ceil(self.unit_bytes() as usize) }
    }

    /// Moves a cursor whose unit is read to the end into the next one. Returns where in its unit
    /// the next byte lies.
    fn enter_unit(&self, cursor: &mut BlobCursor) -> usize {
        let position = cursor.at as usize + HEADER_BYTES;
        let start = position % self.unit_bytes() as usize;
        if start == 0 {
            cursor.chunk = self.pool.next(cursor.chunk);
        }
        start
    }

    fn append_reserved(&mut self, blob: BlobId, len: usize, bytes: &[u8]) {
        let unit_bytes = self.unit_bytes() as usize;
        let (_, mut last) = self.header(blob);
        let mut position = len + HEADER_BYTES;
        let mut rest = bytes;
        while !rest.is_empty() {
            let start = position % unit_bytes;
            if start == 0 {
                let unit = self.take_unit();
                self.pool.set_next(last, unit);
                last = unit;
            }
            let (part, after) = rest.split_at(rest.len().min(unit_bytes - start));
            self.pool.bytes_mut(last)[start..start + part.len()].copy_from_slice(part);
            position += part.len();
            rest = after;
        }
        self.set_header(blob, (len + bytes.len()) as u32, last);
    }

    fn take_unit(&mut self) -> u32 {
        self.pool.alloc().expect("free units were counted before")
    }

    fn header(&self, blob: BlobId) -> (u32, u32) {
        let bytes = self.pool.bytes(blob);
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        (word(0), word(4))
    }

    fn set_header(&mut self, blob: BlobId, len: u32, last: u32) {
        let bytes = self.pool.bytes_mut(blob);
        bytes[..4].copy_from_slice(&len.to_ne_bytes());
        bytes[4..HEADER_BYTES].copy_from_slice(&last.to_ne_bytes());
    }
}

/// A blob's length and its last unit.
pub(crate) const HEADER_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::test_support::SMALL;

    fn contents(store: &ByteStore, blob: BlobId, piece_bytes: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut cursor = store.start(blob);
        let mut piece = vec![0; piece_bytes];
        loop {
            let read = store.read_next(blob, &mut cursor, &mut piece);
            if read == 0 {
                return bytes;
            }
            bytes.extend_from_slice(&piece[..read]);
        }
    }

    #[test]
    fn filter_of_24_bytes_takes_one_unit_of_32() {
        let mut store = ByteStore::create("b", 32, 2, SMALL).unwrap();
        let blob = store.put(&[b'x'; 24]).unwrap();
        assert_eq!((store.len(blob), store.free_units()), (24, 1));
        assert_eq!(store.put(&[b'x'; 25]), None, "two units are not free");
        assert_eq!(store.free_units(), 1, "nothing was taken");
    }

    #[test]
    fn empty_blob_costs_nothing_and_reads_as_nothing() {
        let mut store = ByteStore::create("b", 32, 0, SMALL).unwrap();
        assert_eq!(store.put(b""), Some(EMPTY));
        assert!(store.eq(EMPTY, b"") && !store.eq(EMPTY, b"a"));
        assert_eq!(store.read(EMPTY, 0, &mut [0; 4]), 0);
        store.release(EMPTY);
    }

    #[test]
    fn reader_at_the_end_goes_on_after_bytes_were_appended() {
        let mut store = ByteStore::create("b", 16, 8, SMALL).unwrap();
        // The first part fills the first unit to its last byte.
        let mut blob = store.put(b"12345678").unwrap();
        let mut cursor = store.start(blob);
        let mut into = [0; 32];
        assert_eq!(store.read_next(blob, &mut cursor, &mut into), 8);
        assert!(store.append(&mut blob, b"9abc"));
        assert_eq!(store.read_next(blob, &mut cursor, &mut into), 4);
        assert_eq!(&into[..4], b"9abc");
    }

    proptest! {
        #[test]
        fn blobs_hold_what_was_appended(
            unit_bytes in 9..40_u32,
            parts in prop::collection::vec(
                (0..3_usize, prop::collection::vec(any::<u8>(), 0..70)), 0..40),
            piece_bytes in 1..50_usize,
            offset in 0..200_usize,
        ) {
            let units = 64;
            let mut store = ByteStore::create("b", unit_bytes, units, SMALL).unwrap();
            let mut blobs = [EMPTY; 3];
            let mut model: [Vec<u8>; 3] = Default::default();
            for (at, part) in parts {
                let free = store.free_units();
                if store.append(&mut blobs[at], &part) {
                    model[at].extend_from_slice(&part);
                } else {
                    prop_assert_eq!(store.free_units(), free);
                }
                let used: usize = model.iter().map(|bytes| store.units(bytes.len())).sum();
                prop_assert_eq!(units as usize - used, store.free_units() as usize);
            }
            for (&blob, bytes) in blobs.iter().zip(&model) {
                prop_assert!(store.eq(blob, bytes));
                prop_assert_eq!(store.len(blob), bytes.len());
                prop_assert_eq!(&contents(&store, blob, piece_bytes), bytes);
                let mut into = vec![0; piece_bytes];
                let read = store.read(blob, offset, &mut into);
                let expected = bytes.get(offset..).unwrap_or_default();
                prop_assert_eq!(read, expected.len().min(piece_bytes));
                prop_assert_eq!(&into[..read], &expected[..read]);
                if let Some((last, first)) = bytes.split_last() {
                    let mut other = first.to_vec();
                    other.push(last ^ 1);
                    prop_assert!(!store.eq(blob, &other) && !store.eq(blob, first));
                }
                store.release(blob);
            }
            prop_assert_eq!(store.free_units(), units);
        }
    }
}
