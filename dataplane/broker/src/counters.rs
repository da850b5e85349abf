//! What the broker counts.

use superpage::counters;

counters! {
    /// What happened on one shard since its start.
    ///
    /// Sum rules: every message received as `publish_in_qos*` is routed or counted in one
    /// `drop_in_*`; `links_accepted` = links open + `links_closed`.
    pub struct BrokerCounters {
        /// Transport connections taken.
        links_accepted: links,
        /// Transport connections refused because the link table was full.
        links_refused: links,
        /// Transport connections gone again, for any reason.
        links_closed: links,
        /// Clients connected with success.
        connects: packets,
        /// CONNECTs refused with a reason code.
        connects_refused: packets,
        /// Links closed because no CONNECT came in time.
        connect_timeouts: links,
        /// Links closed because the client was silent for 1.5 times its Keep Alive.
        keep_alive_timeouts: links,
        /// DISCONNECT packets received.
        disconnects_in: packets,
        /// DISCONNECT packets sent.
        disconnects_out: packets,
        /// Links closed for a packet that was malformed or broke the protocol.
        protocol_errors: packets,
        /// Links closed for a packet larger than allowed.
        packets_too_large: packets,
        /// Links closed because the client id connected again.
        takeovers: sessions,
        /// Packets received whole.
        packets_in: packets,
        /// Packets sent whole.
        packets_out: packets,
        /// PUBLISH packets received with QoS 0.
        publish_in_qos0: messages,
        /// PUBLISH packets received with QoS 1.
        publish_in_qos1: messages,
        /// PUBLISH packets received with QoS 2.
        publish_in_qos2: messages,
        /// PUBLISH packets sent with QoS 0.
        publish_out_qos0: messages,
        /// PUBLISH packets sent with QoS 1.
        publish_out_qos1: messages,
        /// PUBLISH packets sent again because the client had not acknowledged them before it left.
        publish_resent: messages,
        /// Acknowledgements sent for received messages.
        acks_out: packets,
        /// Acknowledgements received for sent messages.
        acks_in: packets,
        /// Acknowledgements received for nothing in flight.
        acks_unknown: packets,
        /// Deliveries put into session queues.
        enqueued: messages,
        /// Deliveries taken out of session queues for sending.
        dequeued: messages,
        /// Subscriptions made or replaced.
        subscribes: subscriptions,
        /// Subscriptions ended by the client.
        unsubscribes: subscriptions,
        /// Subscriptions refused.
        subscribes_refused: subscriptions,
        /// Wills published.
        wills_published: messages,
        /// Sessions made.
        sessions_created: sessions,
        /// Sessions gone on with by a returning client.
        sessions_resumed: sessions,
        /// Sessions that ended, by expiry or clean start.
        sessions_ended: sessions,
        /// Sessions taken in from other shards.
        sessions_moved_in: sessions,
        /// Sessions given away to other shards.
        sessions_moved_out: sessions,
        /// Messages received that found no room in the message store, or no delivery left in the pool.
        drop_in_store_full: messages,
        /// QoS 0 messages not sent to another shard because its queue was full.
        drop_out_shard_full: messages,
        /// Retained messages not kept because the retained store was full.
        drop_retained_full: messages,
        /// Deliveries with QoS 0 to sessions without a connected client.
        drop_offline_qos0: messages,
        /// QoS 0 deliveries thrown out of a full session queue by newer ones.
        drop_queue_full_qos0: messages,
        /// QoS 1 deliveries refused because the session's queue was full.
        drop_queue_full_qos1: messages,
        /// Deliveries refused because the shard's delivery pool was empty.
        drop_pool_empty: messages,
        /// Deliveries not sent because the message had expired.
        drop_expired: messages,
        /// Deliveries not sent because the client takes no packet as large.
        drop_too_large: messages,
        /// Deliveries that ended with their session.
        drop_session_ended: messages,
        /// Times a link's input was parked until there was room elsewhere.
        parks: links,
        /// Messages received from other shards.
        shard_messages_in: messages,
        /// Messages staged for other shards.
        shard_messages_out: messages,
        /// Answers to other shards that had no room even in their reserve.
        shard_answers_lost: messages,
        /// Messages from other shards that made no sense.
        shard_messages_bad: messages,
        /// Publishes forwarded to other shards.
        forwards_out: messages,
        /// Publishes taken in from other shards.
        forwards_in: messages,
    }
}

counters! {
    /// The state of one shard now.
    pub struct BrokerGauges {
        /// Transport connections.
        links: links,
        /// Links with something in progress.
        active_links: links,
        /// Links whose input is parked.
        parked_links: links,
        /// Sessions, connected or not.
        sessions: sessions,
        /// Sessions with a connected client.
        connected: sessions,
        /// Client ids whose home this shard is.
        clients: clients,
        /// Subscriptions.
        subscriptions: subscriptions,
        /// Different topic filters.
        filters: filters,
        /// Different topic filters with wildcards.
        wildcard_filters: filters,
        /// Levels of filters with wildcards.
        wildcard_levels: levels,
        /// Units for texts of filters that are free.
        filter_units_free: units,
        /// Subscriptions with a Subscription Identifier.
        identifiers: subscriptions,
        /// Filters with wildcards that other shards told of.
        interest_wildcards: filters,
        /// Shards taken to be subscribed to everything because their filters did not fit.
        interest_everything: shards,
        /// Messages stored.
        messages: messages,
        /// Units for topics and properties of messages that are free.
        message_name_units_free: units,
        /// Units of payload memory free.
        payload_units_free: units,
        /// Retained messages.
        retained: messages,
        /// Deliveries queued or in flight.
        deliveries: messages,
        /// Sessions with deliveries waiting, as of the last pass over all sessions.
        queues_non_empty: sessions,
        /// Longest session queue, as of the last pass over all sessions.
        queue_longest: messages,
        /// Acknowledgements waiting for other shards.
        pending: packets,
        /// Sessions waiting for the home shard of their client id, or for their former shard.
        claims: sessions,
        /// Subscriptions whose retained messages are being fetched.
        retained_jobs: subscriptions,
        /// Chunks for answers that are free.
        output_chunks_free: chunks,
        /// Units for client ids and other names that are free.
        name_units_free: units,
        /// Sessions moving to another shard.
        moves: sessions,
        /// Bytes staged for other shards.
        staged_bytes: bytes,
    }
}
