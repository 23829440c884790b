/*
 * A supervisor without its event loop, and made-up members: their areas are written by the test, their processes do
 * nothing but exist.
 */
#ifndef TERCET_TESTS_UNIT_SUPERVISED_H
#define TERCET_TESTS_UNIT_SUPERVISED_H

#include "lockstep/supervisor_state.h"
#include "tests/unit/guest_memory.h"

#define SUPERVISED_WATCHDOG (1000 * NS_PER_S)

struct supervised {
	struct machine_options options;
	struct supervisor *supervisor;
	struct area own[VOTE_REPLICAS_MAX]; /* as their owners see them */
	uint64_t cast_ns[VOTE_REPLICAS_MAX]; /* host time that their ballots give */
};

/* What main() of such a test calls first: a process that the supervisor starts anew is the test's own program, and
 * stays in here. */
void supervised_be_replica(int argc, char **argv);

/* Makes a supervisor of `count` replicas that are all alive; replica 0 leads. */
void supervised_make(struct supervised *supervised, unsigned count);

/* Ends all of its processes. */
void supervised_destroy(struct supervised *supervised);

/* Whether a member has a process that lives. */
bool supervised_runs(const struct supervised *supervised, unsigned index);

/* A replica has reached a position, and read or written so much of the tape. */
void supervised_stand(struct supervised *supervised, unsigned index, uint64_t position, uint64_t tape);

/* A replica publishes its next vote at the position where it stands; ballots of one `kind` are equal. */
void supervised_vote(struct supervised *supervised, unsigned index, unsigned kind);

/* All who live vote alike that the guest has ended so, and the vote is judged. */
void supervised_end(struct supervised *supervised, enum machine_end end, uint64_t value);

/* A replica complains of the tape where it stands. */
void supervised_complain(struct supervised *supervised, unsigned index);

/* A replica has carried out its order, and publishes the record of the vote at hand with this ballot. */
void supervised_obey(struct supervised *supervised, unsigned index, unsigned kind);

/* All who live vote alike at `position`, and the vote is judged. */
void supervised_agree(struct supervised *supervised, uint64_t position);

/* All who live have come to the last leadership. */
void supervised_follow(struct supervised *supervised);

/* The last leadership, as replicas see it. */
struct leadership supervised_leadership(const struct supervised *supervised);

/* The test fails unless the last leadership is this one; `begin` is not looked at for the first, number 0. */
void supervised_must_be_led(const struct supervised *supervised, uint32_t epoch, unsigned leader,
			    enum leadership_begin begin);

/* The test fails unless a member is in this phase, with all that belongs to it. */
void supervised_must_be(const struct supervised *supervised, unsigned index, enum care_phase phase);

/* The test fails unless a member has this order, and has not carried it out. */
void supervised_must_have_order(const struct supervised *supervised, unsigned index, enum order_kind kind,
				unsigned donor, uint64_t vote);

/* The number of events of a kind that were told. */
unsigned supervised_events(const struct supervised *supervised, const char *name);

#endif
