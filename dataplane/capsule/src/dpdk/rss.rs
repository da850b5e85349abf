//! Receive-side scaling: the key, the hashed flow types, the indirection table.

use std::ptr;

use dpdk_sys as sys;

use crate::port::{PortConfig, PortId};

/// Bytes of the key that Microsoft's RSS specifies, enough for IPv6 with ports.
const KEY_BYTES: usize = 40;

/// Longest key of any known port, with some room.
const KEY_BYTES_MAX: usize = 128;

/// Entries of the indirection table in one record.
const GROUP: usize = sys::SHIM_RETA_GROUP_ENTRIES as usize;

/// RSS as a port will do it.
#[derive(Debug)]
pub(super) struct Rss {
    queues: u16,
    table_entries: u16,
    flow_types: u64,
    /// As long as the port's; `None` leaves the driver's own.
    key: Option<Vec<u8>>,
    key_bytes: usize,
}

impl Rss {
    /// RSS if it is wanted, there is something to spread, and the port can hash TCP over IPv4 to
    /// an indirection table. (Many virtual devices spread flows in ways of their own, or not.)
    pub(super) fn decide(
        config: &PortConfig,
        queues: u16,
        info: &sys::rte_eth_dev_info,
    ) -> Option<Self> {
        // TCP only: what the stack cannot place by its ports shall stay on one queue.
        let wanted = sys::SHIM_RSS_IPV4_TCP | sys::SHIM_RSS_IPV6_TCP | sys::SHIM_RSS_IPV6_TCP_EX;
        let flow_types = info.flow_type_rss_offloads & wanted;
        let offered = info.reta_size > 0 && flow_types & sys::SHIM_RSS_IPV4_TCP != 0;
        if !config.want.rss || queues < 2 || !offered {
            return None;
        }
        let key_bytes = match usize::from(info.hash_key_size) {
            0 => KEY_BYTES,
            bytes => bytes,
        };
        let key = config.rss_key.map(|key| key.into_iter().cycle().take(key_bytes).collect());
        Some(Self { queues, table_entries: info.reta_size, flow_types, key, key_bytes })
    }

    /// For `rte_eth_dev_configure`. It points into `self`.
    #[allow(clippy::needless_update, reason = "later releases of DPDK have more fields")]
    pub(super) fn conf(&mut self) -> sys::rte_eth_rss_conf {
        sys::rte_eth_rss_conf {
            rss_key: self.key.as_mut().map_or(ptr::null_mut(), Vec::as_mut_ptr),
            // Never above KEY_BYTES_MAX: DPDK tells key lengths in one byte.
            rss_key_len: self.key_bytes as u8,
            rss_hf: self.flow_types,
            ..Default::default()
        }
    }

    /// Writes key and table to a started port. Ports where they are fixed refuse, and some took the
    /// key from the configuration: what is read back is what counts.
    pub(super) fn write(&mut self, port: PortId) {
        if self.key.is_some() && self.key != Some(self.read_key(port)) {
            let mut conf = self.conf();
            // SAFETY: the port is started; `conf` points to a key of its length.
            let _ = unsafe { sys::rte_eth_dev_rss_hash_update(port.0, &mut conf) };
        }
        let _ = self.write_table(port);
    }

    /// Writes the indirection table: queues in turn. Returns DPDK's code.
    fn write_table(&self, port: PortId) -> i32 {
        let mut groups = self.groups();
        for (entry, queue) in (0..self.table_entries).zip((0..self.queues).cycle()) {
            let group = &mut groups[usize::from(entry) / GROUP];
            group.reta[usize::from(entry) % GROUP] = queue;
        }
        // SAFETY: the port is started; `groups` has a record for every 64 of `table_entries`.
        unsafe { sys::rte_eth_dev_rss_reta_update(port.0, groups.as_mut_ptr(), self.table_entries) }
    }

    /// The table as the port has it; empty if it does not tell.
    pub(super) fn read_table(&self, port: PortId) -> Vec<u16> {
        let mut groups = self.groups();
        // SAFETY: as in `write_table`; the port may be stopped.
        let code = unsafe {
            sys::rte_eth_dev_rss_reta_query(port.0, groups.as_mut_ptr(), self.table_entries)
        };
        if code != 0 {
            return Vec::new();
        }
        let entries = groups.iter().flat_map(|group| group.reta);
        entries.take(self.table_entries.into()).collect()
    }

    /// The key as the port has it; empty if it does not tell.
    pub(super) fn read_key(&self, port: PortId) -> Vec<u8> {
        let mut key = [0; KEY_BYTES_MAX];
        let mut conf = sys::rte_eth_rss_conf {
            rss_key: key.as_mut_ptr(),
            rss_key_len: KEY_BYTES_MAX as u8,
            ..Default::default()
        };
        // SAFETY: the port exists; `conf` points to a buffer longer than any key.
        let code = unsafe { sys::rte_eth_dev_rss_hash_conf_get(port.0, &mut conf) };
        if code != 0 { Vec::new() } else { key[..self.key_bytes.min(KEY_BYTES_MAX)].to_vec() }
    }

    /// Records for the whole table, all entries selected.
    fn groups(&self) -> Vec<sys::rte_eth_rss_reta_entry64> {
        let count = usize::from(self.table_entries).div_ceil(GROUP);
        vec![sys::rte_eth_rss_reta_entry64 { mask: u64::MAX, ..Default::default() }; count]
    }
}
