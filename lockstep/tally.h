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
	struct histogram vote_latency; /* ns from the first ballot of a vote to its verdict */
	uint64_t releases;      /* points at which output left, where there was nothing to compare with */
	uint64_t unconfirmed;   /* votes of one replica whose peers were lost */
	uint64_t repairs;       /* replicas that took over a majority's state */
	uint64_t failovers;
	uint64_t respawns;      /* processes that were started anew */
	uint64_t rollbacks;
	uint64_t resets;        /* of the machine, by its guest or by somebody who asked for it */
	uint64_t positions;     /* at the last vote */
	uint64_t wall_ns;
	uint64_t life_ns;       /* until the replicas' processes were gone, too */
	struct stopwatch time;  /* the supervisor's, by enum duty */
	uint64_t console_bytes;
	uint64_t ram_pages;     /* compared at the end */
	uint64_t ram_differing;
	const struct histogram *commit_latency;
	const char *end;        /* how the machine ended */
	json_t *differences;    /* array */
	json_t *devices;        /* array: what each did, or NULL */
	json_t *retired;        /* array */
	json_t *faults;         /* array: what went wrong, when, and when it was right again */
	json_t *overshoots;     /* array: likewise, of stops that were not found */
	json_t *events;         /* array: the last TALLY_EVENTS_MAX */
};

enum { TALLY_EVENTS_MAX = 1024, TALLY_FAULTS_MAX = 4096 };

/* Starts with everything at 0. Errors: no memory. */
must_check result tally_create(struct tally *tally);
void tally_destroy(struct tally *tally);

/* Books a member that no longer takes part. */
void tally_retire(struct tally *tally, unsigned replica, uint64_t position, const char *why);

/* Books a fault that was detected, or a stop that was not found ("overshot", "unfound"); the object is the tally's own,
 * to be completed later. `times` are ns since the machine's start; an `injected_ns` of 0 is left out. NULL without
 * memory, and beyond TALLY_FAULTS_MAX. */
json_t *tally_fault(struct tally *tally, unsigned replica, const char *kind, uint64_t position, uint64_t injected_ns,
		    uint64_t detected_ns);

/* Books an event; the array drops its oldest. */
void tally_event(struct tally *tally, json_t *event);

/* What a replica counted of preemptions: as a leader, and in the hunts for its leaders' stops. */
json_t *tally_preemption(const struct replica_statistics *counted);

/* The statistics of a machine with these members, as a new object; `leader` is the last one. NULL without memory. */
json_t *tally_json(const struct tally *tally, const struct member *members, unsigned replicas, unsigned leader);

/* Writes the statistics of a machine with these members; `leader` is the last one. Errors: cannot be written. */
must_check result tally_write(const struct tally *tally, const struct member *members, unsigned replicas,
			      unsigned leader, const char *path);

#endif
