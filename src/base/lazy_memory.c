/* Lazily mapped memory; see lazy_memory.h. */
#include "base/lazy_memory.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>

enum {
	HUGE_PAGE_SIZE = 2 * 1024 * 1024, /* where it is another, this is only an alignment */
	WORTH_HUGE_PAGES = 16 * 1024 * 1024,
};

static bool is_large(size_t size)
{
	return size >= WORTH_HUGE_PAGES;
}

/* Large ones end where a huge page does. */
static size_t mapped_size(size_t size)
{
	return is_large(size) ? (size + HUGE_PAGE_SIZE - 1) & ~(size_t)(HUGE_PAGE_SIZE - 1) : size;
}

static void *map(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

/* A mapping that begins where a huge page does: what is too much at both ends is given back. */
static void *map_huge_pages(size_t size)
{
	uint8_t *memory = map(size + HUGE_PAGE_SIZE);
	size_t before;

	if (memory == NULL)
		return NULL;
	before = (HUGE_PAGE_SIZE - (uintptr_t)memory % HUGE_PAGE_SIZE) % HUGE_PAGE_SIZE;
	if (before > 0)
		(void)munmap(memory, before);
	(void)munmap(memory + before + size, HUGE_PAGE_SIZE - before);
	/* a kernel without huge pages says no: slower, not less */
	(void)madvise(memory + before, size, MADV_HUGEPAGE);
	return memory + before;
}

void *lazy_memory_map(size_t size)
{
	return is_large(size) ? map_huge_pages(mapped_size(size)) : map(size);
}

void lazy_memory_unmap(void *memory, size_t size)
{
	if (memory != NULL)
		(void)munmap(memory, mapped_size(size));
}
