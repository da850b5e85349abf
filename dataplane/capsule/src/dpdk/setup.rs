//! What is asked of a port against what the port can do, decided before anything is changed.

use dpdk_sys as sys;

use super::error::PortError;
use super::mempool::Pool;
use super::rss::Rss;
use super::{error_text, owned};
use crate::batch::BATCH_FRAMES_MAX;
use crate::port::{Offloads, PortConfig, PortId};

/// Ethernet header, two VLAN tags and the checksum that some ports leave on.
const FRAME_OVERHEAD_BYTES: u64 = 14 + 2 * 4 + 4;

/// What `rte_eth_dev_configure` reckons for a port that does not say: header and checksum.
const PORT_OVERHEAD_BYTES: u64 = 14 + 4;

/// A device that EAL has.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) id: PortId,
    /// As the caller names it.
    pub(super) name: String,
    pub(super) driver: String,
}

/// The decided configuration of a device.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) queues: u16,
    pub(super) rx_slots: u16,
    pub(super) tx_slots: u16,
    pub(super) mtu: u16,
    pub(super) promiscuous: bool,
    pub(super) all_groups: bool,
    pub(super) granted: Offloads,
    pub(super) rx_offloads: u64,
    pub(super) tx_offloads: u64,
    pub(super) rss: Option<Rss>,
    /// Whether to try for RX interrupts. What a driver makes of it shows after the start.
    pub(super) rx_interrupts: bool,
}

impl Setup {
    /// Decides, or refuses with the limit.
    pub(super) fn decide(
        config: &PortConfig,
        device: &Device,
        info: &sys::rte_eth_dev_info,
        pool: &Pool,
    ) -> Result<Self, PortError> {
        let queues = queues(config, device, info)?;
        let (rx_slots, tx_slots) = slots(config, device, info, pool)?;
        let mtu = mtu(config, device, info, pool)?;
        let rss = Rss::decide(config, queues, info);
        let (rx, tx) = (Checksum::rx(info), Checksum::tx(info));
        let granted = Offloads {
            rx_checksum: config.want.rx_checksum && rx.offered,
            tx_checksum: config.want.tx_checksum && tx.offered,
            rss: rss.is_some(),
        };
        let mut rx_offloads = if granted.rx_checksum { rx.flags } else { 0 };
        if granted.rss {
            rx_offloads |= info.rx_offload_capa & sys::SHIM_RX_RSS_HASH;
        }
        let mut tx_offloads = if granted.tx_checksum { tx.flags } else { 0 };
        // All mbufs a queue sends are of one pool and held once, which is what this asks for.
        tx_offloads |= info.tx_offload_capa & sys::SHIM_TX_FAST_FREE;
        Ok(Self {
            queues,
            rx_slots,
            tx_slots,
            mtu,
            promiscuous: config.promiscuous,
            all_groups: config.all_groups,
            granted,
            rx_offloads,
            tx_offloads,
            rss,
            rx_interrupts: true,
        })
    }

    /// The same for DPDK. It points into `self`.
    pub(super) fn conf(&mut self) -> sys::rte_eth_conf {
        let mut conf = sys::rte_eth_conf::default();
        conf.rxmode.mtu = u32::from(self.mtu);
        conf.rxmode.offloads = self.rx_offloads;
        conf.txmode.offloads = self.tx_offloads;
        conf.intr_conf.set_rxq(u32::from(self.rx_interrupts));
        if let Some(rss) = &mut self.rss {
            conf.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
            conf.rx_adv_conf.rss_conf = rss.conf();
        }
        conf
    }
}

impl Device {
    /// Finds a device by name, and what its driver says of it. A PCI address may leave out domain
    /// 0000.
    pub(super) fn find(name: &str) -> Result<(Self, sys::rte_eth_dev_info), PortError> {
        let id = port_by_name(name)
            .or_else(|| port_by_name(&format!("0000:{name}")))
            .ok_or_else(|| PortError::NoSuchDevice { device: name.into(), known: known() })?;
        let mut info = sys::rte_eth_dev_info::default();
        // SAFETY: `id` is a port, `info` a place for the answer.
        let code = unsafe { sys::rte_eth_dev_info_get(id.0, &mut info) };
        let device = Self { id, name: name.into(), driver: owned(info.driver_name) };
        device.check(code, || "asking what it can do".into(), "Its driver is at fault.")?;
        Ok((device, info))
    }

    /// Turns a code of DPDK's into an error that says what was tried and what to do.
    pub(super) fn check(
        &self,
        code: i32,
        action: impl FnOnce() -> String,
        advice: &'static str,
    ) -> Result<(), PortError> {
        if code >= 0 {
            return Ok(());
        }
        Err(PortError::Refused {
            device: self.name.clone(),
            driver: self.driver.clone(),
            action: action(),
            code,
            text: error_text(code),
            advice,
        })
    }

    /// Refuses a value outside its range.
    fn range(
        &self,
        key: &'static str,
        value: u64,
        (min, max): (u64, u64),
        advice: &'static str,
    ) -> Result<(), PortError> {
        if (min..=max).contains(&value) {
            return Ok(());
        }
        let (device, driver) = (self.name.clone(), self.driver.clone());
        Err(PortError::OutOfRange { device, driver, key, value, min, max, advice })
    }
}

