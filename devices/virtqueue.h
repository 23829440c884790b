/*
 * The device's side of a split virtqueue: what the driver made available, chains of descriptors, and what was used.
 * Source: Virtual I/O Device (VIRTIO) 1.2, chapter 2.7.
 *
 * Everything here is the guest's: each index, address and length is read once, checked and then used. A function that
 * returns false found what no driver may do (or memory that is not there); the device is then in need of a reset.
 * How much the guest can make a call do is bounded by the queue's size.
 */
#ifndef TERCET_DEVICES_VIRTQUEUE_H
#define TERCET_DEVICES_VIRTQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/result.h"
#include "devices/device.h"

enum {
	VIRTQUEUE_SIZE_MAX = 128, /* descriptors, and segments of one chain */
	VIRTQUEUE_DESCRIPTOR = 16,
};

struct virtqueue {
	uint16_t max; /* the largest size that the device takes: a power of two; not state */
	uint16_t size;
	bool enabled;
	bool event_index; /* VIRTIO_F_EVENT_IDX was negotiated */
	uint64_t descriptors, available, used; /* guest-physical addresses of the three parts */
	uint16_t taken;                        /* available entries that the device took, modulo 2^16 */
	uint16_t done;                         /* the used ring's index */
};

struct virtqueue_segment {
	uint64_t address;
	uint32_t length;
};

/* A chain's buffers: first those that the device reads, then those that it writes. */
struct virtqueue_chain {
	uint16_t head;
	unsigned readable; /* segments */
	unsigned writable;
	uint64_t readable_bytes;
	uint64_t writable_bytes;
	struct virtqueue_segment segments[VIRTQUEUE_SIZE_MAX];
};

/* A queue as after a reset of its device. */
void virtqueue_reset(struct virtqueue *queue);

/* Whether size and addresses are such that the queue can be enabled (alignments: table 2.7). */
bool virtqueue_is_valid(const struct virtqueue *queue);

/* How many chains are available. */
bool virtqueue_available(const struct virtqueue *queue, const struct device_board *board, unsigned *count);

/* The first available chain, of which there is one. It stays available until it is taken. */
bool virtqueue_peek(const struct virtqueue *queue, const struct device_board *board, struct virtqueue_chain *chain);
void virtqueue_take(struct virtqueue *queue);

/* The chain that starts at descriptor `head`. */
bool virtqueue_walk(const struct virtqueue *queue, const struct device_board *board, uint16_t head,
		    struct virtqueue_chain *chain);

/* Bytes from `offset` on of what the chain lets the device read, or write. */
bool virtqueue_read(const struct virtqueue_chain *chain, const struct device_board *board, uint64_t offset,
		    void *data, size_t length);
bool virtqueue_write(const struct virtqueue_chain *chain, const struct device_board *board, uint64_t offset,
		     const void *data, size_t length);

/* Gives a chain back, with the number of bytes written to it; `*interrupt` becomes true if the driver wants to be
 * told. */
bool virtqueue_give_back(struct virtqueue *queue, const struct device_board *board, uint16_t head, uint32_t written,
			 bool *interrupt);

/* Asks to be notified of the next chain. */
bool virtqueue_ask(const struct virtqueue *queue, const struct device_board *board);

/* All state. Errors: an enabled queue that is not valid. */
void virtqueue_save(const struct virtqueue *queue, struct bytes_writer *writer);
must_check result virtqueue_load(struct virtqueue *queue, struct bytes_reader *reader);

#endif
