//! Counter blocks: each counter declared once, with its unit and its help text.

/// What one counter of a block is called and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name, as in the struct.
    pub name: &'static str,
    /// What is counted: `frames`, `bytes`, `segments`, ...
    pub unit: &'static str,
    /// One sentence for people, from the field's doc comment.
    pub help: &'static str,
}

/// Declares a block of `u64` counters: a plain [`Record`](crate::Record) with `Default`, whose
/// `FIELDS` describe the counters and whose `values()` lists them, both in the order written.
///
/// ```
/// #![forbid(unsafe_code)]
/// superpage::counters! {
///     /// Ingress verdicts. Invariant: `received` = `accepted` + every `drop_*`.
///     pub struct RxCounters {
///         /// Frames the NIC queue handed over.
///         received: frames,
///         /// Frames the stack took.
///         accepted: frames,
///         /// Frames dropped:
///         /// bad TCP checksum.
///         drop_checksum: frames,
///     }
/// }
///
/// let mut counters = RxCounters::default();
/// counters.drop_checksum += 3;
/// assert_eq!(counters.values(), [0, 0, 3]);
/// assert_eq!(RxCounters::FIELDS[2].name, "drop_checksum");
/// assert_eq!(RxCounters::FIELDS[2].unit, "frames");
/// assert_eq!(RxCounters::FIELDS[2].help, "Frames dropped: bad TCP checksum.");
/// ```
#[macro_export]
macro_rules! counters {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident {
            $($(#[doc = $help:literal])+ $field:ident : $unit:ident),+ $(,)?
        }
    ) => {
        $crate::record! {
            $(#[$attribute])*
            #[derive(Default, PartialEq, Eq)]
            $visibility struct $name {
                $($(#[doc = $help])+ pub $field: u64,)+
            }
        }

        impl $name {
            /// Name, unit and help of each counter, in the order of [`Self::values`].
            pub const FIELDS: &'static [$crate::Field] = &[
                $($crate::Field {
                    name: stringify!($field),
                    unit: stringify!($unit),
                    help: concat!($($help),+).trim_ascii(),
                },)+
            ];

            /// All counters, in the order of [`Self::FIELDS`].
            #[inline]
            #[must_use]
            pub fn values(&self) -> &[u64] {
                const COUNT: usize = $name::FIELDS.len();
                let values: &[u64; COUNT] = $crate::zerocopy::transmute_ref!(self);
                values
            }
        }
    };
}
