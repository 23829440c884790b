/*
 * Commit: what may leave the machine. Output of a replica of the majority, up to what was voted, hashed once more
 * end to end before a byte of it goes out.
 */
#ifndef TERCET_LOCKSTEP_COMMIT_H
#define TERCET_LOCKSTEP_COMMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/histogram.h"
#include "base/result.h"
#include "devices/host/console.h"
#include "lockstep/backends.h"
#include "lockstep/control.h"
#include "lockstep/digest.h"

struct commit {
	struct console *console;
	struct backends *backends; /* of all other channels */
	struct digest_context *digests;
	uint64_t taken;         /* outbox stream offset that was handed to the backends */
	uint64_t console_bytes;
	struct histogram latency; /* ns from the first output of a vote to its release */
	uint8_t *stream;        /* CONTROL_OUTBOX_SIZE bytes: the copy that is checked and then released */
};

/* Starts with nothing taken; what it is given must outlive it. Errors: no memory. */
must_check result commit_create(struct commit *commit, struct console *console, struct backends *backends,
				struct digest_context *digests);
void commit_destroy(struct commit *commit);

/* Takes what `record` voted from that replica's outbox, checks it against the ballot and hands it on.
 * Errors: the outbox is not what was voted; the backend is gone. */
must_check result commit_vote(struct commit *commit, const struct area *area, const struct vote_record *record);

/* Stream offset up to which replicas may forget their output: what is taken, while the backends keep up. */
uint64_t commit_released(const struct commit *commit, uint64_t before);

#endif
