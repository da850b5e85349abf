//! TCP/IP for millions of mostly idle connections: frames and time in, events, stream bytes and frames out.
