//! Drives brokers by bytes: clients of both versions on one, two and three shards.

mod net;
mod packet;

mod basics;
