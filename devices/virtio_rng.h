/*
 * A virtio entropy device. Source: Virtual I/O Device (VIRTIO) 1.2, chapter 5.4. What it gives is fetched from outside:
 * up to DEVICE_INPUT_MAX bytes a buffer. When the outside has none, the buffer comes back empty.
 */
#ifndef TERCET_DEVICES_VIRTIO_RNG_H
#define TERCET_DEVICES_VIRTIO_RNG_H

#include "devices/virtio.h"
#include "devices/virtio_request.h"

struct virtio_rng {
	struct virtio virtio;
	struct virtio_requests requests;
};

extern const struct virtio_model virtio_rng_model;

#endif
