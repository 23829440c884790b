#include "devices/device.h"

#include "base/crc.h"

#define CRC_SIZE sizeof(uint32_t)
#define SECTOR 512U

size_t device_input_size(const struct device_input *input)
{
	return DEVICE_INPUT_HEADER + (size_t)input->length;
}

static uint32_t input_crc(const uint8_t *bytes, size_t size)
{
	return crc_of(bytes + CRC_SIZE, size - CRC_SIZE);
}

void device_input_put(struct bytes_writer *writer, const struct device_input *input)
{
	size_t start = writer->used;

	invariant(input->length <= DEVICE_INPUT_MAX);
	bytes_put_u32(writer, 0);
	bytes_put_u32(writer, input->device);
	bytes_put_u32(writer, input->kind);
	bytes_put_u32(writer, input->epoch);
	bytes_put_u64(writer, input->id);
	bytes_put_u64(writer, input->offset);
	bytes_put_u32(writer, input->total);
	bytes_put_u32(writer, input->status);
	bytes_put_u32(writer, input->length);
	bytes_put_u32(writer, 0);
	bytes_put(writer, input->data, input->length);
	if (!writer->overflow)
		bytes_store_u32(writer->data + start, input_crc(writer->data + start, writer->used - start));
}

/* How long the piece of an answer is that starts at the input's offset. */
static uint64_t piece_at(const struct device_input *input)
{
	uint64_t left = input->total - input->offset;

	return left < DEVICE_INPUT_MAX ? left : DEVICE_INPUT_MAX;
}

/* Whether the fields are such as the kind has. */
static bool input_is_valid(const struct device_input *input)
{
	bool whole = input->offset == 0 && input->total == input->length;

	if (input->status != 0 && (input->length != 0 || input->kind == INPUT_NET || input->kind == INPUT_VCONSOLE))
		return false;
	switch (input->kind) {
	case INPUT_DISK_READ:
		return input->id != 0 && input->offset < input->total && input->offset % DEVICE_INPUT_MAX == 0 &&
		       (input->status != 0 || input->length == piece_at(input));
	case INPUT_DISK_DONE:
		return input->id != 0 && whole && input->length == 0;
	case INPUT_ENTROPY:
		return input->id != 0 && whole && (input->length > 0 || input->status != 0);
	case INPUT_NET:
		return input->id == 0 && whole && input->length > 0 && input->length <= DEVICE_FRAME_MAX;
	case INPUT_VCONSOLE:
		return input->id == 0 && whole && input->length > 0;
	default:
		return false;
	}
}

result device_input_get(struct bytes_reader *reader, struct device_input *input)
{
	const uint8_t *start = reader->data + reader->at;
	uint32_t crc = bytes_get_u32(reader);
	uint32_t zero;

	input->device = bytes_get_u32(reader);
	input->kind = bytes_get_u32(reader);
	input->epoch = bytes_get_u32(reader);
	input->id = bytes_get_u64(reader);
	input->offset = bytes_get_u64(reader);
	input->total = bytes_get_u32(reader);
	input->status = bytes_get_u32(reader);
	input->length = bytes_get_u32(reader);
	zero = bytes_get_u32(reader);
	if (reader->underflow || input->length > DEVICE_INPUT_MAX)
		return fail(STATUS_INPUT, "an input of a device is damaged or cut short");
	bytes_get(reader, input->data, input->length);
	if (reader->underflow || crc != input_crc(start, device_input_size(input)))
		return fail(STATUS_INPUT, "an input of a device is damaged or cut short");
	if (zero != 0 || !input_is_valid(input))
		return fail(STATUS_INPUT, "an input of device %u is of no known form", input->device);
	return OK;
}

void device_disk_put(struct bytes_writer *writer, const struct device_disk_request *request)
{
	bytes_put_u32(writer, request->device);
	bytes_put_u32(writer, request->op);
	bytes_put_u64(writer, request->id);
	bytes_put_u64(writer, request->offset);
	bytes_put_u64(writer, request->length);
	bytes_put_u64(writer, request->flags);
}

static bool disk_request_is_valid(const struct device_disk_request *request)
{
	if (request->id == 0 || request->offset % SECTOR != 0 || request->length % SECTOR != 0 ||
	    request->length > UINT64_MAX - request->offset)
		return false;
	switch (request->op) {
	case DEVICE_DISK_FLUSH:
		return request->offset == 0 && request->length == 0 && request->flags == 0;
	case DEVICE_DISK_WRITE:
	case DEVICE_DISK_DISCARD:
		return request->length > 0 && request->flags == 0;
	case DEVICE_DISK_WRITE_ZEROES:
		return request->length > 0 && (request->flags & ~DEVICE_DISK_UNMAP) == 0;
	default:
		return false;
	}
}

result device_disk_get(struct bytes_reader *reader, struct device_disk_request *request)
{
	request->device = bytes_get_u32(reader);
	request->op = bytes_get_u32(reader);
	request->id = bytes_get_u64(reader);
	request->offset = bytes_get_u64(reader);
	request->length = bytes_get_u64(reader);
	request->flags = bytes_get_u64(reader);
	if (reader->underflow)
		return fail(STATUS_INPUT, "a disk request is cut short");
	if (!disk_request_is_valid(request))
		return fail(STATUS_INPUT, "a disk request of device %u is of no known form", request->device);
	return OK;
}
