/*
 * Input sources: where a replica's time and inputs come from. The live host (the leader, which writes everything
 * down on its tape), or a leader's tape (a follower). Run, follow and later replay are the same replica code.
 *
 * At each position the replica asks: once for the time, if its exit needs it; then for inputs, one after the other,
 * until the source says that the position is closed. Then it enters the next segment.
 */
#ifndef TERCET_LOCKSTEP_SOURCE_H
#define TERCET_LOCKSTEP_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "lockstep/control.h"
#include "lockstep/inbox.h"
#include "lockstep/tape.h"

enum input_kind {
	INPUT_CLOSED,  /* nothing more at this position: enter the guest */
	INPUT_TIME,    /* the guest's time is now `value` */
	INPUT_CONSOLE, /* `length` bytes for COM1 */
	INPUT_BUTTON,  /* the power button was pressed */
	INPUT_DEVICE,  /* `entry` of the inbox is for a device that waits for it */
	INPUT_RESET,   /* the machine is to be reset */
	INPUT_SKIP,    /* what the inbox has up to offset `value` is void */
	INPUT_VOTE,    /* a vote point, for `value`, an enum vote_cause */
	INPUT_STOP,    /* nothing more at this position: enter the guest and stop at `stop` */
	INPUT_LEAVE,   /* the supervisor ends this replica */
	INPUT_ATTENTION, /* the supervisor has something to say, or the leader's tape is at its end: then ask again */
};

struct input {
	enum input_kind kind;
	uint64_t value;
	uint16_t length;
	uint8_t data[TAPE_CONSOLE_MAX];
	/* Good until the next question. */
	const struct stop_point *stop;
	const struct inbox_entry *entry;
};

/* What the replica tells a source about itself; all of it is replicated state. */
struct source_view {
	uint64_t position;
	uint64_t now;            /* guest ns */
	uint64_t deadline;       /* at which the devices want the time, or DEVICE_NO_DEADLINE */
	uint64_t console_room;   /* bytes that COM1 can take */
	uint64_t console_taken;  /* inputs consumed so far */
	uint64_t buttons_taken;
	uint64_t inbox_taken;
	uint64_t resets_taken;
	uint64_t exits_unvoted;  /* exits and output since the last vote point */
	uint64_t output_pending;
	bool output_urgent;      /* something outside waits for it, and so does the guest; not replicated */
	bool must_wait;          /* the guest is halted and nothing wakes it yet */
	bool parted;             /* replicas went different ways: a vote is wanted; not replicated */
	bool ended;              /* the machine has ended: only a vote is left to do */
	bool end_voted;          /* and that is done */
	bool may_vote;           /* as far as is known before its last instruction is complete */
};

struct source;

struct source_operations {
	/* INPUT_TIME, INPUT_LEAVE or INPUT_ATTENTION. An error of either: the tape does not fit this replica. */
	must_check result (*time)(struct source *source, const struct source_view *view, struct input *input);
	must_check result (*next)(struct source *source, const struct source_view *view, struct input *input);
};

struct source {
	const struct source_operations *operations;
};

/* Whether the guest's devices take what the inbox has for them, by the state of this replica; NEVER where there is no
 * `fits`. */
struct source_devices {
	void *context;
	enum device_input_fit (*fits)(void *context, const struct inbox_entry *entry);
};

/* What every source shares with its replica. */
struct source_links {
	unsigned index; /* of this replica */
	unsigned replicas;
	struct area *own;
	struct area *peers; /* `replicas` of them; that of this replica is not mapped */
	const struct supervisor_page *supervisor;
	struct source_devices devices;
	bool strict; /* the replicas meet at every exit (rendezvous.h) */
	const uint32_t *attention_seen; /* what supervisor->attention was when this replica looked last */
};

/* What a replica's devices say to an entry of the inbox. */
enum device_input_fit source_fit(const struct source_links *links, const struct inbox_entry *entry);

/* Whether the supervisor has something to say to this replica. */
bool source_attention(const struct source_links *links);

struct source_live {
	struct source source; /* first */
	struct source_links links;
	struct tape_writer tape;
	uint64_t vote_interval; /* ns */
	uint64_t output_delay;  /* ns that output may wait for company before it forces a vote */
	uint64_t next_vote;     /* host time */
	uint64_t output_since;  /* host time at which the oldest output was seen, 0: none */
	uint64_t voted_position; /* of the last vote point */
	uint64_t voted_at;      /* on the tape, likewise */
	uint64_t voted_inbox;   /* in the inbox */
	struct inbox_entry entry; /* the last one */
	uint32_t request_seen;  /* the last vote that the supervisor asked for */
};

struct source_tape {
	struct source source; /* first */
	struct source_links links;
	struct tape_reader tape;
	const struct area *leader;
	uint64_t wake_distance; /* positions to fall behind before a sleep ends */
	struct stop_point stop; /* the last ones */
	struct inbox_entry entry;
	uint64_t reached;       /* by the leader, as it was read last */
	uint64_t reached_end;   /* where the tape ends (tape.ends), the leader had reached this position */
};

/* Starts the leader's source (`vote_interval` in ns): its own tape goes on where it ends. `links` is copied; what it
 * points to must outlive the source. */
void source_live_init(struct source_live *live, const struct source_links *links, uint64_t vote_interval);

/* What waits for a guest that is inside a segment. */
enum source_need {
	SOURCE_NEEDS_NOTHING,
	SOURCE_NEEDS_VOTE,  /* a vote is due: anywhere will do */
	SOURCE_NEEDS_INPUT, /* the guest's devices have something for it, or the world has */
};

/* What a leader is needed for that is inside its guest since host time `begin`, and where a vote is due when it has
 * been there for `segment_max` ns; at host time `host`. `*next` is the host time at which that may change. */
enum source_need source_live_needs(const struct source_live *live, const struct source_view *view, uint64_t begin,
				   uint64_t segment_max, uint64_t host, uint64_t *next);

/* Writes down where the segment from `position` on is ended. */
void source_live_stop(struct source_live *live, uint64_t position, const struct stop_point *stop);

/* Starts the source of a follower of `leader`, from offset `at` of the leader's tape on. */
void source_tape_init(struct source_tape *follower, const struct source_links *links, unsigned leader, uint64_t at);

/* The leader is no more: its tape ends at offset `end`, where it had reached position `reached`. */
void source_tape_set_end(struct source_tape *follower, uint64_t end, uint64_t reached);

/* Whether a replica at `position` has taken everything that such a tape has for it. */
bool source_tape_exhausted(const struct source_tape *follower, uint64_t position);

#endif
