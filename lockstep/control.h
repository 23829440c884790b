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

#include "base/result.h"
#include "base/ring.h"
#include "lockstep/digest.h"
#include "lockstep/pagehash.h"
#include "lockstep/vote.h"
#include "vmm/exits.h"
#include "vmm/registers.h"

#define CONTROL_MAGIC 0x7E5CE701u
#define CONTROL_VERSION 1u

enum {
	CONTROL_VOTE_SLOTS = 16,        /* vote records that are kept, a power of two */
	CONTROL_VOTE_BACKLOG = 8,       /* votes that the leader may be ahead of the verdicts */
	CONTROL_DEVICES_MAX = 8192,     /* bytes of all devices' state */
	CONTROL_EXIT_LOG = 16384,       /* exit records that are kept, a power of two */
	CONTROL_EXITS_PER_VOTE = 4096,  /* a vote is due after so many exits */
	CONTROL_TAPE_SIZE = 1 << 20,    /* bytes, powers of two */
	CONTROL_OUTBOX_SIZE = 1 << 20,
	CONTROL_OUTPUT_PER_VOTE = CONTROL_OUTBOX_SIZE / 4,
	CONTROL_INPUT_SIZE = 1 << 16,
	CONTROL_FAILURE_SIZE = 1024,
};

/* Why a vote point was set. The numbers are part of the tape's byte format. */
enum vote_cause {
	VOTE_CAUSE_INTERVAL = 1, /* the vote interval ended */
	VOTE_CAUSE_OUTPUT = 2,   /* output waits to leave */
	VOTE_CAUSE_BACKLOG = 3,  /* a log would overflow */
	VOTE_CAUSE_END = 4,      /* the machine stopped */
	VOTE_CAUSES
};
const char *vote_cause_name(enum vote_cause cause);

/* How the machine stands after a vote point. */
enum machine_end {
	END_RUNNING = 0,
	END_POWER_OFF = 1,
	END_RESET = 2,
	END_EXIT = 3,     /* debug exit port; end_value is the guest's status */
	END_CRASHED = 4,  /* triple fault, or KVM cannot go on; end_value is the exit reason */
	END_DEAD_HALT = 5 /* halted with interrupts off */
};

/* What a replica says at a vote point. All but the last four members must be equal in equal replicas. */
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
	struct vote_ballot ballot;
	struct cpu_state cpu;
	uint32_t devices_size;
	uint8_t devices[CONTROL_DEVICES_MAX];

	uint64_t changes_begin; /* page hash changes of this vote: offsets into the ring of changes, in entries */
	uint64_t changes_end;
	uint64_t output_host_ns; /* host time at which the oldest output of this vote was made, 0: none */
	uint32_t crc;            /* CRC-32 of everything above */
};

enum replica_state {
	REPLICA_STARTING = 0,
	REPLICA_RUNNING = 1,
	REPLICA_ENDED = 2,
	REPLICA_FAILED = 3, /* `failure` tells why */
};

/* Counted by the replica itself; read by the supervisor for statistics only. */
struct replica_statistics {
	uint64_t exits[EXIT_REASONS];
	uint64_t tape_entries[8];
	uint64_t tape_bytes;
	uint64_t pages_hashed;
	uint64_t guest_ns;     /* host time inside KVM_RUN */
	uint64_t vote_ns;      /* making ballots */
	uint64_t wait_ns;      /* for the leader, for verdicts, for room */
	uint64_t halt_ns;      /* for something to do, in a halted guest */
	uint64_t backlog_max;  /* votes that the leader was ahead of the verdicts */
	uint64_t lag_max;      /* positions that a follower was behind its leader */
	uint64_t signals;      /* interrupted runs */
	uint64_t unassigned;   /* accesses to addresses without a device */
	uint64_t input_faults; /* implausible or damaged tape entries */
};

/* The beginning of a replica's area. Members are grouped by who waits on them. */
struct control {
	uint32_t magic;
	uint32_t version;
	_Alignas(64) _Atomic uint32_t sequence; /* moves when `reached` or the tape moved and somebody waits */
	_Atomic uint64_t reached;               /* positions reached */
	_Atomic uint64_t tape_written;          /* bytes; by the leader */
	_Alignas(64) _Atomic uint32_t waiting;  /* a follower sleeps until its leader has reached wake_at */
	_Atomic uint64_t wake_at;
	_Atomic uint64_t tape_read; /* bytes; by a follower */
	_Alignas(64) _Atomic uint64_t votes; /* records published */
	_Atomic uint64_t output_written;     /* bytes in the outbox, including what is not voted yet */
	_Atomic uint32_t state;              /* enum replica_state */
	char failure[CONTROL_FAILURE_SIZE];
	uint32_t failure_status;
	_Alignas(64) struct replica_statistics statistics;
	_Alignas(64) struct vote_record records[CONTROL_VOTE_SLOTS];
};

/* What a replica is told to do. */
enum supervisor_command {
	COMMAND_RUN = 0,
	COMMAND_END = 1, /* leave in good order */
};

/* The supervisor's page. */
struct supervisor_page {
	uint32_t magic;
	uint32_t version;
	_Alignas(64) _Atomic uint32_t sequence; /* moves with everything below */
	_Atomic uint32_t command;               /* enum supervisor_command */
	_Atomic uint32_t live;                  /* bit i: replica i takes part */
	_Atomic uint32_t leader;
	_Atomic uint64_t verdicts;        /* votes decided; all below have a majority */
	_Atomic uint64_t output_released; /* bytes of the outbox stream */
	_Atomic uint64_t console_written; /* bytes of console input so far */
	_Atomic uint64_t buttons;         /* presses of the power button so far */
	uint8_t console[CONTROL_INPUT_SIZE];
};

/* A mapped area. */
struct area {
	void *memory;
	uint64_t size;
	struct control *control;
	struct ring tape;
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

/* Maps the supervisor's page; only the supervisor maps it writable. Whoever did not make it must check it. */
must_check result supervisor_page_map(struct supervisor_page **page, int fd, bool writable);
must_check result supervisor_page_check(const struct supervisor_page *page);

/* Copies a published vote record and checks the copy. Errors: damaged, or not the one that was asked for. */
must_check result vote_record_take(const struct area *area, uint64_t number, struct vote_record *record);
uint32_t vote_record_crc(const struct vote_record *record);

#endif
