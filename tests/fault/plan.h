/*
 * What a hostile replica is to do, as the environment tells it, and how far it has come: that outlives its process,
 * since hostile processes are killed and started again in the course of one run.
 *
 *   HOSTILE=MODE[,KEY=NUMBER]...   what to do: see plan_usage
 *   HOSTILE_STATE=PATH             a file that keeps count; absent or empty at first
 *   HOSTILE_LOG=PATH               one line a strike is appended: its number says how to do it again
 */
#ifndef TERCET_TESTS_FAULT_PLAN_H
#define TERCET_TESTS_FAULT_PLAN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "lockstep/control.h"
#include "lockstep/replica_config.h"

enum { PLAN_WORD = 32, PLAN_EACH = 100 };

/* Values of `replica=` besides a replica's number. */
enum plan_who { PLAN_LEADER = 100, PLAN_FOLLOWER = 101 };

/* Shared by all hostile processes of a run, and by runs that continue one another. */
struct plan_state {
	_Atomic uint64_t strikes;      /* begun */
	_Atomic uint64_t settled_at;   /* verdicts that must have been passed before the next */
	_Atomic uint64_t victim_done;  /* 1: the victim has killed itself */
};

struct plan {
	char mode[PLAN_WORD];
	uint64_t replica; /* who is hostile: a number, or an enum plan_who */
	uint64_t variant; /* of the mode */
	uint64_t first;   /* number of the first strike */
	uint64_t step;    /* from one strike's number to the next one's */
	uint64_t count;   /* strikes, at most; UINT64_MAX: all */
	uint64_t every;   /* votes or tape entries between two strikes */
	uint64_t hold;    /* us for which a value is kept */
	uint64_t settle;  /* 1: strikes only while everybody is healthy */
	uint64_t after;   /* vote before which nothing is done */
	uint64_t seed;
	uint64_t victim;  /* a replica that kills itself at vote `after`; 100: none */

	struct replica_config config;
	struct area own; /* this replica's, writable: a mapping besides the replica's own */
	struct supervisor_page *page;
	struct plan_state *state;
	int log_fd;
	uint64_t random; /* state of plan_random */
};

/* Takes the plan of this replica process. Errors: the environment says nothing that can be understood. */
must_check result plan_take(struct plan *plan, int config_fd);

/* What can stand in HOSTILE, for people. */
const char *plan_usage(void);

bool plan_is(const struct plan *plan, const char *mode);

/* Whether it is this replica's turn: it is the one that is hostile, and the machine is beyond vote `after`. */
bool plan_is_mine(const struct plan *plan);

/* Whether this replica leads by the supervisor's word. */
bool plan_leads(const struct plan *plan);

/* Takes the next strike of `space` possible ones: gives its number; false if there is none, or not now. */
bool plan_strike(struct plan *plan, uint64_t space, uint64_t *number);

/* Appends a line to the log. */
void plan_log(const struct plan *plan, const char *format, ...) printf_like(2, 3);

/* The variant of this strike out of `count`: the plan's, or with variant=100 one after the other. */
uint64_t plan_variant(const struct plan *plan, uint64_t strike, uint64_t count);

/* The next of a sequence of numbers that depends on the seed alone. */
uint64_t plan_random(struct plan *plan);

#endif
