/*
 * Shared memory between the supervisor and its replicas: what stands where, and who may write it.
 *
 * Each replica owns one *area*: its control page, tape, outbox, exit log and page hashes. It alone maps it
 * writable; the supervisor and the other replicas see it read-only, copy what they need once and validate the
 * copy. The supervisor owns one page for verdicts and inputs, read-only to every replica. There are sequence
 * words here, and no locks.
 */
#ifndef TERCET_LOCKSTEP_CONTROL_H
#define TERCET_LOCKSTEP_CONTROL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/histogram.h"
#include "base/result.h"
#include "base/checked_word.h"
#include "base/ring.h"
#include "lockstep/digest.h"
#include "lockstep/fetches.h"
#include "lockstep/inject_fault.h"
#include "lockstep/pagehash.h"
#include "lockstep/stopwatch.h"
#include "lockstep/vote.h"
#include "vmm/exits.h"
#include "vmm/registers.h"

#define CONTROL_MAGIC 0x7E5CE701u
#define CONTROL_VERSION 5u

enum {
	CONTROL_VOTE_SLOTS = 16,        /* vote records that are kept, a power of two */
	CONTROL_VOTE_BACKLOG = 8,       /* votes that the leader may be ahead of the verdicts */
	CONTROL_DEVICES_MAX = 32768,    /* bytes of all devices' state */
	CONTROL_EXIT_LOG = 16384,       /* exit records that are kept, a power of two */
	CONTROL_EXITS_PER_VOTE = 4096,  /* a vote is due after so many exits */
	CONTROL_TAPE_SIZE = 1 << 20,    /* bytes, powers of two */
	CONTROL_TAPE_PER_VOTE = CONTROL_TAPE_SIZE / 4, /* a vote is due after so much tape */
	CONTROL_OUTBOX_SIZE = 1 << 20,
	CONTROL_OUTPUT_PER_VOTE = CONTROL_OUTBOX_SIZE / 4,
	CONTROL_OUTPUT_MAX = CONTROL_OUTBOX_SIZE / 8 * 3, /* devices that ask for room find so much between two votes */
	CONTROL_INPUT_SIZE = 1 << 16,
	CONTROL_INBOX_SIZE = 1 << 20,
	CONTROL_INBOX_PER_VOTE = CONTROL_INBOX_SIZE / 4,
	CONTROL_FAILURE_SIZE = 1024,
	CONTROL_LEADERSHIPS = 16,       /* leaderships that are kept, a power of two */
	TAPE_KINDS_MAX = 16,
};

/* Why a vote point was set. The numbers are part of the tape's byte format. */
enum vote_cause {
	VOTE_CAUSE_INTERVAL = 1, /* the vote interval ended */
	VOTE_CAUSE_OUTPUT = 2,   /* output waits to leave */
	VOTE_CAUSE_BACKLOG = 3,  /* a log would overflow */
	VOTE_CAUSE_END = 4,      /* the machine stopped */
	VOTE_CAUSE_REQUEST = 5,  /* the supervisor asked for one, to repair a replica there */
	VOTE_CAUSE_PAUSE = 6,    /* the machine stands still from here on, and all its output leaves */
	VOTE_CAUSES
};
const char *vote_cause_name(enum vote_cause cause);

/* How the machine stands after a vote point. */
enum machine_end {
	END_RUNNING = 0,
	END_POWER_OFF = 1,
	END_RESET = 2,    /* end_value is an enum reset_cause */
	END_EXIT = 3,     /* debug exit port; end_value is the guest's status */
	END_CRASHED = 4,  /* triple fault, or KVM cannot go on; end_value is the exit reason */
	END_DEAD_HALT = 5 /* halted with interrupts off */
};

/* Whose doing a reset is. */
enum reset_cause {
	RESET_BY_GUEST = 0,
	RESET_BY_HOST = 1,
};

/* What a replica says at a vote point. What stands before the ballot, and cpu and devices, must be equal in equal
 * replicas; the rest is its own. */
