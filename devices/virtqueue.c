#include "devices/virtqueue.h"

#define DESCRIPTOR_NEXT 1U
#define DESCRIPTOR_WRITE 2U
#define DESCRIPTOR_INDIRECT 4U

#define AVAILABLE_NO_INTERRUPT 1U
#define AVAILABLE_INDEX 2U
#define AVAILABLE_RING 4U
#define AVAILABLE_ENTRY 2U
#define USED_INDEX 2U
#define USED_RING 4U
#define USED_ENTRY 8U

#define DESCRIPTORS_ALIGN 16U
#define AVAILABLE_ALIGN 2U
#define USED_ALIGN 4U

/* No part of a queue starts so late that an address in it would wrap round. */
#define START_MAX (UINT64_MAX - (uint64_t)VIRTQUEUE_DESCRIPTOR * VIRTQUEUE_SIZE_MAX)

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags;
	uint16_t next;
};

/* Where descriptors are looked up: the queue's own, or an indirect table. */
struct table {
	uint64_t address;
	uint32_t count;
};

void virtqueue_reset(struct virtqueue *queue)
{
	*queue = (struct virtqueue){ .max = queue->max, .size = queue->max };
}

bool virtqueue_is_valid(const struct virtqueue *queue)
{
	return queue->size > 0 && queue->size <= queue->max && (queue->size & (queue->size - 1)) == 0 &&
	       queue->descriptors % DESCRIPTORS_ALIGN == 0 && queue->available % AVAILABLE_ALIGN == 0 &&
	       queue->used % USED_ALIGN == 0 && queue->descriptors <= START_MAX && queue->available <= START_MAX &&
	       queue->used <= START_MAX;
}

static bool read_u16(const struct device_board *board, uint64_t address, uint16_t *value)
{
	uint8_t bytes[sizeof(*value)];

	if (!board->memory_read(board->context, address, bytes, sizeof(bytes)))
		return false;
	*value = bytes_load_u16(bytes);
	return true;
}

static bool write_u16(const struct device_board *board, uint64_t address, uint16_t value)
{
	uint8_t bytes[sizeof(value)];

	bytes_store_u16(bytes, value);
	return board->memory_write(board->context, address, bytes, sizeof(bytes));
}

bool virtqueue_available(const struct virtqueue *queue, const struct device_board *board, unsigned *count)
{
	uint16_t index;

	*count = 0;
	if (!read_u16(board, queue->available + AVAILABLE_INDEX, &index))
		return false;
	*count = (uint16_t)(index - queue->taken);
	return *count <= queue->size;
}

bool virtqueue_peek(const struct virtqueue *queue, const struct device_board *board, struct virtqueue_chain *chain)
{
	uint64_t slot = queue->taken & (queue->size - 1U);
	uint16_t head;

	if (!read_u16(board, queue->available + AVAILABLE_RING + AVAILABLE_ENTRY * slot, &head))
		return false;
	return virtqueue_walk(queue, board, head, chain);
}

void virtqueue_take(struct virtqueue *queue)
{
	queue->taken++;
}

static bool read_descriptor(const struct device_board *board, const struct table *table, uint32_t index,
			    struct descriptor *descriptor)
{
	uint8_t bytes[VIRTQUEUE_DESCRIPTOR];

	if (index >= table->count ||
	    !board->memory_read(board->context, table->address + (uint64_t)VIRTQUEUE_DESCRIPTOR * index, bytes,
				sizeof(bytes)))
		return false;
	descriptor->address = bytes_load_u64(bytes);
	descriptor->length = bytes_load_u32(bytes + 8);
	descriptor->flags = bytes_load_u16(bytes + 12);
	descriptor->next = bytes_load_u16(bytes + 14);
	return true;
}

/* Steps into the table that a descriptor points to. It ends the chain outside, and tables do not nest. */
static bool enter_indirect(const struct descriptor *descriptor, struct table *table, bool *indirect)
{
	if (*indirect || (descriptor->flags & DESCRIPTOR_NEXT) || descriptor->length == 0 ||
	    descriptor->length % VIRTQUEUE_DESCRIPTOR != 0)
		return false;
	*indirect = true;
	table->address = descriptor->address;
	table->count = descriptor->length / VIRTQUEUE_DESCRIPTOR;
	return true;
}

static bool add_segment(struct virtqueue_chain *chain, const struct descriptor *descriptor)
{
	const struct virtqueue_segment segment = { descriptor->address, descriptor->length };

	if (descriptor->flags & DESCRIPTOR_WRITE) {
		chain->segments[chain->readable + chain->writable++] = segment;
		chain->writable_bytes += segment.length;
		return true;
	}
	chain->segments[chain->readable++] = segment;
	chain->readable_bytes += segment.length;
	return chain->writable == 0;
}

