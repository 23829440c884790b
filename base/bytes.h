/*
 * Checked little-endian writers and readers: the one way in which state is turned into bytes and back.
 * Both remember that they went past their end, so a sequence of calls needs one check at its end.
 */
#ifndef TERCET_BASE_BYTES_H
#define TERCET_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes_writer {
	uint8_t *data;
	size_t size;
	size_t used;
	bool overflow; /* something did not fit; `used` no longer grows */
};

struct bytes_reader {
	const uint8_t *data;
	size_t size;
	size_t at;
	bool underflow; /* something was missing; every later read gives 0 */
};

struct bytes_writer bytes_writer_over(void *data, size_t size);
void bytes_put_u8(struct bytes_writer *writer, uint8_t value);
void bytes_put_u16(struct bytes_writer *writer, uint16_t value);
void bytes_put_u32(struct bytes_writer *writer, uint32_t value);
void bytes_put_u64(struct bytes_writer *writer, uint64_t value);
void bytes_put_bool(struct bytes_writer *writer, bool value);
void bytes_put(struct bytes_writer *writer, const void *data, size_t length);

struct bytes_reader bytes_reader_over(const void *data, size_t size);
uint8_t bytes_get_u8(struct bytes_reader *reader);
uint16_t bytes_get_u16(struct bytes_reader *reader);
uint32_t bytes_get_u32(struct bytes_reader *reader);
uint64_t bytes_get_u64(struct bytes_reader *reader);
/* Anything but 0 and 1 counts as an underflow: it was not written by bytes_put_bool. */
bool bytes_get_bool(struct bytes_reader *reader);
/* Copies `length` bytes, or zeros on underflow. */
void bytes_get(struct bytes_reader *reader, void *data, size_t length);

/* Unaligned little-endian accesses to memory that was checked before. */
uint16_t bytes_load_u16(const void *data);
uint32_t bytes_load_u32(const void *data);
uint64_t bytes_load_u64(const void *data);
void bytes_store_u16(void *data, uint16_t value);
void bytes_store_u32(void *data, uint32_t value);
void bytes_store_u64(void *data, uint64_t value);

#endif
