/*
 * What management asks of a machine's replicas, as a table: `supervisor_requests` (supervisor.h), or a test's. Like
 * machine_control.h's, all of it is asked from within the supervisor's event loop and waits for nothing.
 */
#ifndef TERCET_LOCKSTEP_LOCKSTEP_REQUESTS_H
#define TERCET_LOCKSTEP_LOCKSTEP_REQUESTS_H

#include <jansson.h>
#include <stdint.h>

#include "base/result.h"

struct supervisor;

struct lockstep_requests {
	/* Its process ends, and no other takes its place. Event LOCKSTEP_RETIRED. Errors: STATUS_USAGE no such replica;
	 * STATUS_FAILED it is the last one, or retired. */
	result (*retire)(struct supervisor *machine, uint64_t replica);

	/* It gets a new process, retired or not. Event LOCKSTEP_RESTORED, when it takes part. Errors: likewise; it is
	 * being repaired. */
	result (*respawn)(struct supervisor *machine, uint64_t replica);

	/* A vote is held at the next position. Errors: STATUS_FAILED, there are none (one replica), or none any
	 * more. */
	result (*vote)(struct supervisor *machine);

	/* So many ns between votes from the next one on. Errors: STATUS_USAGE, 100 us to 10 s; as above. */
	result (*set_vote_interval)(struct supervisor *machine, uint64_t ns);

	/* What has been counted so far, as docs/statistics.md has it; new, NULL without memory. */
	json_t *(*statistics)(struct supervisor *machine);
};

#endif
