//! Ephemeral ports (RFC 6056): hard to guess, different for every destination, and owned by this
//! shard.

use siphasher::sip::SipHasher13;

/// Chooses ports for active opens.
#[derive(Debug)]
pub(crate) struct Ports {
    hasher: SipHasher13,
    next: u32,
}

impl Ports {
    pub(crate) fn new(secret: &[u8; 16]) -> Self {
        Self { hasher: SipHasher13::new_with_key(&secret.map(|byte| byte ^ DOMAIN)), next: 0 }
    }

    /// A port for which `is_free` holds. `destination` is anything that names the peer and our
    /// address. RFC 6056 §3.3.3, algorithm 3: offset by destination, one counter.
    pub(crate) fn choose(
        &mut self,
        destination: &[u8],
        mut is_free: impl FnMut(u16) -> bool,
    ) -> Option<u16> {
        let offset = self.hasher.hash(destination) as u32;
        (0..PORTS).find_map(|_| {
            self.next = self.next.wrapping_add(1);
            let port = PORT_MIN + (offset.wrapping_add(self.next) % PORTS) as u16;
            is_free(port).then_some(port)
        })
    }
}

/// RFC 6335 §6 has 49152 to 65535 for this; RFC 6056 §3.2 asks for more. The range starts where
/// kernels start theirs.
const PORT_MIN: u16 = 32_768;
const PORTS: u32 = 65_536 - PORT_MIN as u32;
const DOMAIN: u8 = 0x36;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_free_port_is_found_and_then_none() {
        let mut ports = Ports::new(&[1; 16]);
        let mut taken = HashSet::new();
        while let Some(port) = ports.choose(b"peer", |port| port % 5 == 0 && !taken.contains(&port))
        {
            taken.insert(port);
        }
        assert_eq!(taken.len(), (PORT_MIN..=u16::MAX).filter(|port| port % 5 == 0).count());
    }

    #[test]
    fn destinations_begin_at_different_ports() {
        let first = Ports::new(&[1; 16]).choose(b"one", |_| true);
        assert_ne!(first, Ports::new(&[1; 16]).choose(b"two", |_| true));
        assert_ne!(first, Ports::new(&[2; 16]).choose(b"one", |_| true));
    }
}
