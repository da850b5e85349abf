//! A port: one network device.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dpdk_sys as sys;

use super::eal::{Eal, Running};
use super::error::PortError;
use super::interrupt::Interrupt;
use super::mempool::{Mempool, Pool};
use super::owned;
use super::queue::DpdkQueue;
use super::setup::{Device, Setup};
use crate::port::{Link, PortConfig, PortFacts, PortId, PortStats, QueueId};
use crate::queue::PortQueue;

/// An open network device.
///
/// It is stopped and closed when this and all its queues are gone. DPDK forgets a closed device:
/// it cannot be opened again in this process. (After an error in `open` it can.)
#[derive(Debug)]
pub struct Port {
    open: Arc<Open>,
    device: Device,
    setup: Setup,
    facts: PortFacts,
    queues_taken: bool,
}

/// What keeps a device open. Its queues hold it too.
#[derive(Debug)]
pub(super) struct Open {
    claim: Claim,
    /// Set after the device has started; queues do nothing before.
    pub(super) started: AtomicBool,
    /// Whether every RX queue has an interrupt; known with `started`.
    interrupts: AtomicBool,
    pub(super) pool: Arc<Pool>,
    _running: Arc<Running>,
}

/// The right to use a device, of which there is one at a time.
#[derive(Debug)]
struct Claim(PortId);

/// A bit for every device that is claimed.
static CLAIMED: AtomicU64 = AtomicU64::new(0);

const _: () = assert!(sys::SHIM_PORTS_MAX as u32 <= u64::BITS);

impl Port {
    /// Opens and configures a device: queues, ring sizes, MTU, and those wanted offloads that it
    /// has. Received frames go to mbufs of `mempool`, and frames to send are written into them.
    ///
    /// # Errors
    /// [`PortError`], naming the value and the limit.
    pub fn open(eal: &Eal, config: &PortConfig, mempool: &Mempool) -> Result<Self, PortError> {
        let (device, info) = Device::find(&config.device)?;
        let claim = Claim::take(&device)?;
        let mut setup = Setup::decide(config, &device, &info, &mempool.pool)?;
        configure_with_fallback(&device, &mut setup, &mempool.pool)?;
        let facts = facts(&device, &setup)?;
        let open = Open {
            claim,
            started: AtomicBool::new(false),
            interrupts: AtomicBool::new(false),
            pool: Arc::clone(&mempool.pool),
            _running: Arc::clone(&eal.running),
        };
        Ok(Self { open: Arc::new(open), device, setup, facts, queues_taken: false })
    }

    /// The port's number.
    pub fn id(&self) -> PortId {
        self.device.id
    }

    /// What the port is and granted. Indirection table, RSS key and interrupts are
    /// final after [`Self::start`].
    pub fn facts(&self) -> &PortFacts {
        &self.facts
    }

    /// Starts receiving and sending, and spreads flows over the queues in turn. Starting a started
    /// port does nothing.
    ///
    /// # Errors
    /// [`PortError::Refused`] from the driver.
    pub fn start(&mut self) -> Result<(), PortError> {
        if self.open.started.load(Ordering::Acquire) {
            return Ok(());
        }
        if self.start_device().is_err() && self.setup.rx_interrupts {
            // Some drivers find out only now that they cannot have interrupts.
            self.setup.rx_interrupts = false;
            configure(&self.device, &mut self.setup, &self.open.pool)?;
            self.start_device()?;
        }
        if let Some(rss) = &mut self.setup.rss {
            rss.write(self.device.id);
            self.facts.reta = rss.read_table(self.device.id);
            self.facts.rss_key = rss.read_key(self.device.id);
        }
        let interrupts = self.setup.rx_interrupts
            && (0..self.setup.queues)
                .all(|queue| Interrupt::find(self.device.id, QueueId(queue)).is_some());
        self.facts.rx_interrupts = interrupts;
        self.open.interrupts.store(interrupts, Ordering::Relaxed);
        self.open.started.store(true, Ordering::Release);
        Ok(())
    }

    fn start_device(&self) -> Result<(), PortError> {
        // SAFETY: the port is configured and stopped; queues do nothing until `started` is set.
        let code = unsafe { sys::rte_eth_dev_start(self.device.id.0) };
        self.device.check(code, || "starting".into(), "EAL's lines above say more.")
    }

    /// Stops the port if all queues that were handed out are gone, and says whether it is stopped.
    /// While there are queues it goes on, since they may be in use on other cores at this moment;
    /// it then stops when the last of them is dropped and this port as well.
    pub fn stop(&mut self) -> bool {
        match Arc::get_mut(&mut self.open) {
            Some(open) => open.stop(),
            None => return !self.open.started.load(Ordering::Acquire),
        }
        true
    }

