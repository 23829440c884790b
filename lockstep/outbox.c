#include "lockstep/outbox.h"

#include <stdatomic.h>

#include "base/bytes.h"

void outbox_init(struct outbox *outbox, struct ring ring, _Atomic uint64_t *written)
{
	*outbox = (struct outbox){ .ring = ring, .written = written };
}

void outbox_restart(struct outbox *outbox, uint64_t voted)
{
	outbox->voted = outbox->end = voted;
	outbox->gathered = 0;
	atomic_store_explicit(outbox->written, voted, memory_order_release);
}

static void close_record(struct outbox *outbox)
{
	uint64_t at = outbox->end;
	uint8_t bytes[OUTBOX_HEADER_SIZE];
	struct bytes_writer header = bytes_writer_over(bytes, sizeof(bytes));

	if (outbox->gathered == 0)
		return;
	bytes_put_u16(&header, (uint16_t)outbox->channel);
	bytes_put_u16(&header, 0);
	bytes_put_u32(&header, outbox->gathered);
	bytes_put_u64(&header, outbox->position);
	ring_put(&outbox->ring, at, bytes, sizeof(bytes));
	ring_put(&outbox->ring, at + sizeof(bytes), outbox->data, outbox->gathered);
	outbox->end = at + sizeof(bytes) + outbox->gathered;
	atomic_store_explicit(outbox->written, outbox->end, memory_order_release);
	outbox->gathered = 0;
}

void outbox_put(struct outbox *outbox, enum output_channel channel, uint64_t position, const void *data,
		size_t length)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < length; i++) {
		if (outbox->gathered == OUTBOX_DATA_MAX || (outbox->gathered > 0 && outbox->channel != channel))
			close_record(outbox);
		if (outbox->gathered == 0) {
			outbox->channel = channel;
			outbox->position = position;
		}
		outbox->data[outbox->gathered++] = bytes[i];
	}
}

uint64_t outbox_pending(const struct outbox *outbox)
{
	return outbox->end - outbox->voted + outbox->gathered;
}

struct digest outbox_vote(struct outbox *outbox, struct digest_context *digests, uint64_t number)
{
	close_record(outbox);

	uint64_t end = outbox->end;

	invariant(end - outbox->voted <= outbox->ring.size);
	digest_begin(digests, DIGEST_OUTPUT, number);
	while (outbox->voted < end) {
		uint64_t at = outbox->voted & (outbox->ring.size - 1);
		uint64_t part = end - outbox->voted;

		if (part > outbox->ring.size - at)
			part = outbox->ring.size - at;
		digest_add(digests, outbox->ring.data + at, part);
		outbox->voted += part;
	}
	return digest_end(digests);
}

result outbox_next(const uint8_t *stream, uint64_t length, uint64_t *at, struct outbox_record *record)
{
	struct bytes_reader reader = bytes_reader_over(stream + *at, length - *at);
	uint16_t channel = bytes_get_u16(&reader);
	uint16_t zero = bytes_get_u16(&reader);

	record->length = bytes_get_u32(&reader);
	record->position = bytes_get_u64(&reader);
	if (reader.underflow || channel < OUTPUT_CONSOLE || channel > OUTPUT_VCONSOLE || zero != 0 ||
	    record->length == 0 || record->length > OUTBOX_DATA_MAX || record->length > reader.size - reader.at)
		return fail(STATUS_FAILED, "the outbox holds a record that no replica writes, at byte %llu",
			    (unsigned long long)*at);
	record->channel = (enum output_channel)channel;
	record->data = stream + *at + OUTBOX_HEADER_SIZE;
	*at += OUTBOX_HEADER_SIZE + record->length;
	return OK;
}
