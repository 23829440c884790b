/*
 * The process that starts replicas: forked off before anything is opened, so that the supervisor itself may give up
 * fork and exec (docs/sandbox.md). It does one thing: for each request it makes one child that executes this program
 * as a replica, with the descriptors that came along and no others. The child is the supervisor's: it waits for it,
 * and the child ends with it.
 */
#ifndef TERCET_LOCKSTEP_SPAWNER_H
#define TERCET_LOCKSTEP_SPAWNER_H

#include <stdint.h>
#include <sys/types.h>

#include "base/result.h"

/* The word after the program's name that makes it a replica; not for users. */
#define SPAWNER_ROLE "--replica"
/* What a replica's process is called. */
#define SPAWNER_REPLICA_NAME "tercet-replica"

enum {
	SPAWNER_FIRST_FD = 4, /* a replica finds what it is handed from this number on, in the order of handing */
	SPAWNER_FDS_MAX = 32,
};

struct spawner {
	pid_t pid; /* 0: none */
	int fd;
};

/* What a new replica is handed. */
struct spawner_handover {
	int fds[SPAWNER_FDS_MAX];
	unsigned count;
};

/* One that does not run. */
struct spawner spawner_none(void);

/* Starts it. What this process has open is closed there. Errors: no process or descriptors. */
must_check result spawner_start(struct spawner *spawner);

/* Adds a descriptor; gives its number in the replica, or -1 for one that is not open. */
int32_t spawner_hand(struct spawner_handover *handover, int fd);

/* Has a replica started. The first descriptor handed is its configuration. `*pid` is a child of this process.
 * Errors: it is gone, does not answer, or the host has no process. */
must_check result spawner_launch(const struct spawner *spawner, const struct spawner_handover *handover, pid_t *pid);

/* Ends it; replicas go on. */
void spawner_stop(struct spawner *spawner);

#endif
