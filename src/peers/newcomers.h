/*
 * Newcomers: entries that were made and that nobody has told of yet, for --log-peers.
 *
 * Theory of operation. Workers push onto a stack of indices, linked through the entries' records.
 * The control thread takes the whole stack at once and keeps what it took in a list of its own,
 * oldest first; once in there, only it touches the links.
 */
#ifndef UDP_ENCAP_TUN_NEWCOMERS_H
#define UDP_ENCAP_TUN_NEWCOMERS_H

#include "peers/connection_store.h"

struct newcomers {
	struct peer_record *records; /* of the entries; NULL: not kept */
	uint32_t oldest_untold;      /* index + 1; control thread, as the next one */
	uint32_t youngest_untold;
	_Alignas(64) _Atomic uint32_t pushed; /* index + 1 of the youngest */
};

/** Prepares the records of so many entries. Returns false when there is no memory for them. */
bool newcomers_open(struct newcomers *newcomers, uint32_t entries);

/** Frees them; all zero is fine. */
void newcomers_close(struct newcomers *newcomers, uint32_t entries);

/** Begins the record of an entry that is being made. Any thread. */
void newcomers_begin_record(struct newcomers *newcomers, uint32_t index, uint32_t now);

/** Lists an entry that was published. Any thread. */
void newcomers_push(struct newcomers *newcomers, uint32_t index);

/** Takes the next untold one. Returns its index + 1, or 0 when there is none. Control thread. */
uint32_t newcomers_next(struct newcomers *newcomers);

/** Takes over what the workers listed. Control thread. */
void newcomers_take_over(struct newcomers *newcomers);

/**
 * Takes those out of the list that went, and whose entries are about to be used again. After a
 * grace period: a worker that made one of them has also listed it. Control thread.
 */
void newcomers_forget(struct newcomers *newcomers,
		      bool (*has_gone)(uint32_t index, const void *argument), const void *argument);

#endif
