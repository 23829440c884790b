/*
 * A fault on purpose, as it is passed on: the plain data of lockstep/inject.h.
 */
#ifndef TERCET_LOCKSTEP_INJECT_FAULT_H
#define TERCET_LOCKSTEP_INJECT_FAULT_H

#include <stdint.h>

enum { INJECT_NAME_MAX = 32, INJECT_FAULTS_MAX = 16 };

struct inject_fault {
	uint32_t replica;
	uint32_t target; /* row of the table in inject.c */
	char name[INJECT_NAME_MAX];
	uint64_t address; /* or whatever number the target has in its place */
	uint64_t bit;
	uint64_t position; /* 0: now */
};

#endif
