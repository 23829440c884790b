/*
 * CRC-32 of bytes in memory: the polynomial of IEEE 802.3, as zlib and gzip use it (RFC 1952, chapter 8). It finds
 * damage by accident, not on purpose.
 */
#ifndef TERCET_BASE_CRC_H
#define TERCET_BASE_CRC_H

#include <stddef.h>
#include <stdint.h>

/* The CRC-32 of `size` bytes. */
uint32_t crc_of(const void *data, size_t size);

#endif
