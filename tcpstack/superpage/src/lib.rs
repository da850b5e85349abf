//! Mapped superpage regions, slabs of plain records and chunk pools.
