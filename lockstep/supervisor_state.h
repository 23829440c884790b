/*
 * What the supervisor knows of a running machine. Private to supervisor.c, the story of its life, and verdict.c, the
 * judgements that are passed on the way.
 */
#ifndef TERCET_LOCKSTEP_SUPERVISOR_STATE_H
#define TERCET_LOCKSTEP_SUPERVISOR_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/host/console.h"
#include "lockstep/commit.h"
#include "lockstep/control.h"
#include "lockstep/digest.h"
#include "lockstep/machine_options.h"
#include "lockstep/replica_config.h"
#include "lockstep/spawn.h"
#include "lockstep/tally.h"
#include "lockstep/vote.h"

struct supervisor {
	const struct machine_options *options;
	unsigned replicas;
	struct member members[VOTE_REPLICAS_MAX];
	struct replica_config config;
	struct supervisor_page *page;
	int page_fd, doorbell_fd, epoll_fd, signal_fd, timer_fd;
	struct console console;
	bool console_open;
	bool input_polled; /* key presses are waited for by epoll */
	bool input_always; /* input is a file: always ready */
	bool output_polled;
	struct digest_context digests;
	struct commit commit;
	struct tally tally;

	unsigned leader;
	uint64_t verdicts;
	uint64_t agreed_position;
	uint64_t console_taken;   /* key presses that the guest took, by the last verdict */
	uint64_t waiting_since;   /* since when a vote waits for ballots, 0: none does */
	uint64_t begin_ns;
	struct vote_record *records; /* VOTE_REPLICAS_MAX: copies of the vote at hand */

	bool over;
	enum machine_end end;
	uint64_t end_value;
};

#endif
