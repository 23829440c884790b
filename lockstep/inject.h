/*
 * Faults on purpose: one table of what can be hit. A fault is a bit that flips in one replica at one position.
 *
 *   SPEC = REPLICA:TARGET@POSITION
 *   TARGET = reg:NAME:BIT | mem:ADDRESS:BIT | device:NAME:BIT
 *
 * Register names are those of vmm/registers.c; BIT of memory is 0 to 7; BIT of a device counts from the start
 * of its saved state.
 */
#ifndef TERCET_LOCKSTEP_INJECT_H
#define TERCET_LOCKSTEP_INJECT_H

#include <stdint.h>

#include "base/result.h"
#include "vmm/machine.h"

enum { INJECT_NAME_MAX = 32, INJECT_FAULTS_MAX = 16 };

struct inject_fault {
	uint32_t replica;
	uint32_t target; /* row of the table */
	char name[INJECT_NAME_MAX];
	uint64_t address;
	uint64_t bit;
	uint64_t position;
};

/* Reads a SPEC, and checks it as far as that can be done without a machine. Errors: STATUS_USAGE with what is wrong
 * and what is possible. */
must_check result inject_parse(const char *spec, unsigned replicas, struct inject_fault *fault);

/* Commits the fault; the machine stands at a position, settled. Errors: no such register, memory, device, bit. */
must_check result inject_commit(const struct inject_fault *fault, struct machine *machine);

#endif
