/*
 * Hot pages: those that the guest writes again within a few votes. To notice a page's first write since a vote costs
 * the guest a fault, as much as it costs to hash the page several times. A page that came back soon is left writable
 * therefore, and counts as written at every vote, until it has not changed for a while.
 */
#ifndef TERCET_LOCKSTEP_HOTPAGES_H
#define TERCET_LOCKSTEP_HOTPAGES_H

#include <stddef.h>
#include <stdint.h>

#include "base/result.h"

/* A page is hot for so many rounds after it changed. */
enum { HOTPAGES_ROUNDS = 4 };

struct hotpages {
	uint32_t *changed; /* by page: the round in which it changed last, 0: none yet */
	uint32_t round;
	size_t words;      /* of a bitmap of all pages */
};

/* For memory of so many pages, none of them hot. Errors: no memory. */
must_check result hotpages_create(struct hotpages *hotpages, uint64_t pages);
void hotpages_destroy(struct hotpages *hotpages);

/* A round begins: `written` has the pages that were written since the last one, and those that may have been because
 * they were left writable. `watch` gets those of them whose next write is to be noticed: all that are not hot. */
void hotpages_choose(struct hotpages *hotpages, const uint64_t *written, uint64_t *watch);

/* In this round the page was found to have changed. */
void hotpages_note(struct hotpages *hotpages, uint64_t page);

#endif
