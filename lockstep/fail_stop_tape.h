/*
 * Reading the tail of a tape that may be damaged: entry by entry, over what is not one, to the next that is.
 * Followers refuse a tape at its first damaged entry (lockstep/tape.h); who looks for a fault wants to see the rest.
 */
#ifndef TERCET_LOCKSTEP_FAIL_STOP_TAPE_H
#define TERCET_LOCKSTEP_FAIL_STOP_TAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lockstep/fail_stop_copy.h"
#include "lockstep/tape.h"

struct fail_stop_tape {
	const struct fail_stop_side *side;
	uint64_t at;
};

/* An entry, or a stretch of bytes that is none. */
struct fail_stop_tape_item {
	uint64_t at; /* stream offset */
	uint64_t size;
	const uint8_t *bytes;
	bool damaged;
	uint16_t kind; /* of an entry: any, also one that this version does not know; and the others */
	uint16_t length;
	uint64_t position;
	const uint8_t *payload;
};

/* A reader at the beginning of a replica's tail, which must outlive it. */
struct fail_stop_tape fail_stop_tape_of(const struct fail_stop_side *side);

/* The next item; false at the end. The remains of an entry of which the tail has only the end are skipped. */
bool fail_stop_tape_next(struct fail_stop_tape *tape, struct fail_stop_tape_item *item);

/* What an entry says, for people: "time 1500 ns", "console \"ls\\x0a\"". */
void fail_stop_tape_describe(const struct fail_stop_tape_item *item, char *text, size_t size);

#endif
