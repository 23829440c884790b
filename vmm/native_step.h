/*
 * Executes the guest's instructions in this process, one by one and exactly as its vCPU would: for finding an
 * instruction of a loop whose every round is too short to stop the vCPU in it.
 *
 * Known is 64-bit code of any ring that uses general registers, flags, SSE with all exceptions masked, and RAM. Before
 * everything else it stops, with nothing done of that instruction, and the vCPU is to execute it: system instructions
 * and I/O, exceptions, x87, MMX, memory in two pages, devices, page tables without accessed and dirty bits.
 *
 * Nothing of the guest but the given state and RAM is touched, and written RAM is booked as dirty. No vCPU may run in
 * this RAM meanwhile. Code that the guest changes while it runs is noticed.
 */
#ifndef TERCET_VMM_NATIVE_STEP_H
#define TERCET_VMM_NATIVE_STEP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "vmm/ram.h"
#include "vmm/register_nearest.h"
#include "vmm/registers.h"

struct native_step;

/* The instruction to stop before: where it is and what all general registers are then. */
struct native_target {
	uint64_t rip;
	uint64_t gpr[GPR_COUNT];
	bool at_once; /* it may be the first one */
};

enum native_end {
	NATIVE_FOUND,   /* before the target's instruction */
	NATIVE_LIMIT,   /* after as many instructions as were asked for */
	NATIVE_STOPPED, /* before an instruction that is not executed here */
};

struct native_outcome {
	enum native_end end;
	uint64_t executed; /* instructions; a repeated one counts once */
	uint64_t looped;   /* of them, in loops that are one piece of code (native_loop.h) */
	uint64_t passes;   /* of the target's instruction, whatever the registers; where it was found, that one too */
	struct register_nearest nearest; /* of the passes, other than those in loops that are one piece of code */
	const char *why;   /* of NATIVE_STOPPED: the instruction's name, or what stands against it; lives forever */
};

/* Errors: no memory, or a host that forbids code made at run time. */
must_check result native_step_create(struct native_step **native, struct ram *ram);
void native_step_destroy(struct native_step *native);

/*
 * Executes up to `limit` instructions from `state` on, until the target is reached; `target` may be NULL. `state` is
 * canonical before and afterwards. A repeated string instruction that stops in its midst has been executed up to there,
 * as if it had been interrupted; it does not count.
 */
void native_step_run(struct native_step *native, struct cpu_state *state, const struct native_target *target,
		     uint64_t limit, struct native_outcome *outcome);

#endif
