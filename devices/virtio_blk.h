/*
 * A virtio disk. Source: Virtual I/O Device (VIRTIO) 1.2, chapter 5.2.
 *
 * Reads are fetched from outside at once and written to the guest's memory piece by piece as they arrive. Writes,
 * flushes, discards and zeroes are taken down when the driver notifies, data and all, and go into the stream of
 * OUTPUT_DISK; the driver hears of them when the outside has done them. A request whose form is wrong is failed;
 * a chain that is no request breaks the device.
 */
#ifndef TERCET_DEVICES_VIRTIO_BLK_H
#define TERCET_DEVICES_VIRTIO_BLK_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/virtio.h"
#include "devices/virtio_request.h"

enum {
	VIRTIO_BLK_ID = 2,
	VIRTIO_BLK_SECTOR = 512,
	VIRTIO_BLK_SERIAL = 20, /* bytes */
	VIRTIO_BLK_SEGMENT_MAX = 4096,
	VIRTIO_BLK_SEGMENTS = 30,
	VIRTIO_BLK_DISCARD_MAX = 1 << 22, /* sectors in one request: 2 GiB */
};

struct virtio_blk {
	struct virtio virtio;
	uint64_t size; /* bytes */
	bool read_only;
	uint8_t serial[VIRTIO_BLK_SERIAL];
	/* State: */
	struct virtio_requests requests;
	unsigned orphans; /* of the requests: of before a reset, with effects outside that are not done */
};

extern const struct virtio_model virtio_blk_model;

/* To be called once, behind virtio_init. `size` is a multiple of 512; `serial` has VIRTIO_BLK_SERIAL bytes. */
void virtio_blk_init(struct virtio_blk *blk, uint64_t size, bool read_only, const void *serial);

#endif
