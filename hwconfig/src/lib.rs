//! Hardware profiles: TOML in, a validated plan of ports, cores and memory out.
