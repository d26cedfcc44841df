/*
 * The open server: whoever sends a datagram gets an entry and a tunnel address for each address of
 * ours that it sends to (rule R2), and what goes to that tunnel address goes to where the peer is,
 * from the address that it sent to (rules T2 and T3). Until the peer has shown that it receives,
 * its entry is a provisional one (rule R7).
 */
#include "peers/policy.h"

/*
 * While more comes than is taken in, everybody's datagrams wait behind those of newcomers, and who
 * is honest among these answers too late to keep its place. To turn them away costs little, so what
 * waits is soon over; and TCP comes again.
 */
static struct peer_entry *find_or_make(struct peers *peers, const struct arrival *arrival,
				       uint32_t now, enum obtain_result *obtained)
{
	const struct peer peer = {arrival->from, arrival->own_address, arrival->own_port};

	if (arrival->backlog == BACKLOG_NONE || !connection_store_is_crowded(peers->store))
		return connection_store_obtain(peers->store, &peer, now, obtained);
	return connection_store_obtain_returning(peers->store, &peer, arrival->milliseconds,
						 arrival->backlog == BACKLOG_GROWS, obtained);
}

static void admit(struct peers *peers, const struct arrival *arrival, uint32_t now,
		  struct admission *admission)
{
	struct peer_entry *entry = find_or_make(peers, arrival, now, &admission->obtained);

	if (admission->obtained != ENTRY_FOUND)
		admission->wants_spares = connection_store_wants_spares(peers->store);
	if (entry == NULL) {
		admission->verdict = admission->obtained == ENTRY_HAS_NO_POOL
					     ? ADMISSION_HAS_NO_TUNNEL_ADDRESS
					     : ADMISSION_HAS_NO_ROOM;
		return;
	}
	peer_entry_refresh(&entry->last_received, now);
	admission->is_provisional = !peer_entry_is_proven(entry);
	admission->entry = entry;
	admission->source = entry->tunnel_address;
}

static void route(struct peers *peers, const struct departure *departure, uint32_t now,
		  struct routing *routing)
{
	struct peer_entry *entry = connection_store_find_tunnel_address(peers->store,
									&departure->destination);
	const struct destination *destination;

	(void)now; /* rule R3: sending does not keep an entry */
	if (entry == NULL) {
		routing->verdict = ROUTING_KNOWS_NO_DESTINATION;
		return;
	}
	destination = peer_entry_destination(entry);
	if (destination == NULL) {
		routing->verdict = ROUTING_HAS_LOST_ITS_PEER;
		return;
	}
	routing->is_provisional = !peer_entry_is_proven(entry);
	routing->entry = entry;
	routing->destination = destination->peer.remote;
	routing->source = destination->peer.own_address;
}

const struct policy_operations open_server_policy = {admit, route};
