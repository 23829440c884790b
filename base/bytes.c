#include "base/bytes.h"

#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tercet's byte formats are little-endian and so is the only machine it runs on"
#endif

struct bytes_writer bytes_writer_over(void *data, size_t size)
{
	return (struct bytes_writer){ .data = data, .size = size };
}

void bytes_put(struct bytes_writer *writer, const void *data, size_t length)
{
	if (writer->overflow || writer->size - writer->used < length) {
		writer->overflow = true;
		return;
	}
	if (length > 0)
		memcpy(writer->data + writer->used, data, length);
	writer->used += length;
}

void bytes_put_u8(struct bytes_writer *writer, uint8_t value)
{
	bytes_put(writer, &value, sizeof(value));
}

void bytes_put_u16(struct bytes_writer *writer, uint16_t value)
{
	bytes_put(writer, &value, sizeof(value));
}

void bytes_put_u32(struct bytes_writer *writer, uint32_t value)
{
	bytes_put(writer, &value, sizeof(value));
}

void bytes_put_u64(struct bytes_writer *writer, uint64_t value)
{
	bytes_put(writer, &value, sizeof(value));
}

void bytes_put_bool(struct bytes_writer *writer, bool value)
{
	bytes_put_u8(writer, value ? 1 : 0);
}

struct bytes_reader bytes_reader_over(const void *data, size_t size)
{
	return (struct bytes_reader){ .data = data, .size = size };
}

void bytes_get(struct bytes_reader *reader, void *data, size_t length)
{
	if (reader->underflow || reader->size - reader->at < length) {
		reader->underflow = true;
		if (length > 0)
			memset(data, 0, length);
		return;
	}
	if (length > 0)
		memcpy(data, reader->data + reader->at, length);
	reader->at += length;
}

uint8_t bytes_get_u8(struct bytes_reader *reader)
{
	uint8_t value;

	bytes_get(reader, &value, sizeof(value));
	return value;
}

uint16_t bytes_get_u16(struct bytes_reader *reader)
{
	uint16_t value;

	bytes_get(reader, &value, sizeof(value));
	return value;
}

uint32_t bytes_get_u32(struct bytes_reader *reader)
{
	uint32_t value;

	bytes_get(reader, &value, sizeof(value));
	return value;
}

uint64_t bytes_get_u64(struct bytes_reader *reader)
{
	uint64_t value;

	bytes_get(reader, &value, sizeof(value));
	return value;
}

bool bytes_get_bool(struct bytes_reader *reader)
{
	uint8_t value = bytes_get_u8(reader);

	if (value > 1)
		reader->underflow = true;
	return value == 1;
}

uint16_t bytes_load_u16(const void *data)
{
	uint16_t value;

	memcpy(&value, data, sizeof(value));
	return value;
}

uint32_t bytes_load_u32(const void *data)
{
	uint32_t value;

	memcpy(&value, data, sizeof(value));
	return value;
}

uint64_t bytes_load_u64(const void *data)
{
	uint64_t value;

	memcpy(&value, data, sizeof(value));
	return value;
}

void bytes_store_u16(void *data, uint16_t value)
{
	memcpy(data, &value, sizeof(value));
}

void bytes_store_u32(void *data, uint32_t value)
{
	memcpy(data, &value, sizeof(value));
}

void bytes_store_u64(void *data, uint64_t value)
{
	memcpy(data, &value, sizeof(value));
}
