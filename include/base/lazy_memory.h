/*
 * Large arrays of the store: memory that is reserved at once, zero, and taken when it is touched.
 *
 * Theory of operation. A mapping, not calloc(): what no connection needs is never touched.
 * An array of many megabytes is read at random places, and with pages of 4 KiB nearly every such
 * read also misses the processor's table of translations. So a large one asks for huge pages, all
 * of each of which is taken at the first touch; a small one would only grow by them.
 */
#ifndef UDP_ENCAP_TUN_LAZY_MEMORY_H
#define UDP_ENCAP_TUN_LAZY_MEMORY_H

#include <stddef.h>

/**
 * Reserves memory, all zero. Control thread.
 * @size: bytes, more than 0
 * Returns NULL when there is no room in the address space.
 */
void *lazy_memory_map(size_t size);

/** Gives memory back; `memory` may be NULL. @size: as when it was reserved. Control thread. */
void lazy_memory_unmap(void *memory, size_t size);

#endif
