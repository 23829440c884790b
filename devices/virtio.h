/*
 * What all virtio devices have in common, without the bus that they are on: status, features, queues, interrupts.
 * Source: Virtual I/O Device (VIRTIO) 1.2, chapters 2, 3 and 6.
 *
 * A device embeds struct virtio as its first member and describes itself by a struct virtio_model. No pointer leads
 * from a device into itself: it is copied to be loaded (see board_load).
 */
#ifndef TERCET_DEVICES_VIRTIO_H
#define TERCET_DEVICES_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/result.h"
#include "devices/device.h"
#include "devices/virtqueue.h"

/* Device status (2.1). */
enum {
	VIRTIO_ACKNOWLEDGE = 1,
	VIRTIO_DRIVER = 2,
	VIRTIO_DRIVER_OK = 4,
	VIRTIO_FEATURES_OK = 8,
	VIRTIO_NEEDS_RESET = 64,
	VIRTIO_FAILED = 128,
};

/* Interrupt status (4.1.4.5). */
enum {
	VIRTIO_INTERRUPT_QUEUE = 1,
	VIRTIO_INTERRUPT_CONFIG = 2,
};

/* Features of every device (6). */
#define VIRTIO_F_INDIRECT_DESC (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1 (UINT64_C(1) << 32)

enum {
	VIRTIO_QUEUES_MAX = 2,
	VIRTIO_DATA_MAX = 128 * 1024,                 /* bytes of data in one request */
	VIRTIO_SCRATCH_SIZE = VIRTIO_DATA_MAX + 64,   /* data, and its header in a stream */
};

struct virtio;

struct virtio_model {
	const char *name;
	uint16_t id;     /* device ID (5) */
	uint32_t class_code; /* PCI's: class, subclass, interface */
	uint16_t queue_sizes[VIRTIO_QUEUES_MAX]; /* the largest of each queue; 0: there is no such queue */
	/* The features offered besides those of every device, and those without which a driver is refused. */
	uint64_t (*features)(const struct virtio *virtio);
	uint64_t (*required)(const struct virtio *virtio);
	/* Forgets what the driver asked for. */
	void (*reset)(struct virtio *virtio);
	/* There may be chains in a queue; the device is running. Called, too, when there may be room for output. */
	void (*notify)(struct virtio *virtio, unsigned queue);
	/* A byte of the device's configuration; 0 behind its end. */
	uint8_t (*config)(const struct virtio *virtio, unsigned offset);
	enum device_input_fit (*fits)(const struct virtio *virtio, const struct device_input *input);
	void (*input)(struct virtio *virtio, const struct device_input *input);
	/* NULL for a device that fetches nothing. */
	void (*fetch_again)(const struct virtio *virtio);
	/* What the device has besides struct virtio; NULL for nothing. */
	void (*save)(const struct virtio *virtio, struct bytes_writer *writer);
	must_check result (*load)(struct virtio *virtio, struct bytes_reader *reader);
};

struct virtio {
	const struct virtio_model *model;
	const struct device_board *board;
	uint8_t *scratch; /* VIRTIO_SCRATCH_SIZE bytes, for use during one call */
	uint32_t index;   /* the device's number in inputs, fetches and streams */
	/* State: */
	uint64_t features; /* what the driver accepted */
	uint8_t status;
	uint8_t interrupts; /* pending; the line is high unless it is 0 */
	struct virtqueue queues[VIRTIO_QUEUES_MAX];
};

/* To be called once, on zeroed memory. `scratch` may be shared by devices. */
void virtio_init(struct virtio *virtio, const struct virtio_model *model, const struct device_board *board,
		 uint32_t index, uint8_t *scratch);

/* Brings the device back to where it was after power-on. */
void virtio_reset(struct virtio *virtio);

/* The features that the device offers. */
uint64_t virtio_offered(const struct virtio *virtio);

/* The driver writes the features it accepts; the low (half 0) or high 32 bits. Not heard after FEATURES_OK. */
void virtio_accept(struct virtio *virtio, unsigned half, uint32_t value);

/* The driver writes the status register. */
void virtio_set_status(struct virtio *virtio, uint8_t value);

/* The driver enables a queue that it has set up. */
void virtio_enable(struct virtio *virtio, unsigned queue);

/* The driver says that there is something in a queue. */
void virtio_notify(struct virtio *virtio, unsigned queue);

/* Whether the driver is ready, and did nothing that it must not do. */
bool virtio_is_running(const struct virtio *virtio);

/* For devices: the driver did what it must not do. */
void virtio_break(struct virtio *virtio);

/* For devices: hands each available chain to `take`, until one is left for later (false). */
void virtio_take(struct virtio *virtio, unsigned queue,
		 bool (*take)(struct virtio *virtio, const struct virtqueue_chain *chain));

/* For devices: gives a chain back. */
void virtio_give_back(struct virtio *virtio, unsigned queue, uint16_t head, uint32_t written);

/* For devices: whether there is a buffer for what comes from outside. */
bool virtio_can_receive(const struct virtio *virtio, unsigned queue);

/* For devices: gives the driver the first available buffer with as much of `data` in it as goes in, and returns how
 * much that was. 0: there was no buffer, or (with `whole`) not all of the data goes in, and the buffer stays. */
size_t virtio_receive(struct virtio *virtio, unsigned queue, const void *data, size_t length, bool whole);

/* For devices without features to require, and those without a configuration. */
uint64_t virtio_no_features(const struct virtio *virtio);
uint8_t virtio_no_config(const struct virtio *virtio, unsigned offset);

/* All state, and that of the device behind it. Errors: bytes that virtio_save did not write. */
void virtio_save(const struct virtio *virtio, struct bytes_writer *writer);
must_check result virtio_load(struct virtio *virtio, struct bytes_reader *reader);

#endif
