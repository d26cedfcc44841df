/* Peers and orders; see peers.h. */
#include "peers.h"

#include <arpa/inet.h>
#include <stdlib.h>

/* Keys of 36 bytes and more: with so many of them, each is read from memory again. */
static const size_t shortest_order = 1 << 22;

/* splitmix64 (Steele, Lea and Flood 2014) */
static uint64_t roll(uint64_t *state)
{
	uint64_t value = *state += 0x9e3779b97f4a7c15u;

	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
	return value ^ (value >> 31);
}

/* Odd factors and shifts can be undone, so different numbers have different addresses. */
static uint32_t scatter(uint32_t number)
{
	number = (number ^ (number >> 16)) * 0x9e3779b1u;
	number = (number ^ (number >> 15)) * 0x85ebca6bu;
	return number ^ (number >> 16);
}

struct peer *peers_make(uint32_t first, uint32_t count)
{
	struct peer *peers = calloc(count, sizeof(*peers));

	if (peers == NULL)
		return NULL;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t state = first + i;

		peers[i] = (struct peer){
			.remote.address = ip_address_from_ipv4(htonl(scatter(first + i))),
			.remote.port = htons((uint16_t)(1024 + roll(&state) % 64512)),
			.own_address = ip_address_from_ipv4(htonl(0xc0000201)),
		};
	}
	return peers;
}

size_t order_length(uint32_t count)
{
	return (shortest_order + count - 1) / count * count;
}

uint32_t *order_make(uint32_t count, uint64_t seed)
{
	size_t length = order_length(count);
	uint32_t *order = malloc(length * sizeof(*order));

	if (order == NULL)
		return NULL;
	for (size_t i = 0; i < length; i++)
		order[i] = (uint32_t)(i % count);
	/* Fisher and Yates */
	for (size_t begin = 0; begin < length; begin += count) {
		uint32_t *round = order + begin;

		for (uint32_t left = count; left > 1; left--) {
			uint32_t chosen = (uint32_t)(roll(&seed) % left);
			uint32_t last = round[left - 1];

			round[left - 1] = round[chosen];
			round[chosen] = last;
		}
	}
	return order;
}
