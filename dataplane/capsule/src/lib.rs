//! The only door to DPDK: EAL, ports, queues, mempools and mbufs as owned types, and their in-memory twin.
