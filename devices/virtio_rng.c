#include "devices/virtio_rng.h"

#define RNG_ID 4U
#define RNG_QUEUE 0U
#define RNG_QUEUE_SIZE 8U
#define KIND_WANTED 1U /* struct virtio_request's only kind */

static struct virtio_rng *rng_of(struct virtio *virtio)
{
	return (struct virtio_rng *)virtio;
}

static const struct virtio_rng *const_rng_of(const struct virtio *virtio)
{
	return (const struct virtio_rng *)virtio;
}

static void fetch(const struct virtio *virtio, const struct virtio_request *request)
{
	const struct device_fetch wanted = {
		.device = virtio->index,
		.kind = FETCH_ENTROPY,
		.id = request->id,
		.length = request->length,
	};

	virtio->board->fetch(virtio->board->context, &wanted);
}

static bool rng_start(struct virtio *virtio, const struct virtqueue_chain *chain)
{
	struct virtio_rng *rng = rng_of(virtio);
	uint64_t length = chain->writable_bytes;
	struct virtio_request wanted = { .kind = KIND_WANTED, .head = chain->head };

	if (rng->requests.count == RNG_QUEUE_SIZE)
		return false;
	if (length == 0) {
		virtio_break(virtio);
		return true;
	}
	wanted.length = length < DEVICE_INPUT_MAX ? (uint32_t)length : DEVICE_INPUT_MAX;
	fetch(virtio, virtio_request_add(&rng->requests, &wanted));
	return true;
}

static void rng_notify(struct virtio *virtio, unsigned queue)
{
	(void)queue;
	virtio_take(virtio, RNG_QUEUE, rng_start);
}

static void rng_reset(struct virtio *virtio)
{
	rng_of(virtio)->requests.count = 0;
}

static enum device_input_fit rng_fits(const struct virtio *virtio, const struct device_input *input)
{
	const struct virtio_request *request = virtio_request_find(&const_rng_of(virtio)->requests, input->id);

	if (!request || !virtio_is_running(virtio) || input->kind != INPUT_ENTROPY || input->length > request->length)
		return DEVICE_INPUT_NEVER;
	return DEVICE_INPUT_FITS;
}

static void rng_input(struct virtio *virtio, const struct device_input *input)
{
	struct virtio_rng *rng = rng_of(virtio);
	uint16_t head = virtio_request_find(&rng->requests, input->id)->head;
	struct virtqueue_chain chain;

	virtio_request_remove(&rng->requests, input->id);
	if (!virtqueue_walk(&virtio->queues[RNG_QUEUE], virtio->board, head, &chain) ||
	    !virtqueue_write(&chain, virtio->board, 0, input->data, input->length))
		virtio_break(virtio);
	else
		virtio_give_back(virtio, RNG_QUEUE, head, input->length);
	virtio_take(virtio, RNG_QUEUE, rng_start);
}

static void rng_fetch_again(const struct virtio *virtio)
{
	const struct virtio_requests *requests = &const_rng_of(virtio)->requests;

	for (unsigned i = 0; i < requests->count && virtio_is_running(virtio); i++)
		fetch(virtio, &requests->list[i]);
}

static void rng_save(const struct virtio *virtio, struct bytes_writer *writer)
{
	virtio_request_save(&const_rng_of(virtio)->requests, writer);
}

static result rng_load(struct virtio *virtio, struct bytes_reader *reader)
{
	struct virtio_requests *requests = &rng_of(virtio)->requests;

	TRY(virtio_request_load(requests, reader, KIND_WANTED));
	for (unsigned i = 0; i < requests->count; i++)
		if (requests->list[i].length == 0 || requests->list[i].length > DEVICE_INPUT_MAX)
			return fail(STATUS_INPUT, "saved requests of an entropy device are not valid");
	return OK;
}

const struct virtio_model virtio_rng_model = {
	.name = "virtio entropy device",
	.id = RNG_ID,
	.class_code = 0x00FF00,
	.queue_sizes = { RNG_QUEUE_SIZE },
	.features = virtio_no_features,
	.required = virtio_no_features,
	.reset = rng_reset,
	.notify = rng_notify,
	.config = virtio_no_config,
	.fits = rng_fits,
	.input = rng_input,
	.fetch_again = rng_fetch_again,
	.save = rng_save,
	.load = rng_load,
};
