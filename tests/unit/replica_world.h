/*
 * Whole replicas in one process, with everything that they share, and a supervisor's page that the test writes: what
 * replica.c makes in as many processes. With guests, where there is a KVM, or without.
 */
#ifndef TERCET_TESTS_UNIT_REPLICA_WORLD_H
#define TERCET_TESTS_UNIT_REPLICA_WORLD_H

#include "lockstep/leadership.h"
#include "lockstep/replica_state.h"
#include "tests/unit/guest_machine.h"

enum { REPLICA_WORLD_PAGES = GUEST_MACHINE_MEMORY / RAM_PAGE_SIZE };

struct replica_world {
	unsigned count;
	bool guests;                  /* with machines */
	bool kernels;                 /* whose code runs in ring 0; to be set before they are made */
	struct supervisor_page *page; /* written by the supervisor */
	struct replica *replicas[VOTE_REPLICAS_MAX];
	int area_fds[VOTE_REPLICAS_MAX], ram_fds[VOTE_REPLICAS_MAX];
	int doorbell_fd;
};

/* Makes `count` replicas of a guest with this code (guest_machine.h), replica 0 leading; with NULL for the code they
 * have no machine but its position, and their votes no digests but that of output. */
void replica_world_make(struct replica_world *world, unsigned count, const uint8_t *code, const uint8_t *code_end);

/* All of them follow replica 0 from power-on, and attend to the supervisor. */
void replica_world_attend(struct replica_world *world);

void replica_world_destroy(struct replica_world *world);

/* Makes one anew, as a process that joins: memories empty, nothing known. */
void replica_world_respawn(struct replica_world *world, unsigned index);

/* So many positions, and completes the last one. Time goes on by 1 us wherever it is asked for. */
void replica_world_run(struct replica *replica, unsigned positions);

/* Casts a vote, as replica.c does at a vote point, and gives its record. */
const struct vote_record *replica_world_vote(struct replica *replica);

/* The record of the last vote. */
const struct vote_record *replica_world_record(const struct replica *replica);

/* The supervisor has something to say to a replica. */
void replica_world_call(struct replica_world *world, unsigned index);

/* The supervisor's order; gives its serial. */
uint32_t replica_world_order(struct replica_world *world, unsigned index, enum order_kind kind, unsigned donor,
			     uint64_t vote);

/* Whether the supervisor was rung since the last time. */
bool replica_world_rung(struct replica_world *world);

/* The digests in which two records differ, one bit each. */
unsigned replica_world_difference(const struct vote_record *one, const struct vote_record *other);

#endif
