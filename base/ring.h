/*
 * A ring of bytes addressed by offsets that only grow: offset modulo size is the place. Who may write and how
 * much is valid is the owner's business.
 */
#ifndef TERCET_BASE_RING_H
#define TERCET_BASE_RING_H

#include <stdint.h>
#include <string.h>

struct ring {
	uint8_t *data;
	uint64_t size; /* a power of two */
};

/* Copies into or out of the ring, around its end. `length` is at most the ring's size. */
static inline void ring_put(const struct ring *ring, uint64_t offset, const void *data, uint64_t length)
{
	uint64_t at = offset & (ring->size - 1);
	uint64_t first = length < ring->size - at ? length : ring->size - at;

	memcpy(ring->data + at, data, first);
	memcpy(ring->data, (const uint8_t *)data + first, length - first);
}

static inline void ring_get(const struct ring *ring, uint64_t offset, void *data, uint64_t length)
{
	uint64_t at = offset & (ring->size - 1);
	uint64_t first = length < ring->size - at ? length : ring->size - at;

	memcpy(data, ring->data + at, first);
	memcpy((uint8_t *)data + first, ring->data, length - first);
}

#endif
