/*
 * Requests that a virtio device took from its queue and that the outside has not answered: by an id that no other
 * request of the device has, ever. In the order in which they were made.
 */
#ifndef TERCET_DEVICES_VIRTIO_REQUEST_H
#define TERCET_DEVICES_VIRTIO_REQUEST_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/result.h"

enum { VIRTIO_REQUESTS_MAX = 64 };

struct virtio_request {
	uint64_t id;
	uint64_t offset; /* of the fetch that it is, if it is one, with its length */
	uint32_t length;
	uint32_t done; /* bytes of it that have arrived */
	uint16_t head; /* of its chain */
	uint8_t kind;  /* the device's own numbering, from 1 */
};

struct virtio_requests {
	uint64_t last_id;
	unsigned count;
	struct virtio_request list[VIRTIO_REQUESTS_MAX];
};

/* Adds a request, for which there must be room, and returns it with its id. */
struct virtio_request *virtio_request_add(struct virtio_requests *requests, const struct virtio_request *request);

/* The request with an id, or NULL. */
const struct virtio_request *virtio_request_find(const struct virtio_requests *requests, uint64_t id);

/* Forgets the request with an id, which must be there. */
void virtio_request_remove(struct virtio_requests *requests, uint64_t id);

/* `kinds`: the largest kind that the device knows. */
void virtio_request_save(const struct virtio_requests *requests, struct bytes_writer *writer);
must_check result virtio_request_load(struct virtio_requests *requests, struct bytes_reader *reader, uint8_t kinds);

#endif
