//! Message contents that no other message has, so that a byte of a wrong one is seen.

/// Fills `message` with the content of message `sequence` on connection `connection`.
pub fn fill(message: &mut [u8], connection: u32, sequence: u64) {
    let mut state = sequence ^ (u64::from(connection) << 40);
    for chunk in message.chunks_mut(8) {
        // SplitMix64: neighbouring states have nothing in common.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^= word >> 31;
        let length = chunk.len();
        chunk.copy_from_slice(&word.to_le_bytes()[..length]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(connection: u32, sequence: u64) -> [u8; 20] {
        let mut message = [0; 20];
        fill(&mut message, connection, sequence);
        message
    }

    #[test]
    fn every_message_has_a_content_of_its_own() {
        assert_eq!(message(1, 1), message(1, 1));
        assert_ne!(message(1, 1), message(1, 2));
        assert_ne!(message(1, 1), message(2, 1));
    }
}
