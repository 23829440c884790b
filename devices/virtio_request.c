#include "devices/virtio_request.h"

#include <string.h>

struct virtio_request *virtio_request_add(struct virtio_requests *requests,
					  const struct virtio_request *request)
{
	invariant(requests->count < VIRTIO_REQUESTS_MAX);

	struct virtio_request *added = &requests->list[requests->count++];

	*added = *request;
	added->id = ++requests->last_id;
	return added;
}

const struct virtio_request *virtio_request_find(const struct virtio_requests *requests, uint64_t id)
{
	for (unsigned i = 0; i < requests->count; i++)
		if (requests->list[i].id == id)
			return &requests->list[i];
	return NULL;
}

void virtio_request_remove(struct virtio_requests *requests, uint64_t id)
{
	const struct virtio_request *found = virtio_request_find(requests, id);

	invariant(found);

	size_t at = (size_t)(found - requests->list);

	requests->count--;
	memmove(&requests->list[at], &requests->list[at + 1],
		(requests->count - at) * sizeof(requests->list[0]));
}

void virtio_request_save(const struct virtio_requests *requests, struct bytes_writer *writer)
{
	bytes_put_u64(writer, requests->last_id);
	bytes_put_u32(writer, requests->count);
	for (unsigned i = 0; i < requests->count; i++) {
		const struct virtio_request *request = &requests->list[i];

		bytes_put_u64(writer, request->id);
		bytes_put_u64(writer, request->offset);
		bytes_put_u32(writer, request->length);
		bytes_put_u32(writer, request->done);
		bytes_put_u16(writer, request->head);
		bytes_put_u8(writer, request->kind);
	}
}

result virtio_request_load(struct virtio_requests *requests, struct bytes_reader *reader, uint8_t kinds)
{
	uint64_t last = 0;

	requests->last_id = bytes_get_u64(reader);
	requests->count = bytes_get_u32(reader);
	if (requests->count > VIRTIO_REQUESTS_MAX)
		return fail(STATUS_INPUT, "a virtio device's requests are too many");
	for (unsigned i = 0; i < requests->count; i++) {
		struct virtio_request *request = &requests->list[i];

		request->id = bytes_get_u64(reader);
		request->offset = bytes_get_u64(reader);
		request->length = bytes_get_u32(reader);
		request->done = bytes_get_u32(reader);
		request->head = bytes_get_u16(reader);
		request->kind = bytes_get_u8(reader);
		if (request->id <= last || request->id > requests->last_id || request->kind == 0 ||
		    request->kind > kinds || request->done > request->length)
			return fail(STATUS_INPUT, "a virtio device's requests are not valid");
		last = request->id;
	}
	return OK;
}
