/*
 * A channel whose stream is records - device u32, length u32, so many bytes (devices/device.h) -, put together again
 * from the pieces in which the outbox lets it out.
 */
#ifndef TERCET_LOCKSTEP_RECORD_STREAM_H
#define TERCET_LOCKSTEP_RECORD_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/result.h"

struct record_stream {
	size_t most;    /* bytes of one record, at most */
	size_t used;    /* bytes that are there */
	uint8_t *bytes; /* the record at hand */
};

struct record {
	uint32_t device;
	size_t length;       /* 0: none is whole yet */
	const uint8_t *data; /* good until the next call */
};

/* Errors: no memory. */
must_check result record_stream_create(struct record_stream *stream, size_t most);
void record_stream_destroy(struct record_stream *stream);

/* Takes some of `length` bytes, at least one; `*taken` says how many, and `record` what is whole now. Errors: a record
 * of no bytes, or of too many. */
must_check result record_stream_take(struct record_stream *stream, const uint8_t *data, size_t length, size_t *taken,
				     struct record *record);

#endif
