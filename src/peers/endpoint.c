/*
 * The endpoint: packets go to their own destination at the far ends' port (rule T3), which is
 * remembered for keepalives, from an address that the bound device may use (rule T5); datagrams
 * come in as from their own source (rule R4), from any, or from those that answer, or that
 * something was sent to lately (rule R1).
 */
#include "peers/policy.h"

#include "base/clock.h"

static void admit_as_itself(struct peers *peers, const struct arrival *arrival,
			    struct admission *admission)
{
	const struct peer peer = {.remote = arrival->from, .own_port = arrival->own_port};

	admission->entry = connection_store_find_peer(peers->store, &peer);
	admission->source = arrival->from.address;
}

static void admit_any(struct peers *peers, const struct arrival *arrival, uint32_t now,
		      struct admission *admission)
{
	(void)now;
	admit_as_itself(peers, arrival, admission);
}

static bool is_solicited(const struct peers *peers, const struct peer_entry *entry, uint32_t now)
{
	uint32_t sent = atomic_load_explicit(&entry->last_sent, memory_order_relaxed);
	uint32_t answer = atomic_load_explicit(&entry->last_received, memory_order_relaxed);

	if (seconds_since(sent, now) <= peers->settings.answer_time)
		return true;
	return peer_entry_has_answered(entry) &&
	       seconds_since(answer, now) <= peers->settings.connection_timeout;
}

static void admit_solicited(struct peers *peers, const struct arrival *arrival, uint32_t now,
			    struct admission *admission)
{
	admit_as_itself(peers, arrival, admission);
	if (admission->entry != NULL && is_solicited(peers, admission->entry, now))
		return;
	admission->verdict = ADMISSION_IS_UNSOLICITED;
	admission->entry = NULL;
}

/* One that never answered also takes its turn: who was sent to last makes room last. */
static void note_sent(struct peers *peers, struct peer_entry *entry, uint32_t now)
{
	if (atomic_load_explicit(&entry->last_sent, memory_order_relaxed) == now)
		return;
	peer_entry_refresh(&entry->last_sent, now);
	if (!peer_entry_has_answered(entry))
		connection_store_take_turn(peers->store, entry);
}

/* Without room for an entry it is carried all the same, only without keepalives. */
static void route_anywhere(struct peers *peers, const struct departure *departure, uint32_t now,
			   struct routing *routing)
{
	const struct peer peer = {
		.remote = {departure->destination, peers->settings.endpoint_port},
		.own_port = departure->own_port,
	};

	routing->entry = connection_store_obtain(peers->store, &peer, now, &routing->obtained);
	routing->destination = peer.remote;
	if (!peers_find_source(peers, routing->entry, &routing->source))
		routing->verdict = ROUTING_HAS_NO_SOURCE;
	if (routing->entry == NULL)
		return;
	if (routing->verdict == ROUTED)
		note_sent(peers, routing->entry, now);
	peer_entry_refresh(&routing->entry->last_tcp, now);
}

/* Without an entry no answer would be let in. */
static void route_remembered(struct peers *peers, const struct departure *departure, uint32_t now,
			     struct routing *routing)
{
	route_anywhere(peers, departure, now, routing);
	if (routing->entry == NULL)
		routing->verdict = ROUTING_CANNOT_REMEMBER;
}

const struct policy_operations endpoint_policy = {admit_any, route_anywhere};
const struct policy_operations solicited_endpoint_policy = {admit_solicited, route_remembered};
