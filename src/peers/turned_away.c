/* Newcomers that were turned away; see turned_away.h for the theory of operation. */
#include "peers/turned_away.h"

#include "base/lazy_memory.h"

enum {
	LINES = 1 << 14,
	WORDS_OF_LINE = 16, /* 64 bytes */

	/* A word: this part is the time, the rest the newcomer's. The time goes round in 65 s. */
	TIME_BITS = 10,
	TIME_MASK = (1 << TIME_BITS) - 1,
	TIME_UNIT_MS = 64,
	LEAST_AGE = 500 / TIME_UNIT_MS + 2, /* of two times that are rounded down */
	MOST_AGE = 8000 / TIME_UNIT_MS,
};

static const size_t table_size = (size_t)LINES * WORDS_OF_LINE * sizeof(uint32_t);

bool turned_away_open(struct turned_away *table)
{
	table->words = lazy_memory_map(table_size);
	return table->words != NULL;
}

void turned_away_close(struct turned_away *table)
{
	lazy_memory_unmap(table->words, table_size);
}

static uint32_t age_of(uint32_t word, uint32_t now)
{
	return word == 0 ? TIME_MASK : (now - word) & TIME_MASK;
}

bool turned_away_comes_again(struct turned_away *table, uint64_t hash, uint64_t milliseconds)
{
	/* both parts apart from each other, and from the bits that order the hash table */
	_Atomic uint32_t *line = table->words + (hash >> 16) % LINES * WORDS_OF_LINE;
	uint32_t newcomer = (uint32_t)(hash >> 32) & ~(uint32_t)TIME_MASK;
	uint32_t now = (uint32_t)(milliseconds / TIME_UNIT_MS) & TIME_MASK;
	uint32_t oldest = 0, oldest_age = 0;

	for (uint32_t i = 0; i < WORDS_OF_LINE; i++) {
		uint32_t word = atomic_load_explicit(&line[i], memory_order_relaxed);
		uint32_t age = age_of(word, now);

		if (word != 0 && (word & ~(uint32_t)TIME_MASK) == newcomer && age <= MOST_AGE)
			return age >= LEAST_AGE;
		if (age >= oldest_age) {
			oldest = i;
			oldest_age = age;
		}
	}
	atomic_store_explicit(&line[oldest], newcomer | now, memory_order_relaxed);
	return false;
}