struct vote_record {
	uint64_t number; /* 0, 1, ... */
	uint64_t position;
	uint32_t cause; /* enum vote_cause */
	uint32_t end;   /* enum machine_end */
	uint64_t end_value;
	uint64_t guest_ns;
	uint64_t output_end;     /* offset into the outbox up to which output is voted */
	uint64_t console_taken;  /* inputs consumed so far */
	uint64_t buttons_taken;
	uint64_t inbox_taken;    /* bytes */
	uint64_t halted; /* 1: the guest has halted and waits for an interrupt */
	uint64_t resets_taken; /* that were asked for */
	uint64_t boots;        /* beginnings before this one: 0 since power-on */
	struct vote_ballot ballot;
	struct cpu_state cpu;
	uint32_t devices_size;
	uint8_t devices[CONTROL_DEVICES_MAX];

	uint64_t changes_begin; /* page hash changes of this vote: offsets into the ring of changes, in entries */
	uint64_t changes_end;
	uint64_t output_host_ns; /* host time at which the oldest output of this vote was made, 0: none */
	uint64_t cast_host_ns;   /* and at which it was cast */
	uint64_t tape_at;  /* offset into the leader's tape just behind what led here */
	uint32_t epoch;    /* of that leader: see struct leadership */
	uint32_t core;     /* of the host, that the replica ran on last */
	uint32_t crc;            /* CRC-32 of everything above */
};

enum replica_state {
	REPLICA_STARTING = 0,
	REPLICA_RUNNING = 1,
	REPLICA_ENDED = 2,
	REPLICA_FAILED = 3, /* `failure` tells why */
	REPLICA_JOINING = 4,  /* copies memory while the others run */
	REPLICA_JOINABLE = 5, /* has most of it, and waits for a vote at which to join */
};

/* Counted by the replica itself; read by the supervisor for statistics only. */
struct replica_statistics {
	uint64_t exits[EXIT_REASONS];
	uint64_t tape_entries[TAPE_KINDS_MAX];
	uint64_t tape_bytes;
	uint64_t pages_hashed;
	struct stopwatch time; /* by enum stage */
	uint64_t meetings;     /* exits at which it waited for the others (--sync strict) */
	uint64_t partings;     /* of them, those that differed */
	uint64_t absences;     /* of them, those at which somebody did not come */
	uint64_t backlog_max;  /* votes that the leader was ahead of the verdicts */
	uint64_t lag_max;      /* positions that a follower was behind its leader */
	uint64_t signals;      /* interrupted runs */
	uint64_t unassigned;   /* accesses to addresses without a device */
	uint64_t input_faults; /* implausible or damaged tape entries */
	uint64_t pages_scrubbed; /* that the scrub came by */
	uint64_t pages_copied;   /* from donors */
	uint64_t stops;           /* at which the leader was preempted */
	uint64_t late_ticks;      /* of them, those at which an interrupt was due for long */
	uint64_t late_max_ns;     /* that a leader told its devices the time after something was due, at most */
	uint64_t hunts[4];        /* for stops of a leader's, by enum hunt_end */
	uint64_t hunt_ns;         /* processor time that hunts took more than their leaders' ways */
	uint64_t hunt_visits;     /* of the instruction at which the stop was */
	uint64_t hunt_executed;   /* instructions in place, where visits come too often */
	uint64_t hunt_visits_max; /* in one hunt */
	struct histogram hunt_visits_each; /* visits in a hunt that found its stop */
	struct histogram hunt_ratio; /* where the stop was by the follower's own run time, in thousandths of the
				      * leader's way, if registers led there */
	uint64_t hunt_doubles;    /* of them, those with the stop's registers and other memory */
	uint64_t injected;       /* faults committed on purpose */
	uint64_t injected_ns;    /* host time of the last one */
};

/* What a follower has against its leader's tape. */
enum complaint {
	COMPLAINT_NONE = 0,
	COMPLAINT_TAPE = 1,   /* it does not fit */
	COMPLAINT_PASSED = 2, /* a stop on it was not found: it was passed, or the leader was never there */
};

