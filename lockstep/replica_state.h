/*
 * What a replica knows of itself. Private to replica.c, the story of its life, attend.c, what the supervisor makes it
 * do besides, and resync.c, how it takes over another's state.
 */
#ifndef TERCET_LOCKSTEP_REPLICA_STATE_H
#define TERCET_LOCKSTEP_REPLICA_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "lockstep/ballot.h"
#include "lockstep/checkpoint.h"
#include "lockstep/control.h"
#include "lockstep/outbox.h"
#include "lockstep/preempt.h"
#include "lockstep/replica_config.h"
#include "lockstep/source.h"
#include "vmm/machine.h"

/* A fetch that is looked for among those that are outstanding. */
struct fetch_sought {
	uint32_t device;
	uint64_t id;
	bool found;
	uint64_t check;
};

/* What a leader knows of its devices' fetches. */
struct fetch_state {
	uint64_t made; /* published so far, and of these, the supervisor was told of */
	uint64_t rung;
	bool lost;     /* some were; they are to be made again */
	uint32_t again_seen; /* of the supervisor's word */
	struct fetch_sought *sought; /* not NULL: they are told, not made */
};

struct replica {
	struct replica_config config;
	struct area own;
	struct area peers[VOTE_REPLICAS_MAX];
	struct ram peer_rams[VOTE_REPLICAS_MAX]; /* read-only */
	struct supervisor_page *supervisor;
	struct ram ram;
	struct board *board;
	struct machine machine;
	struct outbox outbox;
	struct ballot_box box;
	struct checkpoint checkpoint; /* of the last vote that was agreed, where two replicas have nobody to ask */
	union {
		struct source_live live;
		struct source_tape tape;
	} sources;
	struct source *source;
	bool leads;
	uint32_t epoch;          /* the leadership that is followed */
	uint32_t attention_seen;

	struct inject_fault faults[INJECT_FAULTS_MAX + 1]; /* that are still to be committed; the last one comes late */
	unsigned fault_count;
	uint64_t slow_factor; /* on purpose; 0 or 1: not slow */

	struct preempt preempt;
	const struct stop_point *stop; /* at which the segment at hand ends, or NULL */

	enum machine_end end;
	uint64_t end_value;
	bool end_voted;
	uint64_t console_taken;
	uint64_t buttons_taken;
	uint64_t inbox_taken;
	uint64_t resets_taken;
	uint64_t boots; /* beginnings before this one */
	struct fetch_state fetches;
	uint64_t output_host_ns; /* when the oldest output since the last vote was made */
	bool output_urgent;      /* there is output that a device waits for, since the last vote */
	uint64_t scrub_at;       /* the next page to scrub */
	uint64_t scrub_since;    /* host time of the last scrub */
	bool parted;             /* others' exits differed from its own (rendezvous.h): a vote is wanted */
	bool moved;              /* the next exit is at hand already */
	bool rejoined;           /* the machine stands elsewhere, at a vote point: begin there */
	bool leave;
};

/* What it counts, where the supervisor can see it. */
static inline struct replica_statistics *replica_statistics_of(struct replica *replica)
{
	return &replica->own.control->statistics;
}

#endif
