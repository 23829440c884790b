/*
 * One instruction: native_step.c decides which.
 */
#ifndef TERCET_VMM_NATIVE_EXECUTE_H
#define TERCET_VMM_NATIVE_EXECUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/native_memory.h"
#include "vmm/native_op.h"

/* The guest while it is executed here. */
struct native_guest {
	struct native_cpu cpu;
	struct native_memory memory;
	struct cpu_state *state; /* what is not in `cpu`: RFLAGS but for the arithmetic flags, control registers */
	uint64_t rip;
	bool sse; /* its SSE may be used, and MXCSR is in the CPU */
};

/* Whether 64-bit code of this state can be executed at all; if not, why. */
bool native_execute_begin(struct native_guest *guest, struct cpu_state *state, const char **why);

/* Gives registers back to the state; `any` if anything was executed. */
void native_execute_end(struct native_guest *guest, bool any);

/* Executes `op`, which RIP leads to. Gives NULL, or why it was not executed. */
const char *native_execute(struct native_guest *guest, const struct native_op *op);

#endif
