#include "lockstep/record_stream.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "devices/device.h"

result record_stream_create(struct record_stream *stream, size_t most)
{
	*stream = (struct record_stream){ .most = most, .bytes = malloc(DEVICE_STREAM_HEADER + most) };
	return stream->bytes ? OK : fail(STATUS_FAILED, "no memory for what devices let out");
}

void record_stream_destroy(struct record_stream *stream)
{
	free(stream->bytes);
	*stream = (struct record_stream){ .bytes = NULL };
}

result record_stream_take(struct record_stream *stream, const uint8_t *data, size_t length, size_t *taken,
			  struct record *record)
{
	size_t whole = DEVICE_STREAM_HEADER;

	*record = (struct record){ .length = 0 };
	if (stream->used >= DEVICE_STREAM_HEADER)
		whole += bytes_load_u32(stream->bytes + sizeof(uint32_t));
	*taken = length < whole - stream->used ? length : whole - stream->used;
	memcpy(stream->bytes + stream->used, data, *taken);
	stream->used += *taken;
	if (stream->used != whole)
		return OK;
	if (whole == DEVICE_STREAM_HEADER) {
		whole = bytes_load_u32(stream->bytes + sizeof(uint32_t));
		if (whole == 0 || whole > stream->most)
			return fail(STATUS_FAILED, "a device lets out a record of %zu bytes", whole);
		return OK;
	}
	record->device = bytes_load_u32(stream->bytes);
	record->data = stream->bytes + DEVICE_STREAM_HEADER;
	record->length = whole - DEVICE_STREAM_HEADER;
	stream->used = 0;
	return OK;
}
