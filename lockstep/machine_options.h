/*
 * What a user asked for, in the supervisor's terms.
 */
#ifndef TERCET_LOCKSTEP_MACHINE_OPTIONS_H
#define TERCET_LOCKSTEP_MACHINE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "lockstep/inject.h"
#include "vmm/boot.h"

struct machine_options {
	const char *name;
	enum boot_kind kind;
	const char *kernel;       /* path of the kernel or the payload */
	const char *initrd;       /* path, or NULL */
	const char *command_line; /* the user's part */
	uint64_t memory;          /* bytes */
	unsigned replicas;        /* 1, 2, 3 or 5 */
	uint64_t vote_interval;   /* ns */
	uint64_t watchdog;        /* ns without a ballot after which a replica is taken for hung */
	const char *console;      /* see devices/host/console.h */
	const char *statistics;   /* path of the JSON file, or NULL */
	bool check_ram;           /* compare all memory page by page at the end */
	bool verbose;
	bool seeded;              /* seed is given: boots are repeatable as far as time allows */
	uint64_t seed;
	unsigned faults;
	struct inject_fault fault[INJECT_FAULTS_MAX];
};

#endif
