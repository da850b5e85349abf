//! Plain records: what a type must promise to live in a region, and the hash of its layout.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// A plain value that may live in shared memory: any bytes are a valid one, it has no padding, no
/// pointer and no niche, and its layout has a hash.
///
/// Implemented for the integers, for arrays of records, and by [`record!`](crate::record!) and
/// [`counters!`](crate::counters!). Do not implement it by hand.
pub trait Record:
    FromBytes + IntoBytes + Immutable + KnownLayout + Copy + Send + Sync + 'static
{
    /// Hash of the names, types and sizes that make up the record. A process refuses a region
    /// whose records were laid out otherwise.
    const LAYOUT_HASH: u64;

    /// The record of all zero bytes: what a fresh region is full of.
    #[must_use]
    fn zeroed() -> Self {
        <Self as FromZeros>::new_zeroed()
    }
}

macro_rules! integers {
    ($($integer:ty),*) => {
        $(impl Record for $integer {
            const LAYOUT_HASH: u64 = hash_text(HASH_SEED, stringify!($integer));
        })*
    };
}

integers!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128);

impl<T: Record, const LEN: usize> Record for [T; LEN] {
    const LAYOUT_HASH: u64 =
        hash_word(hash_word(hash_text(HASH_SEED, "[]"), T::LAYOUT_HASH), LEN as u64);
}

/// What lies in a region, as its header records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Hash of the container's kind and of its record type.
    pub hash: u64,
    /// Bytes of one record.
    pub record_bytes: u32,
    /// Records there is room for.
    pub capacity: u64,
}

impl Layout {
    /// The layout of a container (`kind`: "slab", "array", ...) with `capacity` records of `T`.
    ///
    /// # Panics
    /// When a record is 4 GB or larger.
    #[must_use]
    pub const fn of<T: Record>(kind: &str, capacity: u64) -> Self {
        let bytes = size_of::<T>();
        assert!(bytes <= u32::MAX as usize, "a record must be smaller than 4 GB");
        let hash = hash_word(hash_text(HASH_SEED, kind), T::LAYOUT_HASH);
        Self { hash, record_bytes: bytes as u32, capacity }
    }
}

/// FNV-1a: this hash guards against mistakes, not against an attacker, and must work in `const`.
#[doc(hidden)]
pub const HASH_SEED: u64 = 0xcbf2_9ce4_8422_2325;
const HASH_PRIME: u64 = 0x0000_0100_0000_01b3;

#[doc(hidden)]
#[must_use]
pub const fn hash_text(mut hash: u64, text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(HASH_PRIME);
        at += 1;
    }
    // The length as well, so that neighbouring names cannot run into each other.
    hash_word(hash, bytes.len() as u64)
}

#[doc(hidden)]
#[must_use]
pub const fn hash_word(mut hash: u64, word: u64) -> u64 {
    let bytes = word.to_le_bytes();
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(HASH_PRIME);
        at += 1;
    }
    hash
}

