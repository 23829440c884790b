/*
 * A guest that computes and writes memory at a rate that is given: what replication costs as pages are dirtied. The
 * work is the same at every rate; what grows is the number of pages that are written in between, one word in each,
 * one after the other through all of its memory, so that each is a page that was not written since the last time
 * round. What the arguments mean to it:
 *   scale=N   20 ms of computing each, on a 3 GHz core of 2023
 *   rate=N    pages that are written in a second of that computing (default 1000; 0: none)
 *   bytes=N   memory that it writes to, rounded down to pages
 * Its second line tells how many pages it writes, and in how much memory.
 */
#include <stdbool.h>

#include "guest-tools/payloads/payload.h"

enum {
	PAGE = 4096,
	PAGE_WORDS = PAGE / 8,
	SLICE_US = 50,
	SLICE_ROUNDS = 37500, /* of the computing, some 50 us: four cycles each for a multiplication and an addition */
	SCALE_MS = 20,
	PAGES_MIN = 16,
};

const char payload_name[] = "dirty";

static uint64_t compute(uint64_t value)
{
	for (uint64_t i = 0; i < SLICE_ROUNDS; i++)
		value = value * 0xD1342543DE82EF95 + i;
	return value;
}

uint32_t payload_main(struct payload *payload)
{
	const uint64_t slices = payload->scale * SCALE_MS * 1000 / SLICE_US;
	const uint64_t pages = (payload->bytes < payload->memory_size ? payload->bytes : payload->memory_size) / PAGE;
	volatile uint64_t *words = (uint64_t *)(void *)payload->memory;
	uint64_t value = payload->seed, written = 0;

	if (pages < PAGES_MIN) {
		payload_print("dirty: needs 64 KiB to write to\n");
		return PAYLOAD_ARGUMENTS;
	}
	payload_print("writes ");
	payload_print_decimal(slices * payload->rate * SLICE_US / 1000000);
	payload_print(" of ");
	payload_print_decimal(pages);
	payload_print("\n");
	for (uint64_t slice = 1; slice <= slices; slice++) {
		value = compute(value);
		for (; written < slice * payload->rate * SLICE_US / 1000000; written++)
			words[written % pages * PAGE_WORDS] = value + written;
		payload_pace(payload, SLICE_US * 1000);
	}
	payload_check(payload, value);
	for (uint64_t page = 0; page < pages && page < written; page++)
		payload_check(payload, words[page * PAGE_WORDS]);
	return PAYLOAD_GOOD;
}
