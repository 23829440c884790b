#include "devices/virtio.h"

#define STATUS_OF_DRIVER \
	(VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK | VIRTIO_FAILED)

static void forget(struct virtio *virtio)
{
	virtio->features = 0;
	virtio->status = 0;
	virtio->interrupts = 0;
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		virtio->queues[i].max = virtio->model->queue_sizes[i];
		virtqueue_reset(&virtio->queues[i]);
	}
}

void virtio_init(struct virtio *virtio, const struct virtio_model *model, const struct device_board *board,
		 uint32_t index, uint8_t *scratch)
{
	virtio->model = model;
	virtio->board = board;
	virtio->index = index;
	virtio->scratch = scratch;
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		invariant(model->queue_sizes[i] <= VIRTQUEUE_SIZE_MAX);
	forget(virtio);
}

void virtio_reset(struct virtio *virtio)
{
	forget(virtio);
	virtio->model->reset(virtio);
}

uint64_t virtio_offered(const struct virtio *virtio)
{
	return virtio->model->features(virtio) | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1;
}

void virtio_accept(struct virtio *virtio, unsigned half, uint32_t value)
{
	if ((virtio->status & VIRTIO_FEATURES_OK) || half > 1)
		return;
	virtio->features &= ~(UINT64_C(0xFFFFFFFF) << (32 * half));
	virtio->features |= (uint64_t)value << (32 * half);
}

static bool features_are_good(const struct virtio *virtio)
{
	uint64_t required = VIRTIO_F_VERSION_1 | virtio->model->required(virtio);

	return (virtio->features & ~virtio_offered(virtio)) == 0 && (virtio->features & required) == required;
}

void virtio_set_status(struct virtio *virtio, uint8_t value)
{
	if (value == 0) {
		virtio_reset(virtio);
		return;
	}

	/* Bits are cleared by a reset alone; one that comes before its time stays 0,
		where the driver finds it. */
	uint8_t set = value & STATUS_OF_DRIVER & (uint8_t)~virtio->status;

	if ((set & VIRTIO_FEATURES_OK) && !features_are_good(virtio))
		set &= (uint8_t)~VIRTIO_FEATURES_OK;
	if (!((virtio->status | set) & VIRTIO_FEATURES_OK))
		set &= (uint8_t)~VIRTIO_DRIVER_OK;
	virtio->status |= set;
	if (set & VIRTIO_FEATURES_OK)
		for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
			virtio->queues[i].event_index = virtio->features & VIRTIO_F_EVENT_IDX;
}

void virtio_enable(struct virtio *virtio, unsigned queue)
{
	if (queue >= VIRTIO_QUEUES_MAX || virtio->queues[queue].enabled ||
	    !(virtio->status & VIRTIO_FEATURES_OK))
		return;
	if (virtqueue_is_valid(&virtio->queues[queue]))
		virtio->queues[queue].enabled = true;
	else
		virtio_break(virtio);
}

void virtio_notify(struct virtio *virtio, unsigned queue)
{
	if (queue < VIRTIO_QUEUES_MAX && virtio->queues[queue].enabled && virtio_is_running(virtio))
		virtio->model->notify(virtio, queue);
}

bool virtio_is_running(const struct virtio *virtio)
{
	return (virtio->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET)) == VIRTIO_DRIVER_OK;
}

void virtio_break(struct virtio *virtio)
{
	virtio->status |= VIRTIO_NEEDS_RESET;
	if (virtio->status & VIRTIO_DRIVER_OK)
		virtio->interrupts |= VIRTIO_INTERRUPT_CONFIG;
}