/// The checksum offloads of one direction.
struct Checksum {
    flags: u64,
    offered: bool,
}

impl Checksum {
    fn rx(info: &sys::rte_eth_dev_info) -> Self {
        let flags = sys::SHIM_RX_IPV4_CHECKSUM | sys::SHIM_RX_TCP_CHECKSUM;
        Self { flags, offered: info.rx_offload_capa & flags == flags }
    }

    fn tx(info: &sys::rte_eth_dev_info) -> Self {
        let flags = sys::SHIM_TX_IPV4_CHECKSUM | sys::SHIM_TX_TCP_CHECKSUM;
        Self { flags, offered: info.tx_offload_capa & flags == flags }
    }
}

fn queues(
    config: &PortConfig,
    device: &Device,
    info: &sys::rte_eth_dev_info,
) -> Result<u16, PortError> {
    let PortConfig { rx_queues, tx_queues, .. } = *config;
    if rx_queues != tx_queues || rx_queues == 0 {
        return Err(PortError::Pairs { device: device.name.clone(), rx_queues, tx_queues });
    }
    let advice = "the port has no more queues: use that many shards, or a port with more";
    for (key, max) in [("rx_queues", info.max_rx_queues), ("tx_queues", info.max_tx_queues)] {
        device.range(key, rx_queues.into(), (1, max.into()), advice)?;
    }
    Ok(rx_queues)
}

/// Ring sizes, rounded to what the port can do, with mbufs enough to fill the RX rings.
fn slots(
    config: &PortConfig,
    device: &Device,
    info: &sys::rte_eth_dev_info,
    pool: &Pool,
) -> Result<(u16, u16), PortError> {
    let advice = "the port's rings have these bounds";
    for (key, value, limit) in [
        ("rx_slots", config.rx_slots, &info.rx_desc_lim),
        ("tx_slots", config.tx_slots, &info.tx_desc_lim),
    ] {
        let least = u64::from(limit.nb_min).max(1);
        device.range(key, value.into(), (least, limit.nb_max.into()), advice)?;
    }
    let (mut rx, mut tx) = (config.rx_slots, config.tx_slots);
    // SAFETY: the id is a port's, and both numbers are valid places.
    let code = unsafe { sys::rte_eth_dev_adjust_nb_rx_tx_desc(device.id.0, &mut rx, &mut tx) };
    device.check(code, || "rounding ring sizes".into(), "Use powers of two.")?;
    let spare = u64::from(pool.mbufs).saturating_sub(BATCH_FRAMES_MAX as u64);
    let most = spare / u64::from(config.rx_queues);
    let advice = "every RX slot holds an mbuf and a batch must be left: \
                  raise the pool's mbufs or lower rx_slots";
    device.range("rx_slots", rx.into(), (1, most), advice)?;
    Ok((rx, tx))
}

/// An MTU that the port takes and whose frames fit one mbuf.
fn mtu(
    config: &PortConfig,
    device: &Device,
    info: &sys::rte_eth_dev_info,
    pool: &Pool,
) -> Result<u16, PortError> {
    let (max_mtu, max_frame) = (u64::from(info.max_mtu), u64::from(info.max_rx_pktlen));
    let says_overhead = max_mtu != u64::from(u16::MAX) && max_frame > max_mtu;
    let overhead = if says_overhead { max_frame - max_mtu } else { PORT_OVERHEAD_BYTES };
    let most = max_mtu.min(max_frame.saturating_sub(overhead));
    let value = u64::from(config.mtu);
    device.range("mtu", value, (info.min_mtu.into(), most), "the port takes no other frames")?;
    let room = u64::from(pool.data_room_bytes.saturating_sub(sys::SHIM_HEADROOM_BYTES));
    let most = room.saturating_sub(FRAME_OVERHEAD_BYTES);
    let advice = "a frame must fit one mbuf: raise the pool's data_room_bytes to MTU + 154";
    device.range("mtu", value, (0, most), advice)?;
    Ok(config.mtu)
}

fn port_by_name(name: &str) -> Option<PortId> {
    let name = std::ffi::CString::new(name).ok()?;
    let mut id = 0;
    // SAFETY: `name` is NUL-terminated, `id` a place for the answer.
    let code = unsafe { sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &mut id) };
    (code == 0).then_some(PortId(id))
}

/// The names of all devices, for an error message.
fn known() -> String {
    let names: Vec<_> = (0..sys::SHIM_PORTS_MAX).filter_map(name_of).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn name_of(id: u16) -> Option<String> {
    // SAFETY: any number may be asked about. (Asking for its name would log a complaint.)
    if unsafe { sys::rte_eth_dev_is_valid_port(id) } == 0 {
        return None;
    }
    let mut name = [0; sys::SHIM_PORT_NAME_BYTES as usize];
    // SAFETY: `name` has the size that DPDK asks for.
    let code = unsafe { sys::rte_eth_dev_get_name_by_port(id, name.as_mut_ptr()) };
    (code == 0).then(|| owned(name.as_ptr()))
}
