/*
 * The tape: every nondeterministic input, with the position at which it was taken. Written by the leader, read
 * by followers; a byte format (little-endian, versioned by CONTROL_VERSION, each entry checked by a CRC-32) that
 * does not care whether it lies in shared memory, in a file or on a wire.
 *
 *   entry: u32 crc, u16 kind, u16 length, u64 position, `length` bytes of payload, zeros up to 8 bytes
 *   the CRC is over everything behind it, without the zeros
 */
#ifndef TERCET_LOCKSTEP_TAPE_H
#define TERCET_LOCKSTEP_TAPE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "base/ring.h"
#include "lockstep/inbox.h"
#include "lockstep/stop_point.h"

enum tape_kind {
	TAPE_TIME = 1,    /* u64: the guest's time in ns from here on */
	TAPE_CONSOLE = 2, /* 1 to TAPE_CONSOLE_MAX bytes for COM1 */
	TAPE_BUTTON = 3,  /* the power button, no payload */
	TAPE_VOTE = 4,    /* u64: enum vote_cause. A vote point, if the exit's instruction is complete here */
	TAPE_STOP = 5,    /* struct stop_point: where the segment from here on ends, without an exit of the guest's */
	TAPE_DEVICE = 6,  /* what the inbox has for a device: inbox_to_tape */
	TAPE_SKIP = 7,    /* u64: the inbox offset behind the next entry, which is void */
	TAPE_RESET = 8,   /* the machine is reset, because somebody asked for it; no payload */
	TAPE_KINDS
};

enum { TAPE_HEADER_SIZE = 16, TAPE_CONSOLE_MAX = 64, TAPE_PAYLOAD_MAX = INBOX_TAPED_MAX };
_Static_assert(sizeof(struct stop_point) <= TAPE_PAYLOAD_MAX, "a stop fits into an entry");

/* The name of a kind, for statistics and reports. */
const char *tape_kind_name(enum tape_kind kind);

struct tape_entry {
	enum tape_kind kind;
	uint16_t length;
	uint64_t position;
	uint8_t payload[TAPE_PAYLOAD_MAX];
};

struct tape_writer {
	struct ring ring;
	struct ring mirror;        /* a second copy; no memory: none is kept */
	_Atomic uint64_t *written; /* a checked word (base/checked_word.h) */
	uint64_t at;               /* what it says */
};

struct tape_reader {
	struct ring ring;   /* read-only memory */
	struct ring mirror; /* what is damaged in the first copy is read here; no memory: there is no second */
	const _Atomic uint64_t *written; /* a checked word */
	uint64_t at;
	uint64_t position; /* of the last entry */
	bool ends;         /* there is nothing from offset `end` on, and all before it is there: `written` is void */
	uint64_t end;
	bool blind;        /* at the last look `written` was damaged: nobody knows what is there */
	uint64_t mended;   /* looks at an entry that was damaged in the first copy */
};

/* Appends an entry; the caller has made sure that nobody still needs what it overwrites. Returns its size in
 * bytes. */
uint64_t tape_write(struct tape_writer *writer, enum tape_kind kind, uint64_t position, const void *payload,
		    uint16_t length);

/* Looks at the next entry without consuming it; `*there` is false if there is none yet, or if that cannot be told
 * (reader->blind).
 * Errors: damaged in both copies (CRC), overrun by the writer, of an unknown kind, of a wrong length, out of order. */
must_check result tape_peek(struct tape_reader *reader, struct tape_entry *entry, bool *there);

/* Consumes an entry that tape_peek gave. */
void tape_consume(struct tape_reader *reader, const struct tape_entry *entry);

/* The number that a TIME, VOTE or SKIP entry carries. */
uint64_t tape_entry_value(const struct tape_entry *entry);

#endif
