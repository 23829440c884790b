/*
 * What virtio devices that send bytes as they come have in common (the network card and the console): chains that go
 * into an output stream, each as one record, and what comes from outside into the buffers of another queue.
 */
#ifndef TERCET_DEVICES_VIRTIO_STREAM_H
#define TERCET_DEVICES_VIRTIO_STREAM_H

#include "devices/virtio.h"

/* Their queues (5.1.2, 5.3.2). */
enum {
	VIRTIO_STREAM_RECEIVE = 0,
	VIRTIO_STREAM_SEND = 1,
};

/* Which chains are sent: those with more than `skip` and at most `skip + most` bytes to read, of which the first `skip`
 * are passed over. Others are dropped. */
struct virtio_stream {
	enum output_channel channel;
	uint32_t skip;
	uint32_t most; /* at most VIRTIO_DATA_MAX */
};

/* Sends a chain and gives it back. False: there is no room, and nothing was done. */
bool virtio_stream_send(struct virtio *virtio, const struct virtio_stream *stream,
			const struct virtqueue_chain *chain);

/* Whether an input of kind `kind` fits: while the driver has a buffer for it. It is never to wait: what nobody takes is
 * lost, as on a wire, so that it does not hold up what is behind it. */
enum device_input_fit virtio_stream_fits(const struct virtio *virtio, const struct device_input *input,
					 enum device_input_kind kind);

#endif