/* The beginning of a replica's area. Members are grouped by who waits on them. */
struct control {
	uint32_t magic;
	uint32_t version;
	_Alignas(64) _Atomic uint32_t sequence; /* moves when `reached` or the tape moved and somebody waits */
	_Atomic uint64_t reached;               /* positions reached; a checked word */
	_Atomic uint64_t closed;                /* the position whose inputs are all on the tape; a checked word */
	_Atomic uint64_t tape_written;          /* bytes; by the leader; a checked word */
	_Alignas(64) _Atomic uint32_t waiting;  /* a follower sleeps until its leader has reached wake_at */
	_Atomic uint32_t rests;                 /* 1: a leader lets its followers come nearer */
	_Atomic uint64_t wake_at;
	_Atomic uint64_t tape_read; /* bytes; by a follower */
	_Alignas(64) _Atomic uint64_t votes; /* records published */
	_Atomic uint64_t output_written;     /* bytes in the outbox, including what is not voted yet */
	_Atomic uint32_t state;              /* enum replica_state */
	_Atomic uint32_t epoch;              /* the leadership that is followed */
	_Atomic uint32_t order_done;         /* serial of the last order that was carried out */
	_Atomic uint32_t complaint;          /* enum complaint; `failure` tells why */
	_Atomic uint32_t injection_done;     /* serial of the last fault that was taken on purpose */
	_Atomic uint64_t held;               /* votes cast, while it stands still at the last of them; else 0 */
	_Atomic uint64_t beats;              /* moves while the replica is alive */
	_Atomic uint64_t stopped_until_ns;   /* stopped on purpose until this host time, 0: no */
	_Atomic uint32_t preempts;           /* 1: it ends segments in which its guest does not exit by itself */
	_Atomic uint64_t fetches_written;    /* by the leader; a checked word */
	_Atomic uint32_t forbidden_call;     /* system call that its sandbox did not let it make, plus 1; 0: none */
	_Atomic uint32_t tombstone;          /* tells of the process's death: see tombstone.h */
	_Atomic uint64_t met;                /* position up to which exits are logged for a rendezvous */
	_Atomic uint32_t awaits;             /* 1 + the replica that is waited for at a rendezvous, 0: none */
	uint32_t complaint_epoch; /* whose tape it is about */
	uint64_t complaint_position;
	uint64_t complaint_tape_at;
	char failure[CONTROL_FAILURE_SIZE];
	uint32_t failure_status;
	_Alignas(64) struct replica_statistics statistics;
	_Alignas(64) struct vote_record records[CONTROL_VOTE_SLOTS];
	struct fetch_slot fetches[FETCHES];
};

/* What a replica is told to do. */
enum supervisor_command {
	COMMAND_RUN = 0,
	COMMAND_END = 1, /* leave in good order */
};

/* How a leadership begins, where the one before ends. */
enum leadership_begin {
	LEADERSHIP_AT_VOTE = 1,  /* at vote `vote`; what is on the old tape behind it is void */
	LEADERSHIP_AT_TAPE_END = 2, /* where the old tape ends: at `tape_end`, position `reached_end` reached */
};

/* Who leads, and from where on. Leaderships are numbered, and every replica goes through all of them in order. */
struct leadership {
	uint32_t leader;
	uint32_t begin; /* enum leadership_begin */
	uint64_t vote;
	uint64_t tape_end;
	uint64_t reached_end;
	uint64_t tape_base; /* where the new leader's tape begins */
};

/* What one replica is told to do besides running. */
enum order_kind {
	ORDER_RESYNC = 1,   /* take over the donor's state at vote `vote`, and publish that as one's own vote */
	ORDER_ROLLBACK = 2, /* go back to one's own checkpoint of vote `vote`, and publish that as one's vote */
};

struct order {
	_Atomic uint32_t serial; /* moves with each order; carried out when control.order_done is the same */
	uint32_t kind;
	uint32_t donor;
	uint64_t vote;
};

/* A fault that a replica is to commit on purpose. */
struct injection {
	_Atomic uint32_t serial; /* moves with each; taken when control.injection_done is the same */
	struct inject_fault fault;
};

/* How far a leader may be ahead of its followers. */
enum leader_turn {
	TURN_AHEAD = 0, /* a core that replicas share has nothing to do without it */
	TURN_OWN = 1,   /* everybody has a core */
	TURN_REST = 2,  /* all cores have work without it */
};

