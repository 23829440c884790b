/*
 * The same code twice: by a vCPU in ring 3, and by native_step in this process. What one of them does the other must.
 */
#ifndef TERCET_TESTS_UNIT_NATIVE_PAIR_H
#define TERCET_TESTS_UNIT_NATIVE_PAIR_H

#include "tests/unit/guest_machine.h"
#include "vmm/native_step.h"

enum {
	PAIR_DATA = 0x400000,  /* R14, RSI and RDI point near its middle */
	PAIR_STACK = 0x500000, /* RSP */
	PAIR_ROOM = 0x4000,    /* bytes of each that are filled with random bytes and compared */
};

struct native_pair {
	struct guest_machine guest;
	struct ram ram; /* native_step's */
	struct native_step *native;
	uint64_t random;
};

void native_pair_make(struct native_pair *pair);
void native_pair_destroy(struct native_pair *pair);

/* Random registers, many of them with values at which something happens; pointers as above, R15 below 16. FS and GS
 * have bases in the data. */
void native_pair_state(struct native_pair *pair, struct cpu_state *state);

/*
 * Puts code at GUEST_MACHINE_CODE, with an OUT behind it, and random data, and lets both execute it from `state` on
 * until that OUT. The test fails, and says what `name` is, if registers, memory or (`count`, if not 0) the number of
 * instructions differ.
 */
void native_pair_run(struct native_pair *pair, const char *name, const uint8_t *code, size_t length,
		     const struct cpu_state *state, uint64_t count);

/* Runs each instruction between `code` and `code_end` alone, `rounds` times with other registers. */
void native_pair_run_each(struct native_pair *pair, const uint8_t *code, const uint8_t *code_end, unsigned rounds);

/* Runs `rounds` sequences of `length` instructions, each chosen at random from there; before each, RSP points
 * to the data again. */
void native_pair_run_mixed(struct native_pair *pair, const uint8_t *code, const uint8_t *code_end, unsigned length,
			   unsigned rounds);

#endif
