/*
 * Lazily mapped memory, for large arrays: mapped at once, all zero, and taken when it is touched.
 *
 * Theory of operation. A mapping, not calloc(): what no entry needs is never touched.
 * An array of many megabytes is read at random places, and with pages of 4 KiB nearly every such
 * read also misses the processor's table of translations. So a large one asks for huge pages, all
 * of each of which is taken at the first touch; a small one would only grow by them.
 */
#ifndef UDP_ENCAP_TUN_LAZY_MEMORY_H
#define UDP_ENCAP_TUN_LAZY_MEMORY_H

#include <stddef.h>

/**
 * Maps memory, all zero. Any thread.
 * @size: bytes, more than 0
 * Returns NULL when there is no room in the address space.
 */
void *lazy_memory_map(size_t size);

/** Unmaps it; `memory` may be NULL. @size: as when it was mapped. Any thread. */
void lazy_memory_unmap(void *memory, size_t size);

#endif
