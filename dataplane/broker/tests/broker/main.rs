//! Drives brokers by bytes: clients of both versions on one, two and three shards.

mod net;
mod packet;

mod basics;
mod conformance_flow;
mod conformance_packets;
mod connect;
mod delivery;
mod hostile;
mod publish;
mod retained;
mod take_over;
mod wills;
