/*
 * Leader and followers in one process: areas, the supervisor's page, and each replica's links as spawn.c makes them.
 */
#ifndef TERCET_TESTS_UNIT_REPLICAS_H
#define TERCET_TESTS_UNIT_REPLICAS_H

#include "base/futex.h"
#include "lockstep/source.h"
#include "tests/unit/guest_memory.h"

enum { REPLICAS_PAGES = 64 };

struct replicas {
	unsigned count;
	struct area own[VOTE_REPLICAS_MAX];                      /* written by their owners */
	struct area peers[VOTE_REPLICAS_MAX][VOTE_REPLICAS_MAX]; /* [i][j]: how i sees j, read-only */
	struct supervisor_page *supervisor;                      /* written by the supervisor */
	struct supervisor_page *view;                            /* as the replicas see it */
	uint32_t attention_seen[VOTE_REPLICAS_MAX];
	uint64_t host_zero;
};

/* Makes `count` replicas, all alive; replica 0 leads. Guest time 0 was a second ago. */
void replicas_make(struct replicas *replicas, unsigned count);
struct source_links replicas_links(struct replicas *replicas, unsigned index);

/* The supervisor has something to say to a replica. */
void replicas_call(struct replicas *replicas, unsigned index);

/* The supervisor's console input and its wake-up. */
void replicas_type(struct replicas *replicas, const void *keys, size_t length);

/* A view of a running guest that wants nothing. */
struct source_view replicas_view(uint64_t position, uint64_t now);

/* Asks a source, which must succeed. */
struct input replicas_next(struct source *source, const struct source_view *view);

#endif
