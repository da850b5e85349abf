/* Plain functions around what DPDK defines as static inline or as macros: see shim.h. */
#include "shim.h"

#include <string.h>

/* With another size the compiler flags differ from those DPDK was built with. */
_Static_assert(sizeof(struct rte_mbuf) == 128, "struct rte_mbuf is two cache lines");

int shim_errno(void)
{
	return rte_errno;
}

static uint8_t rx_checksum(uint64_t flags, uint32_t packet_type)
{
	uint64_t ip = flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
	uint64_t l4 = flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;

	if (ip == RTE_MBUF_F_RX_IP_CKSUM_BAD || l4 == RTE_MBUF_F_RX_L4_CKSUM_BAD)
		return SHIM_RX_CHECKSUM_BAD;
	/* NONE: the field in the packet is meaningless, but the data were verified. */
	/* IPv6 has no checksum of its own: ports then say nothing about it. */
	if ((ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD || ip == RTE_MBUF_F_RX_IP_CKSUM_NONE ||
	     (packet_type & RTE_PTYPE_L3_MASK) == RTE_PTYPE_L3_IPV6) &&
	    (l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD || l4 == RTE_MBUF_F_RX_L4_CKSUM_NONE))
		return SHIM_RX_CHECKSUM_GOOD;
	return SHIM_RX_CHECKSUM_UNKNOWN;
}

uint16_t shim_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs,
		       struct shim_rx_frame *frames, uint16_t n)
{
	uint16_t got = rte_eth_rx_burst(port, queue, mbufs, n);

	for (uint16_t i = 0; i < got; i++) {
		const struct rte_mbuf *m = mbufs[i];

		frames[i].data = rte_pktmbuf_mtod(m, const uint8_t *);
		rte_prefetch0(frames[i].data);
		frames[i].first_len = rte_pktmbuf_data_len(m);
		frames[i].len = rte_pktmbuf_pkt_len(m);
		frames[i].rss_hash = m->hash.rss;
		frames[i].has_rss_hash = (m->ol_flags & RTE_MBUF_F_RX_RSS_HASH) != 0;
		frames[i].checksum = rx_checksum(m->ol_flags, m->packet_type);
	}
	return got;
}

void shim_linearise(const struct rte_mbuf *mbuf, uint8_t *into, uint32_t len)
{
	const void *at = rte_pktmbuf_read(mbuf, 0, len, into);

	/* A frame of one segment is not copied by rte_pktmbuf_read. */
	if (at != NULL && at != into)
		memcpy(into, at, len);
}

bool shim_tx_alloc(struct rte_mempool *pool, struct shim_tx_frame *frames, uint16_t n)
{
	struct rte_mbuf *mbufs[64];

	if (n > SHIM_BATCH_FRAMES_MAX || rte_pktmbuf_alloc_bulk(pool, mbufs, n) != 0)
		return false;
	for (uint16_t i = 0; i < n; i++) {
		frames[i] = (struct shim_tx_frame){
			.mbuf = mbufs[i],
			.data = rte_pktmbuf_mtod(mbufs[i], uint8_t *),
			.room = rte_pktmbuf_tailroom(mbufs[i]),
		};
	}
	return true;
}

void shim_tx_free(struct shim_tx_frame *frames, uint16_t n)
{
	struct rte_mbuf *mbufs[64];

	for (uint16_t i = 0; i < n; i++)
		mbufs[i] = frames[i].mbuf;
	rte_pktmbuf_free_bulk(mbufs, n);
}

static void tx_describe(struct rte_mbuf *m, const struct shim_tx_frame *frame)
{
	m->data_len = frame->len;
	m->pkt_len = frame->len;
	if (frame->checksum == SHIM_TX_CHECKSUM_NONE) {
		m->ol_flags = 0;
		return;
	}
	m->l2_len = frame->l2_len;
	m->l3_len = frame->l3_len;
	if (frame->checksum == SHIM_TX_CHECKSUM_TCP_IPV6) {
		m->ol_flags = RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_TCP_CKSUM;
		return;
	}
	m->ol_flags = RTE_MBUF_F_TX_IPV4;
	if (frame->checksum != SHIM_TX_CHECKSUM_TCP_IPV4)
		m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	if (frame->checksum != SHIM_TX_CHECKSUM_IPV4)
		m->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
}

uint16_t shim_tx_burst(uint16_t port, uint16_t queue, struct shim_tx_frame *frames, uint16_t n)
{
	struct rte_mbuf *mbufs[64];

	for (uint16_t i = 0; i < n; i++) {
		mbufs[i] = frames[i].mbuf;
		tx_describe(mbufs[i], &frames[i]);
	}
	return rte_eth_tx_burst(port, queue, mbufs, n);
}

int shim_link_get(uint16_t port, struct shim_link *link)
{
	struct rte_eth_link found;
	int code;

	memset(&found, 0, sizeof(found));
	code = rte_eth_link_get_nowait(port, &found);
	link->speed_mbps = found.link_speed;
	link->up = found.link_status == RTE_ETH_LINK_UP;
	link->full_duplex = found.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
	return code;
}
