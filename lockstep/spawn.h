/*
 * Replica processes as the supervisor holds them: their memories, their birth (by the spawner) and their death.
 */
#ifndef TERCET_LOCKSTEP_SPAWN_H
#define TERCET_LOCKSTEP_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/result.h"
#include "lockstep/control.h"
#include "lockstep/replica_config.h"
#include "lockstep/spawner.h"
#include "lockstep/tombstone.h"
#include "vmm/ram.h"

struct member {
	unsigned index;
	pid_t pid;     /* 0: not running */
	int pid_fd;    /* readable when it is gone */
	pid_t dead_pid;  /* a process of this member that has died and is not gone yet, or 0 */
	int dead_pid_fd;
	struct tombstone_watch watch;
	int ram_fd;
	int area_fd;
	int ram_view_fd;  /* the same read-only, for its peers */
	int area_view_fd;
	struct area area; /* read-only */
	struct ram ram;   /* read-only */
	bool live;     /* takes part in votes */
	bool dissents; /* its ballot is damaged, or it complains of the tape: a vote against */
	bool passed;   /* it dissents only because it did not find a stop */
	char why[CONTROL_FAILURE_SIZE];
	struct timeval cpu_time; /* of all its processes that are gone */
	int status;              /* wait status of the last of them */
};

/* A member that has no memories and no process yet. */
struct member member_none(unsigned index);

/* Makes a member's memories. */
must_check result member_create(struct member *member, unsigned index, uint64_t memory);

/* Empties the shared area of a member without a process, for a new one. Descriptors and mappings stay good. Errors:
 * the host cannot. */
must_check result member_reset(struct member *member, uint64_t memory);

/* Starts its process. `config` has everything but the descriptors of this member and its peers. */
must_check result member_start(struct member *member, const struct member *members, const struct replica_config *config,
			       const struct spawner *spawner, int supervisor_fd);

/* Ends its process (SIGKILL); nothing if it is not running. From then on nobody writes to its memories. */
void member_kill(struct member *member);

/* Whether its process has died, or none runs. From then on nobody writes to its memories; what is left of the process
 * is taken by member_reap. */
bool member_died(struct member *member);

/* How a process that has died ended, as far as it is known by now. */
void member_tell_end(const struct member *member, char *text, size_t size);

/* Takes what is left of a process that has died, without waiting; false if there is one that is not gone yet. */
bool member_reap(struct member *member);

/* Ends its process, waits until it is gone, and gives its memories back. */
void member_destroy(struct member *member);

#endif
