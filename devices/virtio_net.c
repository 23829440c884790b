#include "devices/virtio_net.h"

#include <string.h>

#include "devices/virtio_stream.h"

#define NET_ID 1U
#define NET_QUEUE_SIZE 128U
#define F_MAC (UINT64_C(1) << 5)
#define F_STATUS (UINT64_C(1) << 16)
#define LINK_UP 1U

#define HEADER_SIZE 12U   /* struct virtio_net_hdr (5.1.6) */
#define HEADER_BUFFERS 10U /* its num_buffers */

static const struct virtio_stream net_stream = {
	.channel = OUTPUT_NET,
	.skip = HEADER_SIZE,
	.most = DEVICE_FRAME_MAX,
};

static uint64_t net_features(const struct virtio *virtio)
{
	(void)virtio;
	return F_MAC | F_STATUS;
}

static bool net_send(struct virtio *virtio, const struct virtqueue_chain *chain)
{
	return virtio_stream_send(virtio, &net_stream, chain);
}

static void net_notify(struct virtio *virtio, unsigned queue)
{
	if (queue == VIRTIO_STREAM_SEND)
		virtio_take(virtio, VIRTIO_STREAM_SEND, net_send);
}

static void net_reset(struct virtio *virtio)
{
	(void)virtio;
}

static uint8_t net_config(const struct virtio *virtio, unsigned offset)
{
	const struct virtio_net *net = (const struct virtio_net *)virtio;

	if (offset < VIRTIO_NET_MAC)
		return net->mac[offset];
	return offset == VIRTIO_NET_MAC ? LINK_UP : 0;
}

static enum device_input_fit net_fits(const struct virtio *virtio, const struct device_input *input)
{
	return virtio_stream_fits(virtio, input, INPUT_NET);
}

static void net_input(struct virtio *virtio, const struct device_input *input)
{
	uint8_t *packet = virtio->scratch;

	memset(packet, 0, HEADER_SIZE);
	bytes_store_u16(packet + HEADER_BUFFERS, 1);
	memcpy(packet + HEADER_SIZE, input->data, input->length);
	(void)virtio_receive(virtio, VIRTIO_STREAM_RECEIVE, packet, HEADER_SIZE + (size_t)input->length, true);
}

void virtio_net_init(struct virtio_net *net, const uint8_t *mac)
{
	memcpy(net->mac, mac, sizeof(net->mac));
}

const struct virtio_model virtio_net_model = {
	.name = "virtio network card",
	.id = NET_ID,
	.class_code = 0x020000,
	.queue_sizes = { NET_QUEUE_SIZE, NET_QUEUE_SIZE },
	.features = net_features,
	.required = virtio_no_features,
	.reset = net_reset,
	.notify = net_notify,
	.config = net_config,
	.fits = net_fits,
	.input = net_input,
};