    /// Hands out the queue pairs, in order. The second time there are none left.
    pub fn take_queues(&mut self) -> Vec<PortQueue> {
        if std::mem::replace(&mut self.queues_taken, true) {
            return Vec::new();
        }
        let checksum = self.facts.granted.tx_checksum;
        (0..self.facts.rx_queues)
            .map(|queue| DpdkQueue::new(Arc::clone(&self.open), QueueId(queue), checksum))
            .map(PortQueue::dpdk)
            .collect()
    }

    /// State of the link, without waiting for one that is coming up.
    pub fn link(&self) -> Link {
        let mut link = sys::shim_link::default();
        // SAFETY: the port is open, `link` a place for the answer. On failure the link reads down.
        let _ = unsafe { sys::shim_link_get(self.device.id.0, &mut link) };
        let speed_mbps = if link.speed_mbps == u32::MAX { 0 } else { link.speed_mbps };
        Link { up: link.up, speed_mbps, full_duplex: link.full_duplex }
    }

    /// The device's counters.
    pub fn stats(&self) -> PortStats {
        let mut stats = sys::rte_eth_stats::default();
        // SAFETY: the port is open, `stats` a place for the answer. On failure all read 0.
        let _ = unsafe { sys::rte_eth_stats_get(self.device.id.0, &mut stats) };
        PortStats {
            rx_frames: stats.ipackets,
            rx_bytes: stats.ibytes,
            tx_frames: stats.opackets,
            tx_bytes: stats.obytes,
            rx_missed: stats.imissed,
            rx_errors: stats.ierrors,
            tx_errors: stats.oerrors,
            rx_no_mbuf: stats.rx_nombuf,
        }
    }

    /// All counters the driver has, by its names.
    pub fn xstats(&self) -> Vec<(String, u64)> {
        let id = self.device.id.0;
        // SAFETY: a null array of length 0 asks for the number of counters.
        let count = unsafe { sys::rte_eth_xstats_get_names(id, ptr::null_mut(), 0) };
        let Ok(count) = usize::try_from(count) else { return Vec::new() };
        let mut names = vec![sys::rte_eth_xstat_name::default(); count];
        let mut values = vec![sys::rte_eth_xstat::default(); count];
        // SAFETY: `names` has room for `count` records.
        let named = unsafe { sys::rte_eth_xstats_get_names(id, names.as_mut_ptr(), count as u32) };
        // SAFETY: `values` has room for `count` records.
        let valued = unsafe { sys::rte_eth_xstats_get(id, values.as_mut_ptr(), count as u32) };
        let known = usize::try_from(named.min(valued)).unwrap_or(0).min(count);
        let values = values[..known].iter();
        // DPDK: `id` is the index of the counter's name.
        let named = values.filter_map(|xstat| Some((names.get(xstat.id as usize)?, xstat.value)));
        named.map(|(name, value)| (owned(name.name.as_ptr()), value)).collect()
    }

    /// Also receive frames for `mac`, beside the port's own address.
    ///
    /// # Errors
    /// [`PortError::Refused`] from ports that have one address only.
    pub fn add_mac(&mut self, mac: [u8; 6]) -> Result<(), PortError> {
        let mut address = sys::rte_ether_addr { addr_bytes: mac };
        // SAFETY: the port is open and the address a valid place.
        let code = unsafe { sys::rte_eth_dev_mac_addr_add(self.device.id.0, &mut address, 0) };
        let advice = "Use the port's own address or promiscuous mode.";
        self.device.check(code, || format!("adding the MAC address {mac:02x?}"), advice)
    }
}

impl Open {
    pub(super) fn id(&self) -> PortId {
        self.claim.0
    }

    pub(super) fn has_interrupts(&self) -> bool {
        self.interrupts.load(Ordering::Relaxed)
    }

