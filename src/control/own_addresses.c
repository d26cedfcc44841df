/* This machine's own addresses; see own_addresses.h. */
#include "control/own_addresses.h"

#include <stdlib.h>

/* The kernel goes on sending from a narrow address when a global one comes, for it lists it first.
 */
enum preference { IS_THERE = 1, IS_GLOBAL, HAS_ADDRESS_IN_USE, IS_IN_USE };

static enum preference preference(const struct link_address *address,
				  const struct ip_prefix *in_use)
{
	if (ip_address_equal(&address->prefix.address, &in_use->address))
		return address->prefix.length == in_use->length ? IS_IN_USE : HAS_ADDRESS_IN_USE;
	return address->is_global ? IS_GLOBAL : IS_THERE;
}

const struct link_address *own_addresses_choose(const struct link_addresses *addresses,
						unsigned ifindex, const struct ip_prefix *in_use)
{
	const struct link_address *chosen = NULL;

	for (size_t i = 0; i < addresses->count; i++) {
		const struct link_address *address = &addresses->list[i];

		if (address->ifindex == ifindex &&
		    (chosen == NULL || preference(address, in_use) > preference(chosen, in_use)))
			chosen = address;
	}
	return chosen;
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct ip_address));
}

static void drop_repeated(struct own_addresses *addresses)
{
	size_t kept = 0;

	for (size_t i = 0; i < addresses->count; i++) {
		if (kept == 0 || !ip_address_equal(&addresses->list[kept - 1], &addresses->list[i]))
			addresses->list[kept++] = addresses->list[i];
	}
	addresses->count = kept;
}

bool own_addresses_collect(const struct link_addresses *addresses, const struct ip_prefix *prefix,
			   struct own_addresses *within)
{
	within->count = 0;
	within->list = calloc(addresses->count + 1, sizeof(*within->list));
	if (within->list == NULL)
		return false;
	for (size_t i = 0; i < addresses->count; i++) {
		const struct ip_address *address = &addresses->list[i].prefix.address;

		if (ip_prefix_contains(prefix, address))
			within->list[within->count++] = *address;
	}
	qsort(within->list, within->count, sizeof(*within->list), compare);
	drop_repeated(within);
	return true;
}

bool own_addresses_include(const struct own_addresses *addresses, const struct ip_address *address)
{
	return addresses->count > 0 && bsearch(address, addresses->list, addresses->count,
					       sizeof(*addresses->list), compare) != NULL;
}

bool own_addresses_equal(const struct own_addresses *a, const struct own_addresses *b)
{
	return a->count == b->count &&
	       (a->count == 0 || memcmp(a->list, b->list, a->count * sizeof(*a->list)) == 0);
}

void own_addresses_free(struct own_addresses *addresses)
{
	free(addresses->list);
	memset(addresses, 0, sizeof(*addresses));
}
