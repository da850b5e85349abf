//! `echo` and `echo-once`: bytes go from the frame straight into the send queue; what does not fit
//! waits in the receive buffer until the stack says `Writable`.

use tcpstack::{ConnId, Stack};

use super::Owner;

/// RFC 862: fresh bytes go out at once unless earlier ones still wait.
pub(super) fn data(now_ns: u64, stack: &mut Stack, conn: ConnId, bytes: &[u8]) {
    let sent = if stack.backlog(conn) == 0 { stack.send(now_ns, conn, bytes) } else { 0 };
    stack.keep(conn, &bytes[sent..]);
    if sent < bytes.len() {
        stack.want_writable(conn);
    }
}

/// The first chunk goes back and ends the connection; later ones are read and forgotten.
pub(super) fn first_chunk(
    now_ns: u64,
    stack: &mut Stack,
    conn: ConnId,
    bytes: &[u8],
    closing: bool,
) {
    if closing {
        return stack.keep(conn, &[]);
    }
    let sent = stack.send(now_ns, conn, bytes);
    stack.keep(conn, &bytes[sent..]);
    if sent == bytes.len() {
        Owner::Nobody.assign(stack, conn);
        stack.close(now_ns, conn);
    } else {
        Owner::EchoOnce { closing: true }.assign(stack, conn);
        stack.want_writable(conn);
    }
}

/// Moves buffered bytes to the send queue while it has room; closes when nothing more will come.
pub(super) fn pump(now_ns: u64, stack: &mut Stack, conn: ConnId, scratch: &mut [u8]) {
    loop {
        let room = stack.send_space(conn).min(scratch.len());
        let len = stack.peek(conn, &mut scratch[..room]);
        if len == 0 {
            break;
        }
        let sent = stack.send(now_ns, conn, &scratch[..len]);
        stack.consume(conn, sent);
    }
    if stack.backlog(conn) > 0 {
        stack.want_writable(conn);
        return;
    }
    let owner = Owner::of(stack, conn);
    if matches!(owner, Owner::Echo { peer_closed: true } | Owner::EchoOnce { closing: true }) {
        Owner::Nobody.assign(stack, conn);
        stack.close(now_ns, conn);
    }
}