bool virtqueue_walk(const struct virtqueue *queue, const struct device_board *board, uint16_t head,
		    struct virtqueue_chain *chain)
{
	struct table table = { queue->descriptors, queue->size };
	struct descriptor descriptor;
	bool indirect = false;
	uint32_t index = head;

	chain->head = head;
	chain->readable = 0;
	chain->writable = 0;
	chain->readable_bytes = 0;
	chain->writable_bytes = 0;
	for (;;) {
		if (!read_descriptor(board, &table, index, &descriptor))
			return false;
		if (descriptor.flags & DESCRIPTOR_INDIRECT) {
			if (!enter_indirect(&descriptor, &table, &indirect))
				return false;
			index = 0;
			continue;
		}
		/* A loop has no end, and more segments than the queue has descriptors. */
		if (chain->readable + chain->writable == queue->size || !add_segment(chain, &descriptor))
			return false;
		if (!(descriptor.flags & DESCRIPTOR_NEXT))
			return true;
		index = descriptor.next;
	}
}

/* Copies between `data` and a list of segments, of which the first `offset` bytes are passed over. */
static bool copy(const struct virtqueue_segment *segments, unsigned count, const struct device_board *board,
		 uint64_t offset, uint8_t *to, const uint8_t *from, size_t length)
{
	for (unsigned i = 0; i < count && length > 0; i++) {
		uint64_t piece = segments[i].length;

		if (offset >= piece) {
			offset -= piece;
			continue;
		}
		uint64_t address = segments[i].address + offset;

		piece -= offset;
		if (piece > length)
			piece = length;
		if (to ? !board->memory_read(board->context, address, to, (size_t)piece)
		       : !board->memory_write(board->context, address, from, (size_t)piece))
			return false;
		if (to)
			to += piece;
		else
			from += piece;
		length -= (size_t)piece;
		offset = 0;
	}
	return length == 0;
}

bool virtqueue_read(const struct virtqueue_chain *chain, const struct device_board *board, uint64_t offset,
		    void *data, size_t length)
{
	return copy(chain->segments, chain->readable, board, offset, data, NULL, length);
}

bool virtqueue_write(const struct virtqueue_chain *chain, const struct device_board *board, uint64_t offset,
		     const void *data, size_t length)
{
	return copy(chain->segments + chain->readable, chain->writable, board, offset, NULL, data, length);
}

/* Whether the driver wants to hear of the used entry before `queue->done`. */
static bool wants_interrupt(const struct virtqueue *queue, const struct device_board *board, bool *interrupt)
{
	uint16_t value;

	if (!queue->event_index) {
		if (!read_u16(board, queue->available, &value))
			return false;
		*interrupt |= !(value & AVAILABLE_NO_INTERRUPT);
		return true;
	}
	if (!read_u16(board, queue->available + AVAILABLE_RING + AVAILABLE_ENTRY * (uint64_t)queue->size, &value))
		return false;
	*interrupt |= (uint16_t)(queue->done - 1U) == value;
	return true;
}

bool virtqueue_give_back(struct virtqueue *queue, const struct device_board *board, uint16_t head, uint32_t written,
			 bool *interrupt)
{
	uint64_t slot = queue->done & (queue->size - 1U);
	uint8_t entry[USED_ENTRY];

	bytes_store_u32(entry, head);
	bytes_store_u32(entry + 4, written);
	if (!board->memory_write(board->context, queue->used + USED_RING + USED_ENTRY * slot, entry, sizeof(entry)))
		return false;
	queue->done++;
	return write_u16(board, queue->used + USED_INDEX, queue->done) && wants_interrupt(queue, board, interrupt);
}

bool virtqueue_ask(const struct virtqueue *queue, const struct device_board *board)
{
	if (!queue->event_index)
		return true;
	return write_u16(board, queue->used + USED_RING + USED_ENTRY * (uint64_t)queue->size, queue->taken);
}

void virtqueue_save(const struct virtqueue *queue, struct bytes_writer *writer)
{
	bytes_put_u16(writer, queue->size);
	bytes_put_bool(writer, queue->enabled);
	bytes_put_bool(writer, queue->event_index);
	bytes_put_u64(writer, queue->descriptors);
	bytes_put_u64(writer, queue->available);
	bytes_put_u64(writer, queue->used);
	bytes_put_u16(writer, queue->taken);
	bytes_put_u16(writer, queue->done);
}

result virtqueue_load(struct virtqueue *queue, struct bytes_reader *reader)
{
	queue->size = bytes_get_u16(reader);
	queue->enabled = bytes_get_bool(reader);
	queue->event_index = bytes_get_bool(reader);
	queue->descriptors = bytes_get_u64(reader);
	queue->available = bytes_get_u64(reader);
	queue->used = bytes_get_u64(reader);
	queue->taken = bytes_get_u16(reader);
	queue->done = bytes_get_u16(reader);
	if (queue->enabled && !virtqueue_is_valid(queue))
		return fail(STATUS_INPUT, "state of a virtqueue is not valid");
	return OK;
}