void virtio_take(struct virtio *virtio, unsigned queue,
		 bool (*take)(struct virtio *virtio, const struct virtqueue_chain *chain))
{
	struct virtqueue *of = &virtio->queues[queue];
	struct virtqueue_chain chain;
	unsigned count;

	if (!of->enabled || !virtio_is_running(virtio))
		return;
	/* Counted once: what is written to the chains may change the ring that they come from. */
	if (!virtqueue_available(of, virtio->board, &count)) {
		virtio_break(virtio);
		return;
	}
	while (count-- > 0) {
		if (!virtqueue_peek(of, virtio->board, &chain)) {
			virtio_break(virtio);
			return;
		}
		if (!take(virtio, &chain))
			break;
		if (!virtio_is_running(virtio))
			return;
		virtqueue_take(of);
	}
	if (!virtqueue_ask(of, virtio->board))
		virtio_break(virtio);
}

void virtio_give_back(struct virtio *virtio, unsigned queue, uint16_t head, uint32_t written)
{
	bool interrupt = false;

	if (!virtqueue_give_back(&virtio->queues[queue], virtio->board, head, written, &interrupt))
		virtio_break(virtio);
	if (interrupt)
		virtio->interrupts |= VIRTIO_INTERRUPT_QUEUE;
}

bool virtio_can_receive(const struct virtio *virtio, unsigned queue)
{
	unsigned count;

	if (!virtio->queues[queue].enabled || !virtio_is_running(virtio))
		return false;
	/* A queue that is not in order is found to be so by the delivery. */
	return !virtqueue_available(&virtio->queues[queue], virtio->board, &count) || count > 0;
}

size_t virtio_receive(struct virtio *virtio, unsigned queue, const void *data, size_t length, bool whole)
{
	struct virtqueue *of = &virtio->queues[queue];
	struct virtqueue_chain chain;
	unsigned count;

	if (!of->enabled || !virtio_is_running(virtio))
		return 0;
	if (!virtqueue_available(of, virtio->board, &count)) {
		virtio_break(virtio);
		return 0;
	}
	if (count == 0)
		return 0;
	if (!virtqueue_peek(of, virtio->board, &chain)) {
		virtio_break(virtio);
		return 0;
	}
	if (chain.writable_bytes < length) {
		if (whole)
			return 0;
		length = (size_t)chain.writable_bytes;
	}
	if (length == 0 || !virtqueue_write(&chain, virtio->board, 0, data, length)) {
		virtio_break(virtio);
		return 0;
	}
	virtqueue_take(of);
	virtio_give_back(virtio, queue, chain.head, (uint32_t)length);
	return length;
}

uint64_t virtio_no_features(const struct virtio *virtio)
{
	(void)virtio;
	return 0;
}

uint8_t virtio_no_config(const struct virtio *virtio, unsigned offset)
{
	(void)virtio;
	(void)offset;
	return 0;
}

void virtio_save(const struct virtio *virtio, struct bytes_writer *writer)
{
	bytes_put_u64(writer, virtio->features);
	bytes_put_u8(writer, virtio->status);
	bytes_put_u8(writer, virtio->interrupts);
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		virtqueue_save(&virtio->queues[i], writer);
	if (virtio->model->save)
		virtio->model->save(virtio, writer);
}

result virtio_load(struct virtio *virtio, struct bytes_reader *reader)
{
	virtio->features = bytes_get_u64(reader);
	virtio->status = bytes_get_u8(reader);
	virtio->interrupts = bytes_get_u8(reader);
	if ((virtio->status & ~(STATUS_OF_DRIVER | VIRTIO_NEEDS_RESET)) ||
	    (virtio->interrupts & ~(VIRTIO_INTERRUPT_QUEUE | VIRTIO_INTERRUPT_CONFIG)) ||
	    ((virtio->status & VIRTIO_DRIVER_OK) && !(virtio->status & VIRTIO_FEATURES_OK)) ||
	    ((virtio->status & VIRTIO_FEATURES_OK) && !features_are_good(virtio)))
		return fail(STATUS_INPUT, "state of a %s is not valid", virtio->model->name);
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		TRY(virtqueue_load(&virtio->queues[i], reader));
	return virtio->model->load ? virtio->model->load(virtio, reader) : OK;
}
