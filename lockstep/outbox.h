/*
 * The outbox: everything that wants to leave the machine, in the order in which it was made. A byte stream of
 * records in the replica's area; the supervisor releases it from a replica of the majority, up to what was voted.
 *
 *   record: u16 channel, u16 0, u32 length, u64 position, `length` bytes
 */
#ifndef TERCET_LOCKSTEP_OUTBOX_H
#define TERCET_LOCKSTEP_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "base/ring.h"
#include "devices/device.h"
#include "lockstep/digest.h"

enum { OUTBOX_HEADER_SIZE = 16, OUTBOX_DATA_MAX = 4096 };

/* The writing side, in a replica. Small outputs to the same channel are gathered into one record. */
struct outbox {
	struct ring ring;
	_Atomic uint64_t *written; /* for others to see */
	uint64_t end;          /* the stream's end */
	uint64_t voted;        /* stream offset at the last vote point */
	enum output_channel channel;
	uint64_t position;     /* at which the gathered bytes began */
	uint32_t gathered;
	uint8_t data[OUTBOX_DATA_MAX];
};

/* Starts an empty outbox; `written` is the stream's end, in the area that the ring is in. */
void outbox_init(struct outbox *outbox, struct ring ring, _Atomic uint64_t *written);

/* Starts again as a stream that has been voted up to offset `voted`, with nothing behind it. */
void outbox_restart(struct outbox *outbox, uint64_t voted);

/* Takes output made at `position`. There must be room: see outbox_pending. */
void outbox_put(struct outbox *outbox, enum output_channel channel, uint64_t position, const void *data,
		size_t length);

/* Bytes that wait for a vote, about. */
uint64_t outbox_pending(const struct outbox *outbox);

/* Closes the record at hand, hashes everything since the last vote point and moves that on. */
struct digest outbox_vote(struct outbox *outbox, struct digest_context *digests, uint64_t number);

/* The reading side. The stream's bytes must be copied before they are looked at. */
struct outbox_record {
	enum output_channel channel;
	uint32_t length;
	uint64_t position;
	const uint8_t *data;
};

/* Takes the record at `*at` of `length` copied bytes and moves `*at` on. Errors: damaged. */
must_check result outbox_next(const uint8_t *stream, uint64_t length, uint64_t *at, struct outbox_record *record);

#endif
