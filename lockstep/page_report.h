/*
 * Which pages of memory differ between two replicas at a vote, and in which bits.
 */
#ifndef TERCET_LOCKSTEP_PAGE_REPORT_H
#define TERCET_LOCKSTEP_PAGE_REPORT_H

#include <jansson.h>
#include <stdint.h>

#include "lockstep/digest.h"
#include "lockstep/report.h"

/* A new JSON array, one object a page: its guest-physical `address`, and `bits` and `bit_count` where they can be
 * told. Bits are numbered from the page's start. `*count` is the number of pages, also of those that the list has no
 * room for.
 *
 * A leader has run on since it voted, and its memory with it. Where a page of one side is no longer what was voted,
 * its hash still tells whether one flipped bit of the other side's page makes all the difference, and which. */
json_t *page_report(const struct report_side *suspect, const struct report_side *reference,
		    struct digest_context *digests, uint64_t *count);

#endif
