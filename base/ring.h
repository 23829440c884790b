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

/* Copies into the ring, around its end. `length` is at most the ring's size. */
static inline void ring_put(const struct ring *ring, uint64_t offset, const void *data, uint64_t length)
{
	uint64_t at = offset & (ring->size - 1);
	uint64_t first = length < ring->size - at ? length : ring->size - at;

	memcpy(ring->data + at, data, first);
	memcpy(ring->data, (const uint8_t *)data + first, length - first);
}

/* The reverse, for a ring of `size` bytes that can only be read. */
static inline void ring_read(const uint8_t *ring, uint64_t size, uint64_t offset, void *data, uint64_t length)
{
	uint64_t at = offset & (size - 1);
	uint64_t first = length < size - at ? length : size - at;

	memcpy(data, ring + at, first);
	memcpy((uint8_t *)data + first, ring, length - first);
}

/* The same for one that can be written, too. */
static inline void ring_get(const struct ring *ring, uint64_t offset, void *data, uint64_t length)
{
	ring_read(ring->data, ring->size, offset, data, length);
}

#endif
