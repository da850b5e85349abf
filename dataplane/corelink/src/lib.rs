//! What crosses cores and processes: SPSC byte rings, counter pages, the attach handshake.
