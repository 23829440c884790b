/*
 * Loops of the guest whose memory operands are in the same place in every round: one round of such a loop becomes one
 * piece of code, the very same instructions in their order (native_thunk.h says in what they differ), which goes round
 * by itself. It comes out after so many rounds, where a branch goes another way than in the round that was recorded,
 * and where the registers are those that are looked for. So a loop of a few instructions is executed about as fast as
 * on its vCPU.
 *
 * What is known of a loop holds in one epoch of code (native_memory.h); in the next one the first round is compared.
 */
#ifndef TERCET_VMM_NATIVE_LOOP_H
#define TERCET_VMM_NATIVE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "vmm/native_execute.h"

/* Known at a time. */
enum { NATIVE_LOOPS = 16 };

struct native_loop_step {
	uint64_t rip;
	uint64_t aside; /* where a branch leads that goes the other way */
	bool taken;     /* a branch that is */
	struct native_op op;
};

struct native_loop_trace {
	unsigned count;
	struct native_loop_step steps[NATIVE_LOOP_STEPS];
};

typedef void native_loop_code(struct native_cpu *cpu);

struct native_loop {
	uint64_t rip;      /* of its first instruction */
	uint64_t epoch;    /* in which it is known to be as it was; 0: none */
	uint64_t arrivals; /* at its first instruction, since it was last looked at */
	uint64_t patience; /* after so many it is looked at again */
	uint64_t target;   /* that was asked about last; */
	bool hides_target; /* it is in a round, and not at its beginning */
	native_loop_code *code; /* or NULL */
	struct native_loop_trace trace;
};

struct native_loops {
	struct native_code memory;
	struct native_loop loops[NATIVE_LOOPS];
	struct native_loop *recording; /* the one whose round is being executed, or NULL */
	struct native_loop_trace trace; /* of that round so far, */
	uint64_t epoch;                 /* and the epoch that it is in */
};

/* Errors as native_code_create. */
must_check result native_loops_create(struct native_loops *loops);
void native_loops_destroy(struct native_loops *loops);

/* Forgets a round that is being recorded: execution was interrupted. */
void native_loops_interrupt(struct native_loops *loops);

/*
 * The guest has arrived at `rip`, from behind. Gives the loop that begins here, if it is one and known in this `epoch`;
 * `target`, the address of an instruction that is looked for, can be its first instruction's alone. Otherwise it may be
 * watched from here on.
 */
struct native_loop *native_loops_arrive(struct native_loops *loops, uint64_t rip, uint64_t epoch, uint64_t target);

/* Whether a round is being recorded. */
static inline bool native_loops_watch(const struct native_loops *loops)
{
	return loops->recording != NULL;
}

/* The instruction `op` at `rip` was executed, and led to `next`: to be called where native_loops_watch. */
void native_loops_note(struct native_loops *loops, const struct native_op *op, uint64_t rip, uint64_t next,
		       uint64_t epoch, uint64_t target);

/* How a loop was left. */
struct native_loop_outcome {
	uint64_t rounds;   /* that were completed */
	uint64_t executed; /* instructions */
	uint64_t rip;
	bool aside; /* in a round, by a branch */
};

/* Executes up to `rounds` (not 0) rounds, or until all registers that the loop changes are those behind one. False:
 * nothing was done, because its memory cannot be reached now, or holds code. */
bool native_loop_run(struct native_loop *loop, struct native_guest *guest, const uint64_t wanted[GPR_COUNT],
		     uint64_t rounds, struct native_loop_outcome *outcome);

#endif
