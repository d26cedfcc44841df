/* The peers' room, and what every policy has in common; see peers.h for the theory of operation. */
#include "peers/policy.h"

#include <stdlib.h>

static const struct policy_operations *const policies[] = {
	[PEERS_OPEN_SERVER] = &open_server_policy,
	[PEERS_ENDPOINT] = &endpoint_policy,
	[PEERS_SOLICITED_ENDPOINT] = &solicited_endpoint_policy,
};

bool peers_open(struct peers *peers, const struct peers_settings *settings)
{
	peers->policy = policies[settings->policy];
	peers->settings = *settings;
	peers->addresses = calloc(1, sizeof(*peers->addresses));
	peers->store = connection_store_create(&settings->store);
	if (peers->addresses != NULL && peers->store != NULL)
		return true;
	peers_close(peers);
	return false;
}

void peers_close(struct peers *peers)
{
	connection_store_destroy(peers->store);
	free(peers->addresses);
	peers->store = NULL;
	peers->addresses = NULL;
}

static bool publish(struct peers *peers, const struct peers_addresses *addresses)
{
	struct peers_addresses *former = peers->addresses;
	struct peers_addresses *snapshot;

	if (memcmp(former, addresses, sizeof(*former)) == 0)
		return true;
	snapshot = malloc(sizeof(*snapshot));
	if (snapshot == NULL)
		return false;
	*snapshot = *addresses;
	rcu_publish(peers->addresses, snapshot);
	rcu_wait_for_readers();
	free(former);
	return true;
}

bool peers_set_tunnel_addresses(struct peers *peers, const struct tunnel_addresses *addresses)
{
	struct peers_addresses changed = *peers->addresses;

	changed.tunnel = *addresses;
	return publish(peers, &changed);
}

bool peers_set_device_source(struct peers *peers, const struct ip_address *source)
{
	struct peers_addresses changed = *peers->addresses;

	changed.device_source = *source;
	return publish(peers, &changed);
}

void peers_admit(struct peers *peers, const struct arrival *arrival, uint32_t now,
		 struct admission *admission)
{
	admission->verdict = ADMITTED;
	admission->obtained = ENTRY_FOUND;
	admission->wants_spares = false;
	admission->is_provisional = false;
	admission->entry = NULL;
	admission->destination = rcu_read(peers->addresses)->tunnel.ipv4;
	if (ip_address_is_none(&admission->destination)) {
		admission->verdict = ADMISSION_HAS_NO_TUNNEL_ADDRESS;
		return;
	}
	peers->policy->admit(peers, arrival, now, admission);
}

void peers_route(struct peers *peers, const struct departure *departure, uint32_t now,
		 struct routing *routing)
{
	const struct ip_address *own = &rcu_read(peers->addresses)->tunnel.ipv4;

	routing->verdict = ROUTED;
	routing->obtained = ENTRY_FOUND;
	routing->is_provisional = false;
	routing->max_payload = peers->settings.max_payload;
	routing->entry = NULL;
	if (ip_address_is_none(own))
		routing->verdict = ROUTING_HAS_NO_TUNNEL_ADDRESS;
	else if (!ip_address_equal(&departure->source, own))
		routing->verdict = ROUTING_HAS_FOREIGN_SOURCE;
	else if (departure->payload > routing->max_payload)
		routing->verdict = ROUTING_IS_TOO_BIG;
	else
		peers->policy->route(peers, departure, now, routing);
}

struct peer_entry *peers_find_routed(struct peers *peers,
				     const struct transport_address *destination,
				     const struct ip_address *source, uint16_t own_port)
{
	struct peer peer = {.remote = *destination, .own_port = own_port};

	/* an endpoint's key is the destination alone */
	if (peers->settings.policy == PEERS_OPEN_SERVER)
		peer.own_address = *source;
	return connection_store_find_peer(peers->store, &peer);
}
