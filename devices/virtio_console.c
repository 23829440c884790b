#include "devices/virtio_console.h"

#include "devices/virtio_stream.h"

#define CONSOLE_ID 3U
#define CONSOLE_QUEUE_SIZE 64U

static const struct virtio_stream console_stream = {
	.channel = OUTPUT_VCONSOLE,
	.most = VIRTIO_DATA_MAX,
};

static bool console_send(struct virtio *virtio, const struct virtqueue_chain *chain)
{
	return virtio_stream_send(virtio, &console_stream, chain);
}

static void console_notify(struct virtio *virtio, unsigned queue)
{
	if (queue == VIRTIO_STREAM_SEND)
		virtio_take(virtio, VIRTIO_STREAM_SEND, console_send);
}

static void console_reset(struct virtio *virtio)
{
	(void)virtio;
}

static enum device_input_fit console_fits(const struct virtio *virtio, const struct device_input *input)
{
	return virtio_stream_fits(virtio, input, INPUT_VCONSOLE);
}

static void console_input(struct virtio *virtio, const struct device_input *input)
{
	size_t done = 0;
	size_t taken;

	do {
		taken = virtio_receive(virtio, VIRTIO_STREAM_RECEIVE, input->data + done, input->length - done, false);
		done += taken;
	} while (taken > 0 && done < input->length);
}

const struct virtio_model virtio_console_model = {
	.name = "virtio console",
	.id = CONSOLE_ID,
	.class_code = 0x078000,
	.queue_sizes = { CONSOLE_QUEUE_SIZE, CONSOLE_QUEUE_SIZE },
	.features = virtio_no_features,
	.required = virtio_no_features,
	.reset = console_reset,
	.notify = console_notify,
	.config = virtio_no_config,
	.fits = console_fits,
	.input = console_input,
};
