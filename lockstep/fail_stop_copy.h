/*
 * What a report of a stopped machine is made of: private copies of what stands in the replicas' areas, with everything
 * bounded that is used as an index or a length.
 */
#ifndef TERCET_LOCKSTEP_FAIL_STOP_COPY_H
#define TERCET_LOCKSTEP_FAIL_STOP_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "lockstep/fail_stop.h"

enum {
	FAIL_STOP_EXITS = 64,        /* of each replica */
	FAIL_STOP_TAPE = 64 << 10,   /* bytes of each tape's tail */
	FAIL_STOP_PAGES = 64,
};

enum fail_stop_exit_state {
	FAIL_STOP_EXIT_ALIKE,   /* as in the logs of all replicas that still have it */
	FAIL_STOP_EXIT_DIFFERS,
	FAIL_STOP_EXIT_DAMAGED, /* the log has something else at this position's place */
};

struct fail_stop_exit {
	uint64_t position;
	enum fail_stop_exit_state state;
	struct exit_record record;
};

/* One replica. */
struct fail_stop_side {
	unsigned replica;
	const struct ram *ram;      /* or NULL; a page is copied when it is written */
	struct vote_record *record; /* or NULL; devices_size is in bounds, and nothing else is checked */
	bool area;                  /* whether there was an area; else nothing below has a meaning */
	bool damaged;               /* a word of its control page says that it is: reached or tape_end */
	uint64_t reached;
	uint64_t votes;
	char failure[CONTROL_FAILURE_SIZE]; /* what the replica says of itself: printable ASCII */
	struct fail_stop_exit exits[FAIL_STOP_EXITS]; /* ascending positions */
	unsigned exit_count;
	uint8_t *tape;       /* stream offsets tape_begin to tape_end */
	uint64_t tape_begin;
	uint64_t tape_end;
};

struct fail_stop_copy {
	const struct fail_stop_facts *facts;
	char why[sizeof(((struct failure *)NULL)->message)];
	char name[65]; /* fit for a file's name */
	struct fail_stop_side sides[VOTE_REPLICAS_MAX];
	unsigned side_count;
	uint64_t pages[FAIL_STOP_PAGES]; /* guest-physical addresses of pages that differ */
	unsigned page_count;
	bool pages_by_hash; /* no vote names them: those whose entries in the tables of page hashes differ */
};

/* Copies. Give it to fail_stop_copy_free even if it failed. Errors: no memory. */
must_check result fail_stop_copy_take(struct fail_stop_copy *copy, const struct fail_stop_facts *facts);
void fail_stop_copy_free(struct fail_stop_copy *copy);

/* How a replica says that the machine stands ("running", "power_off", ...), from its vote record. */
const char *fail_stop_copy_end_name(uint32_t end);

#endif