/// Declares a plain record: a `repr(C)` struct with `Clone`, `Copy`, `Debug`, the zerocopy traits
/// and [`Record`], whose layout hash covers the names, types and sizes of all fields.
///
/// Every field must itself be a [`Record`]. Padding is refused by the compiler: order the fields
/// by size or name the gap. A tuple struct of one field makes a typed number. Further attributes,
/// such as `#[derive(PartialEq, Eq)]`, are passed on.
///
/// ```
/// #![forbid(unsafe_code)]
/// use superpage::{Record, record};
///
/// record! {
///     /// A sequence number.
///     #[derive(PartialEq, Eq)]
///     pub struct SeqNum(pub u32);
/// }
/// record! {
///     /// One neighbour.
///     pub struct Neighbor {
///         /// When it was last heard.
///         pub heard_ns: u64,
///         /// Where it is.
///         pub address: [u8; 4],
///         /// What it said.
///         pub seq: SeqNum,
///     }
/// }
///
/// assert_eq!(Neighbor::zeroed().seq, SeqNum(0));
/// assert_eq!(size_of::<Neighbor>(), 16);
/// ```
///
/// ```compile_fail
/// superpage::record! {
///     /// Three bytes of padding after `a`.
///     pub struct Padded { pub a: u8, pub b: u32 }
/// }
/// ```
#[macro_export]
macro_rules! record {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident {
            $($(#[$field_attribute:meta])* $field_visibility:vis $field:ident : $type:ty),* $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(
            Clone,
            Copy,
            Debug,
            $crate::zerocopy::FromBytes,
            $crate::zerocopy::IntoBytes,
            $crate::zerocopy::Immutable,
            $crate::zerocopy::KnownLayout,
        )]
        #[zerocopy(crate = "superpage::zerocopy")]
        #[repr(C)]
        $visibility struct $name {
            $($(#[$field_attribute])* $field_visibility $field: $type,)*
        }

        impl $crate::Record for $name {
            const LAYOUT_HASH: u64 = {
                let hash = $crate::record::HASH_SEED;
                let hash = $crate::record::hash_text(hash, stringify!($name));
                $(
                    let hash = $crate::record::hash_text(hash, stringify!($field));
                    let hash = $crate::record::hash_word(hash, <$type as $crate::Record>::LAYOUT_HASH);
                )*
                $crate::record::hash_word(hash, ::core::mem::size_of::<$name>() as u64)
            };
        }
    };
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident($field_visibility:vis $type:ty);
    ) => {
        $(#[$attribute])*
        #[derive(
            Clone,
            Copy,
            Debug,
            $crate::zerocopy::FromBytes,
            $crate::zerocopy::IntoBytes,
            $crate::zerocopy::Immutable,
            $crate::zerocopy::KnownLayout,
        )]
        #[zerocopy(crate = "superpage::zerocopy")]
        #[repr(transparent)]
        $visibility struct $name($field_visibility $type);

        impl $crate::Record for $name {
            const LAYOUT_HASH: u64 = {
                let hash = $crate::record::HASH_SEED;
                let hash = $crate::record::hash_text(hash, stringify!($name));
                $crate::record::hash_word(hash, <$type as $crate::Record>::LAYOUT_HASH)
            };
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    mod one {
        crate::record! {
            /// The model.
            pub(super) struct Pair { pub(super) left: u32, pub(super) right: [u8; 4] }
        }
    }
    mod renamed_field {
        crate::record! {
            /// Same types, another name.
            pub(super) struct Pair { pub(super) left: u32, pub(super) wrong: [u8; 4] }
        }
    }
    mod retyped_field {
        crate::record! {
            /// Same names and size, another type.
            pub(super) struct Pair { pub(super) left: u32, pub(super) right: [u16; 2] }
        }
    }
    mod nested {
        crate::record! {
            /// Holds the model.
            pub(super) struct Outer { pub(super) pair: super::one::Pair }
        }
    }
    mod nested_changed {
        crate::record! {
            /// Holds the changed model under the same type name.
            pub(super) struct Outer { pub(super) pair: super::retyped_field::Pair }
        }
    }

    #[test]
    fn layout_hash_sees_names_and_types_at_every_depth() {
        let hashes = [
            one::Pair::LAYOUT_HASH,
            renamed_field::Pair::LAYOUT_HASH,
            retyped_field::Pair::LAYOUT_HASH,
            nested::Outer::LAYOUT_HASH,
            nested_changed::Outer::LAYOUT_HASH,
            <[u32; 2]>::LAYOUT_HASH,
            <[u32; 3]>::LAYOUT_HASH,
            <[u64; 2]>::LAYOUT_HASH,
            u32::LAYOUT_HASH,
        ];
        for (at, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..at].contains(hash), "hash {at} repeats an earlier one");
        }
    }

    #[test]
    fn kind_of_container_is_part_of_the_layout() {
        assert_ne!(Layout::of::<u32>("slab", 4).hash, Layout::of::<u32>("array", 4).hash);
    }

    #[test]
    fn zeroed_record_is_all_zero_bytes() {
        assert_eq!(nested::Outer::zeroed().as_bytes(), [0; 8]);
        let pair = one::Pair::zeroed();
        assert_eq!((pair.left, pair.right), (0, [0; 4]));
    }
}
