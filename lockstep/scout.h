/*
 * Scout: a leader that wants to stop looks for a place where its followers find it again at little cost: one that the
 * guest comes to so seldom that all visits on the way there can be looked at.
 */
#ifndef TERCET_LOCKSTEP_SCOUT_H
#define TERCET_LOCKSTEP_SCOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "vmm/breakpoint.h"
#include "vmm/machine_stop.h"
#include "vmm/registers.h"

struct replica;

/* A place that is met so often, and is not good, is left alone. Of such places more are known than are looked at. */
enum { SCOUT_VISITS = 4, SCOUT_CANDIDATES = 2 * BREAKPOINTS_MAX };

struct scout_candidate {
	struct breakpoint place;
	uint64_t recurs_ns; /* between two visits, on average; 0: not known */
	uint64_t met_at;    /* what the guest had run at the first one, */
	uint64_t went_at;   /* at least, by `went_ns` */
	uint64_t gpr[SCOUT_VISITS][GPR_COUNT]; /* at each visit */
	unsigned visits;
	bool dense; /* and left alone, now or since shortly before */
	unsigned order; /* of those that are dense: what has a higher one was met as often later, so less often */
	bool alone; /* it was the only one planted when that was measured last */
	bool same; /* at two of the visits all general registers and all memory were the same */
};

struct scout {
	struct replica *replica;
	uint64_t way; /* ns from the segment's beginning on, at most */
	uint32_t leads; /* general registers, by bit, that have moved steadily on the way, and at the place, too, where
			 * followers cannot do without: 0: none */
	bool looked;    /* these need not be looked at again */
	/* What comes of it: */
	uint64_t cost_ns; /* what all of this has cost */
	uint64_t went_ns; /* that the guest has run meanwhile, at least */
	bool ended;       /* the guest has come to an exit */
	bool gone;        /* the supervisor had other plans */
	bool in_place;    /* followers will find the stop by executing all of the way */
	/* Its own: */
	struct scout_candidate candidates[SCOUT_CANDIDATES];
	unsigned count;
	uint64_t until;   /* host time */
	uint64_t hit_at;  /* the thread's time at the last hit */
	uint64_t left_at; /* and when the guest left a place; 0: never */
	uint64_t ran_ns;  /* that it has run since the first one */
	uint64_t step_ns; /* what it takes to get past a place, at least */
};

/* Goes on until the guest is where it may be stopped at all; `*found`: it is, and `state` is how it stands there. */
must_check result scout_any(struct scout *scout, struct cpu_state *state, bool *found);

/*
 * From `state` on the guest runs, for about `settle` ns of the host's time, until it comes to a place that it seldom
 * comes to; that it does so every `*recurs_ns` ns is known then, and it stands there, before the instruction. 0: there
 * is none, or all is over. `state` changes meanwhile.
 */
must_check result scout_rare(struct scout *scout, struct cpu_state *state, uint64_t settle,
			     uint64_t *recurs_ns);

/*
 * Where no place is good: goes on to somewhere that followers can find all the same, because registers lead there, or
 * by executing all of the way in place. There it is right behind an instruction that sets all arithmetic flags, if one
 * is near: what BT and others leave undefined must not be in a stop, since emulated processors may take it from where
 * their translated code begins, which differs between a leader and its followers. `*found`: there is such a place, and
 * the guest stands there, as `state` tells.
 */
must_check result scout_wherever(struct scout *scout, struct cpu_state *state, bool *found);

/* Up to which way, in ns from the segment's beginning, it will do to stop at a place that is visited so often. */
uint64_t scout_way_most(const struct scout *scout, uint64_t recurs_ns);

/* --- for scout_measure.c --- */

/* Goes on to the next breakpoint, exit or alarm. */
must_check result scout_go_on(struct scout *scout, enum machine_stop *stop);

/* Whether there is more to look for: the guest has come to no exit, nobody has other plans, and there is time. */
bool scout_may_go_on(const struct scout *scout);

/* Past the place at hand. */
must_check result scout_leave_place(struct scout *scout);

/* A candidate is met with these registers; whether it was met with the same ones before. */
bool scout_note_registers(struct scout_candidate *candidate, const uint64_t gpr[GPR_COUNT]);

/* How long the guest ran between two hits, at least. The hit itself takes about as long as a step. */
uint64_t scout_ran_to_hit(const struct scout *scout);

/*
 * From one visit of a candidate to the next ones, with nothing else in the way: what is planted between makes places
 * look farther apart than they are, and what is remembered may be so no more. What is too near to be measured so is
 * counted in place. Nothing is planted then. A candidate that is not met is taken to be as far apart as was waited.
 */
must_check result scout_measure_alone(struct scout *scout, struct scout_candidate *candidate);

#endif
