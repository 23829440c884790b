/*
 * What the supervisor counts, and the statistics file that is made of it (docs/statistics.md).
 */
#ifndef TERCET_LOCKSTEP_TALLY_H
#define TERCET_LOCKSTEP_TALLY_H

#include <jansson.h>
#include <stdint.h>

#include "base/histogram.h"
#include "base/result.h"
#include "lockstep/control.h"
#include "lockstep/spawn.h"
#include "lockstep/vote.h"

struct tally {
	uint64_t votes[VOTE_NO_MAJORITY + 1]; /* by enum vote_kind */
	uint64_t by_cause[VOTE_CAUSES];
	uint64_t releases;      /* points at which output left, where there was nothing to compare with */
	uint64_t positions;     /* at the last vote */
	uint64_t wall_ns;
	uint64_t console_bytes;
	uint64_t ram_pages;     /* compared at the end */
	uint64_t ram_differing;
	const struct histogram *latency;
	const char *end;        /* how the machine ended */
	json_t *differences;    /* array */
	json_t *retired;        /* array */
};

/* Starts with everything at 0. Errors: no memory. */
must_check result tally_create(struct tally *tally);
void tally_destroy(struct tally *tally);

/* Books a member that no longer takes part. */
void tally_retire(struct tally *tally, unsigned replica, uint64_t position, const char *why);

/* Writes the statistics of a machine with these members; `leader` is the last one. Errors: cannot be written. */
must_check result tally_write(const struct tally *tally, const struct member *members, unsigned replicas,
			      unsigned leader, const char *path);

#endif
