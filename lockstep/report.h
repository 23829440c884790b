/*
 * What differed: the first differing exit, registers by name, device state, pages and bits, of one replica
 * against one that the majority stands behind. For people, for the statistics file and, later, for events.
 */
#ifndef TERCET_LOCKSTEP_REPORT_H
#define TERCET_LOCKSTEP_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lockstep/control.h"
#include "lockstep/digest.h"
#include "vmm/ram.h"

enum { REPORT_LIST_MAX = 64 }; /* entries of one list; counts tell how many there were */

/* One side of a comparison: everything read-only, and copied before it is trusted. */
struct report_side {
	unsigned replica;
	const struct area *area;
	const struct ram *ram;
	const struct vote_record *record;
};

/* Compares `suspect` with `reference` at a vote that they disagree about. `agreed_position` is that of the last
 * vote that all agreed about. Returns a new JSON object; NULL without memory. */
json_t *report_difference(const struct report_side *suspect, const struct report_side *reference,
			  uint64_t agreed_position, struct digest_context *digests);

/* Compares only the exits of two replicas that have not voted, from the last agreed position on. */
json_t *report_exits(const struct report_side *suspect, const struct report_side *reference,
		     uint64_t agreed_position);

/* Says the same in lines to people. */
void report_log(const json_t *difference);

#endif
