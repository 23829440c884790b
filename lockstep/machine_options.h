/*
 * What a user asked for, in the supervisor's terms.
 */
#ifndef TERCET_LOCKSTEP_MACHINE_OPTIONS_H
#define TERCET_LOCKSTEP_MACHINE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "lockstep/backends.h"
#include "lockstep/cores.h"
#include "lockstep/inject.h"
#include "lockstep/service.h"
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
	uint32_t time_dilation;   /* host time for each unit of guest time, from 1; lockstep/guest_time.h */
	uint64_t preempt_grace;   /* ns without an exit before the guest may be preempted; 0: it is not */
	bool preempt_unasked;     /* nobody asked for it: it is left out where it is dear */
	uint64_t segment_max;     /* ns within which a fault is to be known in code that does not exit */
	unsigned preempt_budget;  /* for preemptions, in thousandths of the time */
	bool strict;              /* a rendezvous at every exit */
	uint64_t watchdog;        /* ns without a sign of life after which a replica is taken for hung */
	uint64_t scrub;           /* bytes/s of memory that nobody wrote to hash again, 0: none */
	struct cores_policy cores;
	const char *reports;      /* folder for reports of a machine that was stopped */
	int argc;                 /* the command line that was given, to be repeated */
	char **argv;
	const struct service *service; /* management, or NULL */
	struct backends_options devices;
	const char *console;      /* see devices/host/console.h */
	const char *console_log;  /* where its output goes as well, likewise, or NULL */
	bool console_lossy;       /* output that nobody takes is given up rather than that the guest waits */
	const char *statistics;   /* path of the JSON file, or NULL */
	const char *record;       /* path of the recording, or NULL */
	bool paused;              /* it stands still before its first instruction, until it is told to go on */
	bool hold;                /* after the guest's power-off the machine stays, and can be reset */
	bool no_reboot;           /* a guest that resets its machine ends it */
	bool check_ram;           /* compare all memory page by page at the end */
	bool sandbox;             /* processes enter lockstep/sandbox.h once they are set up */
	bool verbose;
	bool seeded;              /* seed is given: boots are repeatable as far as time allows */
	uint64_t seed;
	unsigned faults;
	struct inject_fault fault[INJECT_FAULTS_MAX];
};

#endif
