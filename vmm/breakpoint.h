/*
 * Breakpoints: the guest stops right before an instruction is executed, without an exit and without a position. For
 * finding the instruction at which another machine was stopped.
 *
 * A machine that stops with MACHINE_BREAKPOINT is as a signal would have left it there: no register and no event is
 * different, RIP is on the instruction. Run on, it hits the same breakpoint again at once; breakpoints_step gets it
 * past.
 * Two of the three backends write over the guest's code. What they wrote is not there when memory is digested,
 * compared or handed on if breakpoints_lift has been called before, and does not count as dirty.
 *
 * Limits: the guest can see the bytes if it reads its own code, and keeps what it writes over them. A breakpoint must
 * not be set on an instruction in an interrupt shadow (instruction_decode knows). An instruction that faults while it
 * is stepped over is on its own until its handler has come back or something else is hit.
 */
#ifndef TERCET_VMM_BREAKPOINT_H
#define TERCET_VMM_BREAKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "vmm/machine.h"
#include "vmm/registers.h"

enum {
	BREAKPOINTS_MAX = 16,
	BREAKPOINTS_WAY = 2, /* more while one is stepped over: behind it, and where its fault leads */
	BREAKPOINT_BYTES = 2, /* of code that one takes, at most */
};

enum breakpoint_backend {
	BREAKPOINT_OUT,   /* the code becomes OUT to a port of our own: in ring 3 with ports open, without the shim */
	BREAKPOINT_HALT,  /* the code becomes HLT, an exit or a #GP: behind the shim */
	BREAKPOINT_DEBUG, /* debug registers: four, where the host's work in guests */
	BREAKPOINT_BACKENDS
};

struct breakpoint {
	uint64_t linear;   /* what BREAKPOINT_DEBUG looks at */
	uint64_t physical; /* what the others look at, wherever it is mapped */
};

/* What is written over one breakpoint's code. */
struct breakpoint_patch {
	uint64_t address[BREAKPOINT_BYTES]; /* guest-physical, byte by byte */
	uint8_t original[BREAKPOINT_BYTES];
};

struct breakpoints {
	struct machine *machine;
	const struct breakpoint_kind *kind;
	struct breakpoint planted[BREAKPOINTS_MAX + BREAKPOINTS_WAY];
	struct breakpoint_patch patches[BREAKPOINTS_MAX + BREAKPOINTS_WAY];
	unsigned count;
	/* At the last hit: general registers, RIP, RFLAGS, and what address translation needs. The rest is not read. */
	struct cpu_state here;
	bool kept;         /* see breakpoints_keep */
	bool lifted;       /* some were taken out since the vCPU last came out of KVM with an exit */
	bool paging_known; /* for `here`, since they were planted: where nothing changes it */
	bool rip_behind;   /* this host's KVM comes out of an OUT with RIP behind it */
};

/* What makes a backend. */
struct breakpoint_kind {
	const char *name;
	unsigned limit;  /* breakpoints at a time */
	unsigned length; /* bytes that it writes; may be 0 */
	uint8_t bytes[BREAKPOINT_BYTES];
	/* Makes the machine stop at what is planted; false where it cannot do that just now. */
	result (*arm)(struct breakpoints *breakpoints, bool *armed);
	void (*disarm)(struct breakpoints *breakpoints);
	/* Whether KVM's exit at hand is a hit. If it is, the machine is put right before the instruction. */
	result (*caught)(struct breakpoints *breakpoints, bool *hit);
};

extern const struct breakpoint_kind breakpoint_out, breakpoint_halt, breakpoint_debug;

/* "out", "halt", "debug". */
const char *breakpoint_backend_name(enum breakpoint_backend backend);

/* Makes breakpoints for a machine, which has none yet and none planted now. */
void breakpoints_create(struct breakpoints *breakpoints, struct machine *machine, enum breakpoint_backend backend);

/* Lifts them; the machine then has none. */
void breakpoints_destroy(struct breakpoints *breakpoints);

/*
 * Plants `count` breakpoints in the place of those that are planted; none comes twice. To be called after
 * machine_prepare, where the exit at hand is settled (machine_settle), or where a signal or a breakpoint stopped the
 * machine. `*planted` is false, and nothing is planted, where an event on its way to the guest stands against it: run
 * on and try again.
 * Errors: too many, or one that is not in RAM or lies in two pages; then nothing is planted.
 */
must_check result breakpoints_plant(struct breakpoints *breakpoints, const struct breakpoint *places, unsigned count,
				    bool *planted);

/* Takes out what is planted: memory is as if it had never been there. */
void breakpoints_lift(struct breakpoints *breakpoints);

/*
 * For who plants and lifts them many times and must not run on between: until breakpoints_release what makes the
 * machine stop at breakpoints is left on when they are lifted, so that nothing stands against planting others, wherever
 * a signal has stopped the machine. To be called where breakpoints_plant may be. With BREAKPOINT_DEBUG there is nothing
 * to keep. Errors: KVM's.
 */
must_check result breakpoints_keep(struct breakpoints *breakpoints);
void breakpoints_release(struct breakpoints *breakpoints);

/*
 * Executes the instruction that the machine stands on, whose exported state is `state`, whether or not a breakpoint is
 * on it, and stops before the next one (MACHINE_BREAKPOINT), or earlier at another breakpoint; with MACHINE_EXITED when
 * an exit came first and MACHINE_INTERRUPTED when a signal did. Behind the trap shim a page fault's handler counts as a
 * breakpoint, so that who comes back to the same instruction meets its breakpoint again. The same breakpoints are
 * planted afterwards as before.
 * Errors: it is not known where the instruction leads (instruction_decode), or no breakpoint can be put there: then
 * nothing was executed and nothing is planted any more.
 */
must_check result breakpoints_step(struct breakpoints *breakpoints, const struct cpu_state *state,
				   enum machine_stop *stop);

/* For machine_run: whether KVM's exit at hand is a hit. `breakpoints` may be NULL. */
must_check result breakpoints_seen(struct breakpoints *breakpoints, bool *hit);

/* For machine_run, at an exit that is no hit: whether since the last one breakpoints were taken out, so that a fault
 * which one of them made may be on its way still. Asking again says no. `breakpoints` may be NULL. */
bool breakpoints_were_lifted(struct breakpoints *breakpoints);

/* For the backends: whether a breakpoint is planted at `state`'s RIP. */
bool breakpoints_at(const struct breakpoints *breakpoints, const struct cpu_state *state);

/*
 * Tries a backend on a small guest of its own, behind the trap shim or not, in the rings that such guests have: that
 * breakpoints are hit and stepped over, with the right registers, and leave no trace. Errors: STATUS_HOST with what it
 * does not do; then it must not be used.
 */
must_check result breakpoints_self_test(enum breakpoint_backend backend, bool trap_shim);

#endif