    /// Stops the device; `&mut self`: nobody else can use a queue now.
    fn stop(&mut self) {
        if std::mem::replace(self.started.get_mut(), false) {
            // SAFETY: the port is started and no queue of it is in use.
            let _ = unsafe { sys::rte_eth_dev_stop(self.id().0) };
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.stop();
        // SAFETY: the port is stopped, and nobody holds it or its queues any more. It gives its
        // mbufs back to `pool`, which is dropped after this.
        let _ = unsafe { sys::rte_eth_dev_close(self.id().0) };
    }
}

impl Claim {
    fn take(device: &Device) -> Result<Self, PortError> {
        let bit = 1 << device.id.0;
        if CLAIMED.fetch_or(bit, Ordering::AcqRel) & bit != 0 {
            return Err(PortError::InUse { device: device.name.clone() });
        }
        Ok(Self(device.id))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.fetch_and(!(1 << self.0.0), Ordering::AcqRel);
    }
}

/// Configures with RX interrupts, or without where the driver refuses them.
fn configure_with_fallback(
    device: &Device,
    setup: &mut Setup,
    pool: &Pool,
) -> Result<(), PortError> {
    if configure(device, setup, pool).is_ok() {
        return Ok(());
    }
    setup.rx_interrupts = false;
    configure(device, setup, pool)
}

/// Carries out a decided setup.
fn configure(device: &Device, setup: &mut Setup, pool: &Pool) -> Result<(), PortError> {
    let (id, queues) = (device.id.0, setup.queues);
    let conf = setup.conf();
    // SAFETY: the port is stopped; `conf` points into `setup`, which outlives the call.
    let code = unsafe { sys::rte_eth_dev_configure(id, queues, queues, &conf) };
    let advice = "EAL's lines above say what the driver minds.";
    device.check(code, || format!("configuring {queues} queue pairs"), advice)?;
    set_mtu(device, setup.mtu)?;
    // SAFETY: the port exists.
    let node = unsafe { sys::rte_eth_dev_socket_id(id) } as u32;
    for queue in 0..queues {
        let (slots, none) = (setup.rx_slots, ptr::null());
        // SAFETY: the port is configured with this queue; null: the driver's defaults; the pool
        // outlives the port, which holds it.
        let code = unsafe { sys::rte_eth_rx_queue_setup(id, queue, slots, node, none, pool.raw()) };
        let advice = "Fewer rx_slots, or a larger mempool, may help.";
        device.check(code, || format!("RX queue {queue} of {slots} slots"), advice)?;
        let (slots, none) = (setup.tx_slots, ptr::null());
        // SAFETY: as above.
        let code = unsafe { sys::rte_eth_tx_queue_setup(id, queue, slots, node, none) };
        let advice = "Fewer tx_slots may help.";
        device.check(code, || format!("TX queue {queue} of {slots} slots"), advice)?;
    }
    set_filters(device, setup)
}

/// Lets more frames pass than those for the port's own address. A driver without all-multicast mode is
/// put into promiscuous mode instead; one that has neither filters nothing, as a ring or a packet
/// socket.
fn set_filters(device: &Device, setup: &Setup) -> Result<(), PortError> {
    let id = device.id.0;
    let mut is_fallback = false;
    if setup.all_groups {
        // SAFETY: the port is configured.
        let code = unsafe { sys::rte_eth_allmulticast_enable(id) };
        is_fallback = code == ENOTSUP;
        let code = if is_fallback { 0 } else { code };
        let advice = "Use promiscuous = true, or no IPv6 addresses.";
        device.check(code, || "receiving multicast frames".into(), advice)?;
    }
    if setup.promiscuous || is_fallback {
        // SAFETY: the port is configured.
        let code = unsafe { sys::rte_eth_promiscuous_enable(id) };
        let code = if is_fallback && code == ENOTSUP { 0 } else { code };
        let advice = "Use promiscuous = false and the port's own MAC address.";
        device.check(code, || "promiscuous mode".into(), advice)?;
    }
    Ok(())
}

/// The driver does not know such a call.
const ENOTSUP: i32 = -95;

/// Tells drivers that keep an MTU of their own. Those that do not know the call took it from the
/// configuration.
fn set_mtu(device: &Device, mtu: u16) -> Result<(), PortError> {
    // SAFETY: the port is configured and stopped.
    match unsafe { sys::rte_eth_dev_set_mtu(device.id.0, mtu) } {
        ENOTSUP => Ok(()),
        code => device.check(code, || format!("MTU {mtu}"), "Try MTU 1500."),
    }
}

fn facts(device: &Device, setup: &Setup) -> Result<PortFacts, PortError> {
    let id = device.id.0;
    let mut mac = sys::rte_ether_addr::default();
    // SAFETY: the port exists, `mac` is a place for the answer.
    let code = unsafe { sys::rte_eth_macaddr_get(id, &mut mac) };
    device.check(code, || "reading the MAC address".into(), "Its driver is at fault.")?;
    let mut mtu = setup.mtu;
    // SAFETY: the port exists, `mtu` is a place for the answer.
    let code = unsafe { sys::rte_eth_dev_get_mtu(id, &mut mtu) };
    device.check(code, || "reading the MTU".into(), "Its driver is at fault.")?;
    // SAFETY: the port exists.
    let node = unsafe { sys::rte_eth_dev_socket_id(id) };
    let rss = setup.rss.as_ref();
    Ok(PortFacts {
        driver: device.driver.clone(),
        device: device.name.clone(),
        mac: mac.addr_bytes,
        granted: setup.granted,
        rx_queues: setup.queues,
        tx_queues: setup.queues,
        rx_slots: setup.rx_slots,
        tx_slots: setup.tx_slots,
        mtu,
        reta: rss.map_or_else(Vec::new, |rss| rss.read_table(device.id)),
        rss_key: rss.map_or_else(Vec::new, |rss| rss.read_key(device.id)),
        numa_node: u32::try_from(node).ok(),
        rx_interrupts: false,
    })
}
