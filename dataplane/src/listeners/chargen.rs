//! `chargen`, RFC 864: lines of a rotating pattern, for as long as the peer takes them. Whatever the
//! peer says is read and forgotten.

use tcpstack::{ConnId, Stack};

use super::Owner;

/// Characters of the pattern: the printable ones of ASCII, the blank first.
const CHARACTERS: u32 = 95;
/// Characters of a line, and of one with its CR and LF.
const LINE_CHARACTERS: u32 = 72;
const LINE_BYTES: u32 = LINE_CHARACTERS + 2;
/// After so many bytes the pattern begins anew.
const PERIOD_BYTES: u32 = CHARACTERS * LINE_BYTES;

const _: () = assert!(PERIOD_BYTES <= Owner::LINK_MASK, "the position fits the user word");

/// Fills the send queue with the pattern from `position` on, and asks to be called when there is
/// room again.
pub(super) fn pump(
    now_ns: u64,
    stack: &mut Stack,
    conn: ConnId,
    position: u32,
    scratch: &mut [u8],
) {
    let mut position = position;
    loop {
        let room = stack.send_space(conn).min(scratch.len());
        if room == 0 {
            break;
        }
        let bytes = &mut scratch[..room];
        write_pattern(bytes, position);
        let sent = stack.send(now_ns, conn, bytes);
        if sent == 0 {
            break;
        }
        position = (position + sent as u32) % PERIOD_BYTES;
    }
    Owner::Chargen { position }.assign(stack, conn);
    stack.want_writable(conn);
}

fn write_pattern(into: &mut [u8], position: u32) {
    for (byte, at) in into.iter_mut().zip(position..) {
        let (line, column) = (at / LINE_BYTES % CHARACTERS, at % LINE_BYTES);
        *byte = match column.checked_sub(LINE_CHARACTERS) {
            None => b' ' + ((line + column) % CHARACTERS) as u8,
            Some(0) => b'\r',
            Some(_) => b'\n',
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_rotate_through_the_printable_characters() {
        let mut bytes = vec![0; 2 * PERIOD_BYTES as usize];
        write_pattern(&mut bytes, 0);
        let line = |n: usize| &bytes[n * LINE_BYTES as usize..][..LINE_BYTES as usize];
        assert!(line(0).starts_with(b" !\"#") && line(0).ends_with(b"efg\r\n"));
        assert!(line(1).starts_with(b"!\"#$") && line(1).ends_with(b"fgh\r\n"));
        assert!(line(94).starts_with(b"~ !\"") && line(94).ends_with(b"def\r\n"));
        assert_eq!(line(95), line(0));
        let mut middle = vec![0; 100];
        write_pattern(&mut middle, 1_234);
        assert_eq!(middle, bytes[1_234..1_334]);
    }
}
