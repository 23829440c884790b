/*
 * `tercet replay`: runs a recording again on one replica, and compares what it votes with what was voted. The replica
 * is a follower like any other; its leader is the file, whose tape is put where a leader's would be.
 */
#ifndef TERCET_LOCKSTEP_REPLAY_H
#define TERCET_LOCKSTEP_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"

#define REPLAY_TO_THE_END UINT64_MAX

struct replay_options {
	const char *path;     /* of the recording */
	const char *kernel;   /* the kernel or payload; NULL: where it was when it was recorded */
	const char *initrd;   /* likewise */
	uint64_t until;       /* position at which it stops, or REPLAY_TO_THE_END */
	bool look;            /* it stops there by a vote, which says in what state the machine is */
	bool dump;            /* and its registers and devices are printed; without `until`, those of the last vote */
	uint64_t watchdog;    /* ns without a sign of life after which the replica is taken for hung */
	bool verbose;
};

/* Replays; tells on standard output what came of it. Errors: STATUS_NO_MAJORITY it is not as recorded, with what
 * differs; STATUS_INPUT the recording is damaged, or the kernel or initrd is not the recorded one; STATUS_HOST. */
must_check result replay_run(const struct replay_options *options);

#endif
