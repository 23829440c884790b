#include "lockstep/hotpages.h"

#include <stdbool.h>
#include <stdlib.h>

result hotpages_create(struct hotpages *hotpages, uint64_t pages)
{
	const size_t words = (size_t)((pages + 63) / 64);

	*hotpages = (struct hotpages){ .changed = calloc(words * 64, sizeof(uint32_t)), .words = words };
	if (!hotpages->changed)
		return fail(STATUS_FAILED, "no memory to tell which of %llu pages are written often",
			    (unsigned long long)pages);
	return OK;
}

void hotpages_destroy(struct hotpages *hotpages)
{
	free(hotpages->changed);
	*hotpages = (struct hotpages){ .changed = NULL };
}

/* The number of a round comes round again after years, and then costs a few hashes. */
static bool is_hot(const struct hotpages *hotpages, uint64_t page)
{
	return hotpages->changed[page] != 0 && hotpages->round - hotpages->changed[page] <= HOTPAGES_ROUNDS;
}

void hotpages_choose(struct hotpages *hotpages, const uint64_t *written, uint64_t *watch)
{
	hotpages->round++;
	for (size_t i = 0; i < hotpages->words; i++) {
		watch[i] = written[i];
		for (uint64_t word = written[i]; word; word &= word - 1)
			if (is_hot(hotpages, i * 64 + (uint64_t)__builtin_ctzll(word)))
				watch[i] &= ~(word & -word);
	}
}

void hotpages_note(struct hotpages *hotpages, uint64_t page)
{
	hotpages->changed[page] = hotpages->round;
}