/* The supervisor's page. */
struct supervisor_page {
	uint32_t magic;
	uint32_t version;
	_Alignas(64) _Atomic uint32_t sequence; /* moves with everything below */
	_Atomic uint32_t command;               /* enum supervisor_command */
	_Atomic uint32_t live;                  /* bit i: replica i takes part */
	_Atomic uint32_t hold;                  /* bit i: replica i stands still at its vote, for others to copy it */
	_Atomic uint32_t epoch;                 /* number of the last leadership */
	_Atomic uint32_t vote_request;          /* moves when the supervisor wants a vote soon */
	_Atomic uint32_t turn;                  /* enum leader_turn */
	_Atomic uint64_t vote_interval;         /* ns between votes from now on; 0: as configured */
	_Atomic uint64_t probe; /* followers may enter this position's segment before its end is known */
	_Atomic uint32_t attention[VOTE_REPLICAS_MAX]; /* moves when there is something for that replica */
	struct leadership leaderships[CONTROL_LEADERSHIPS];
	struct order orders[VOTE_REPLICAS_MAX];
	struct injection injections[VOTE_REPLICAS_MAX];
	_Atomic uint64_t verdicts;        /* votes decided; all below have a majority */
	_Atomic uint64_t output_released; /* bytes of the outbox stream */
	_Atomic uint64_t console_written; /* bytes of console input so far */
	_Atomic uint64_t buttons;         /* presses of the power button so far */
	_Atomic uint64_t resets;          /* that were asked for so far */
	_Atomic uint64_t host_zero;       /* CLOCK_MONOTONIC ns at guest time 0; lockstep/guest_time.h */
	_Atomic uint32_t time_dilation;   /* host ns for each ns of the guest; 0: 1 */
	_Atomic uint64_t frozen_at;       /* not 0: the machine is to stand still, and its clock does since then */
	_Atomic uint64_t inbox_written;   /* bytes of inputs for devices so far; lockstep/inbox.h */
	_Atomic uint64_t fetches_taken[VOTE_REPLICAS_MAX]; /* from the replica's ring; lockstep/fetches.h */
	_Atomic uint32_t fetch_again;     /* moves when fetches were lost: the leader makes them again */
	uint8_t console[CONTROL_INPUT_SIZE];
	uint8_t inbox[CONTROL_INBOX_SIZE];
};

/* A mapped area. */
struct area {
	void *memory;
	uint64_t size;
	struct control *control;
	struct ring tape;
	struct ring tape_mirror; /* the same again: a damaged entry is read here */
	struct ring outbox;
	struct exit_record *exit_log;     /* CONTROL_EXIT_LOG records; that of position p at p modulo it */
	struct digest *page_hashes;       /* one a page */
	struct pagehash_change *changes;  /* a ring */
	uint64_t changes_size;            /* its entries */
};

/* Bytes of the area of a replica with so many pages of RAM. */
uint64_t area_size(uint64_t pages);

/* Maps an area; the owner maps it writable. Whoever did not make it must call area_check. */
must_check result area_map(struct area *area, int fd, uint64_t pages, bool writable);
void area_unmap(struct area *area);

/* The owner writes magic and version. */
void area_init(struct area *area);
must_check result area_check(const struct area *area, unsigned replica);

/* Tells the supervisor that the replica that owns this page is alive. */
void control_beat(struct control *control);

/* Makes and maps the supervisor's page, which nobody else can ever map writable; the rest of it is zero. `name` is the
 * memory's, for those who look into /proc. Errors: no memory or descriptors. */
must_check result supervisor_page_create(struct supervisor_page **page, int *fd, const char *name);

/* Maps the supervisor's page; only the supervisor maps it writable. Whoever did not make it must check it. */
must_check result supervisor_page_map(struct supervisor_page **page, int fd, bool writable);
must_check result supervisor_page_check(const struct supervisor_page *page);

/* ns between votes: what was asked for while the machine runs, or else `configured`. */
uint64_t supervisor_page_vote_interval(const struct supervisor_page *page, uint64_t configured);

/* Whether there is something for this replica since its word of `attention` was `seen`. */
bool supervisor_page_calls(const struct supervisor_page *page, unsigned replica, uint32_t seen);

/* An order or an injection for the replica's process before is none for its next one. */
void supervisor_page_forget(struct supervisor_page *page, unsigned replica);

/* Copies a published vote record and checks the copy. Errors: damaged, or not the one that was asked for. */
must_check result vote_record_take(const struct area *area, uint64_t number, struct vote_record *record);
uint32_t vote_record_crc(const struct vote_record *record);

#endif
