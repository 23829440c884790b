/*
 * What the supervisor knows of a running machine. Private to supervisor.c, the story of its life, verdict.c, the
 * judgements that are passed on the way, repair.c and watch.c, what is done about those who went wrong, and status.c.
 */
#ifndef TERCET_LOCKSTEP_SUPERVISOR_STATE_H
#define TERCET_LOCKSTEP_SUPERVISOR_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/host/console.h"
#include "lockstep/backends.h"
#include "lockstep/commit.h"
#include "lockstep/control.h"
#include "lockstep/cores.h"
#include "lockstep/digest.h"
#include "lockstep/heartbeat.h"
#include "lockstep/life.h"
#include "lockstep/machine_options.h"
#include "lockstep/replica_config.h"
#include "lockstep/service.h"
#include "lockstep/spawn.h"
#include "lockstep/tally.h"
#include "lockstep/turns.h"
#include "lockstep/vote.h"

/* Where a member is on its way back. member.live is true in the first phase alone. */
enum care_phase {
	CARE_LIVE,    /* takes part in votes */
	CARE_WAITING, /* runs, and needs a state to take over */
	CARE_ORDERED, /* is taking it over */
	CARE_GONE,    /* has no process; a new one is to be started */
	CARE_JOINING, /* its new process copies memory */
	CARE_RETIRED, /* given up */
};

/* What is done for a member. */
struct care {
	enum care_phase phase;
	uint64_t since;         /* host ns at which the phase began */
	struct heartbeat heartbeat;
	uint32_t order;         /* serial of its last order */
	unsigned failures;      /* processes in a row that did not become part of the machine */
	uint64_t repairs;
	uint64_t respawns;
	uint64_t copied;        /* pages_copied when its repair began */
	int core;               /* on which it cast its last vote, or -1 */
	bool by_death;          /* is repaired because its process was lost, not because its data were wrong */
	uint64_t injected_ns;   /* host time of the last injection that a fault was booked with */
	json_t *fault;          /* its entry in the tally's faults while it is repaired, or NULL; borrowed */
	char last_fault[160];
};

/* The repair at hand: everybody in CARE_ORDERED takes over the donor's state at a vote. */
struct repair {
	bool active;
	bool rollback; /* the donor itself is going back to its checkpoint first */
	uint64_t vote;
	unsigned donor;
	struct vote_ballot ballot; /* what everybody must have in the end */
};

struct supervisor {
	const struct machine_options *options;
	unsigned replicas;
	struct member members[VOTE_REPLICAS_MAX];
	struct spawner spawner;
	struct replica_config config;
	struct supervisor_page *page;
	int page_fd, doorbell_fd, epoll_fd, signal_fd, timer_fd;
	struct console console;
	bool console_open;
	bool input_polled; /* key presses are waited for by epoll */
	bool input_always; /* input is a file: always ready */
	bool output_polled;
	bool clients_polled; /* the console's next client is waited for */
	struct backends *backends;
	bool backends_behind; /* when they were looked at last */
	struct digest_context digests;
	struct commit commit;
	struct tally tally;
	struct record *record; /* or NULL */

	const struct service *service; /* or NULL */
	int service_fd;
	struct cores cores;
	struct turns turns;
	struct care care[VOTE_REPLICAS_MAX];
	struct repair repair;
	struct vote_ballot agreed; /* of the last vote that was agreed */
	unsigned rollbacks_in_row; /* since a vote was agreed */
	uint64_t stalled_at;       /* position at which the leader is inside its guest, and since when */
	uint64_t stalled_since;
	bool endless_told;        /* a warning about it was given */
	uint64_t longest_segment; /* ns that a leader was seen inside its guest, at most */
	uint64_t probed_since;     /* since when its followers are let in there */
	uint64_t ahead_since; /* since when most followers are out of there, 0: they are not */
	uint64_t ahead_cpu;   /* CPU time of the leader's process at that moment, ns */
	uint64_t request_ns;       /* when a vote was asked for last */
	uint64_t watched_at;       /* when the watch looked around last, 0: never */

	unsigned leader;
	uint32_t epoch;
	uint64_t verdicts;
	uint64_t agreed_position;
	uint64_t buttons_taken;
	uint64_t inbox_taken;     /* bytes, likewise */
	uint64_t console_taken;   /* key presses that the guest took, by the last verdict */
	uint64_t waiting_since;   /* since when a vote waits for ballots, 0: none does */
	uint64_t begin_ns;
	struct vote_record *records; /* VOTE_REPLICAS_MAX: copies of the vote at hand */

	struct life life;
	enum life_cause shutdown; /* of which nobody was told yet */
	uint64_t boot_vote; /* number of the first vote of this boot */
	bool withheld; /* the last verdict: replicas stay at that vote */
	enum life_cause asked_to_end; /* by its user, who needs no report of it, and how */
	bool over;
	enum machine_end end;
	uint64_t end_value;
};

#endif
