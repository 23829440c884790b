#include "devices/virtio_stream.h"

bool virtio_stream_send(struct virtio *virtio, const struct virtio_stream *stream,
			const struct virtqueue_chain *chain)
{
	const struct device_board *board = virtio->board;
	uint64_t length = chain->readable_bytes;
	size_t record;

	if (length > stream->skip && length - stream->skip <= stream->most) {
		length -= stream->skip;
		record = DEVICE_STREAM_HEADER + (size_t)length;
		if (board->output_room(board->context) < record)
			return false;
		bytes_store_u32(virtio->scratch, virtio->index);
		bytes_store_u32(virtio->scratch + sizeof(uint32_t), (uint32_t)length);
		if (!virtqueue_read(chain, board, stream->skip, virtio->scratch + DEVICE_STREAM_HEADER,
				    (size_t)length)) {
			virtio_break(virtio);
			return true;
		}
		board->output(board->context, stream->channel, virtio->scratch, record);
	}
	virtio_give_back(virtio, VIRTIO_STREAM_SEND, chain->head, 0);
	return true;
}

enum device_input_fit virtio_stream_fits(const struct virtio *virtio, const struct device_input *input,
					 enum device_input_kind kind)
{
	return input->kind == (uint32_t)kind && virtio_can_receive(virtio, VIRTIO_STREAM_RECEIVE) ? DEVICE_INPUT_FITS
												: DEVICE_INPUT_NEVER;
}
