/*
 * The surface of DPDK that Rust sees: the headers bindgen reads, and plain functions for what DPDK
 * has only as static inline functions or macros.
 *
 * The per-frame work of a burst happens on this side in one call: mbuf fields are read into, and
 * written from, flat records, so the layout of struct rte_mbuf stays out of Rust and a call across
 * the language border costs the same for one frame as for sixty-four.
 */
#ifndef TRUNKLINE_DPDK_SHIM_H
#define TRUNKLINE_DPDK_SHIM_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_version.h>

/* Constants that are macros with casts or shifts, which bindgen cannot evaluate. */
static const uint16_t SHIM_BATCH_FRAMES_MAX = 64;
static const uint16_t SHIM_HEADROOM_BYTES = RTE_PKTMBUF_HEADROOM;
static const uint32_t SHIM_MEMPOOL_CACHE_MAX = RTE_MEMPOOL_CACHE_MAX_SIZE;
static const uint16_t SHIM_PORTS_MAX = RTE_MAX_ETHPORTS;
static const uint32_t SHIM_PORT_NAME_BYTES = RTE_ETH_NAME_MAX_LEN;
static const int32_t SHIM_SOCKET_ANY = SOCKET_ID_ANY;
static const uint32_t SHIM_RETA_GROUP_ENTRIES = RTE_ETH_RETA_GROUP_SIZE;
static const uint64_t SHIM_RX_IPV4_CHECKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t SHIM_RX_TCP_CHECKSUM = RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
static const uint64_t SHIM_RX_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t SHIM_RX_RSS_HASH = RTE_ETH_RX_OFFLOAD_RSS_HASH;
static const uint64_t SHIM_TX_IPV4_CHECKSUM = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
static const uint64_t SHIM_TX_TCP_CHECKSUM = RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
static const uint64_t SHIM_TX_FAST_FREE = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
static const uint64_t SHIM_RSS_IPV4_TCP = RTE_ETH_RSS_NONFRAG_IPV4_TCP;
static const uint64_t SHIM_RSS_IPV6_TCP = RTE_ETH_RSS_NONFRAG_IPV6_TCP;
static const uint64_t SHIM_RSS_IPV6_TCP_EX = RTE_ETH_RSS_IPV6_TCP_EX;

/* The port's verdict on the checksums of a received frame: nobody looked; IPv4 header and TCP or UDP
 * verified; one of them failed. */
static const uint8_t SHIM_RX_CHECKSUM_UNKNOWN = 0;
static const uint8_t SHIM_RX_CHECKSUM_GOOD = 1;
static const uint8_t SHIM_RX_CHECKSUM_BAD = 2;

/* What the port shall fill in before a frame leaves: nothing; the IPv4 header's checksum; that and
 * TCP's; TCP's only, over IPv4; TCP's over IPv6. */
static const uint8_t SHIM_TX_CHECKSUM_NONE = 0;
static const uint8_t SHIM_TX_CHECKSUM_IPV4 = 1;
static const uint8_t SHIM_TX_CHECKSUM_IPV4_TCP = 2;
static const uint8_t SHIM_TX_CHECKSUM_TCP_IPV4 = 3;
static const uint8_t SHIM_TX_CHECKSUM_TCP_IPV6 = 4;

/* A received frame. `data` is its first segment, of `first_len` bytes. */
struct shim_rx_frame {
	const uint8_t *data;
	uint32_t first_len;
	uint32_t len;
	uint32_t rss_hash;
	uint8_t has_rss_hash;
	uint8_t checksum; /* SHIM_RX_CHECKSUM_* */
};

/* A frame being built: a fresh mbuf, its writable bytes, and what the port has to do. */
struct shim_tx_frame {
	struct rte_mbuf *mbuf;
	uint8_t *data;
	uint32_t room; /* bytes that `data` can hold */
	uint32_t len;  /* bytes that are the frame */
	uint16_t l2_len;
	uint16_t l3_len;
	uint8_t checksum; /* SHIM_TX_CHECKSUM_* */
};

/* The state of a link, without DPDK's bit fields. */
struct shim_link {
	uint32_t speed_mbps; /* UINT32_MAX: unknown */
	bool up;
	bool full_duplex;
};

/* rte_errno of this thread. */
int shim_errno(void);

/* Receives up to n frames (n <= SHIM_BATCH_FRAMES_MAX); mbufs[i] belongs to the caller afterwards
 * and frames[i] describes it. */
uint16_t shim_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs,
		       struct shim_rx_frame *frames, uint16_t n);

/* Copies all segments of `mbuf` (len bytes, its whole length) to `into`. */
void shim_linearise(const struct rte_mbuf *mbuf, uint8_t *into, uint32_t len);

/* Takes n fresh mbufs (n <= SHIM_BATCH_FRAMES_MAX) out of the pool; all or none. */
bool shim_tx_alloc(struct rte_mempool *pool, struct shim_tx_frame *frames, uint16_t n);

/* Gives the mbufs of n frames (n <= SHIM_BATCH_FRAMES_MAX) back to their pool. */
void shim_tx_free(struct shim_tx_frame *frames, uint16_t n);

/* Offers n frames (n <= SHIM_BATCH_FRAMES_MAX) to the port; it owns the first `return` ones. */
uint16_t shim_tx_burst(uint16_t port, uint16_t queue, struct shim_tx_frame *frames, uint16_t n);

/* The link state as last known, without waiting. */
int shim_link_get(uint16_t port, struct shim_link *link);

#endif
