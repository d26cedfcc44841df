/*
 * Newcomers: entries that were made and that nobody has told of yet, for --log-peers.
 *
 * Theory of operation. They stand in a queue (index_queue.h) that is linked through the entries'
 * records.
 */
#ifndef UDP_ENCAP_TUN_NEWCOMERS_H
#define UDP_ENCAP_TUN_NEWCOMERS_H

#include "peers/connection_store.h"
#include "peers/index_queue.h"

struct newcomers {
	struct peer_record *records; /* of the entries; NULL: not kept */
	struct index_queue untold;
};

/** Prepares the records of so many entries. Returns false when there is no memory for them. */
bool newcomers_open(struct newcomers *newcomers, uint32_t entries);

/** Frees them; all zero is fine. */
void newcomers_close(struct newcomers *newcomers, uint32_t entries);

/** Begins the record of an entry that is being made. Any thread. */
void newcomers_begin_record(struct newcomers *newcomers, uint32_t index, uint32_t now);

#endif
