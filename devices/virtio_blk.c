#include "devices/virtio_blk.h"

#include <string.h>

#define BLK_QUEUE 0U
#define BLK_QUEUE_SIZE 64U

#define F_SIZE_MAX (UINT64_C(1) << 1)
#define F_SEG_MAX (UINT64_C(1) << 2)
#define F_RO (UINT64_C(1) << 5)
#define F_BLK_SIZE (UINT64_C(1) << 6)
#define F_FLUSH (UINT64_C(1) << 9)
#define F_DISCARD (UINT64_C(1) << 13)
#define F_WRITE_ZEROES (UINT64_C(1) << 14)

enum request_type {
	TYPE_IN = 0,
	TYPE_OUT = 1,
	TYPE_FLUSH = 4,
	TYPE_GET_ID = 8,
	TYPE_DISCARD = 11,
	TYPE_WRITE_ZEROES = 13,
};

enum {
	HEADER_SIZE = 16, /* type u32, reserved u32, sector u64 */
	STATUS_SIZE = 1,
	RANGE_SIZE = 16, /* of a discard: sector u64, sectors u32, flags u32 */
	RANGE_UNMAP = 1,
};

enum request_status {
	DONE_OK = 0,
	DONE_IO_ERROR = 1,
	DONE_UNSUPPORTED = 2,
};

/* struct virtio_request's kinds */
enum {
	KIND_READ = 1,
	KIND_OUTPUT = 2,
	KIND_ORPHAN = 3,
};

/* A request as the chain has it. */
struct command {
	const struct virtqueue_chain *chain;
	uint32_t type;
	uint64_t sector;
	uint64_t in;  /* bytes of data that the driver wants */
	uint64_t out; /* bytes of data that it gives */
};

static struct virtio_blk *blk_of(struct virtio *virtio)
{
	return (struct virtio_blk *)virtio;
}

static const struct virtio_blk *const_blk_of(const struct virtio *virtio)
{
	return (const struct virtio_blk *)virtio;
}

static uint64_t blk_features(const struct virtio *virtio)
{
	uint64_t features = F_SIZE_MAX | F_SEG_MAX | F_BLK_SIZE;

	if (const_blk_of(virtio)->read_only)
		return features | F_RO;
	return features | F_FLUSH | F_DISCARD | F_WRITE_ZEROES;
}

/* A driver that cannot flush would have to be given a disk that writes through. */
static uint64_t blk_required(const struct virtio *virtio)
{
	return const_blk_of(virtio)->read_only ? 0 : F_FLUSH;
}

/* Gives a chain back, whose last byte for the device is the status. */
static void answer(struct virtio *virtio, const struct virtqueue_chain *chain, enum request_status status,
		   uint64_t written)
{
	uint8_t byte = (uint8_t)status;

	if (chain->writable_bytes < STATUS_SIZE ||
	    !virtqueue_write(chain, virtio->board, chain->writable_bytes - STATUS_SIZE, &byte, sizeof(byte)))
		virtio_break(virtio);
	else
		virtio_give_back(virtio, BLK_QUEUE, chain->head, (uint32_t)(written + STATUS_SIZE));
}

/* Whether some bytes of data lie on the disk, and are as many as a request may have. */
static bool is_on_disk(const struct virtio_blk *blk, uint64_t sector, uint64_t length)
{
	return length > 0 && length % VIRTIO_BLK_SECTOR == 0 && length <= blk->size &&
	       sector <= (blk->size - length) / VIRTIO_BLK_SECTOR;
}

/* Asks for what a read wants, for the first time or again. */
static void fetch(const struct virtio *virtio, const struct virtio_request *request)
{
	const struct device_fetch wanted = {
		.device = virtio->index,
		.kind = FETCH_DISK,
		.id = request->id,
		.offset = request->offset,
		.length = request->length,
	};

	virtio->board->fetch(virtio->board->context, &wanted);
}

static bool start_read(struct virtio_blk *blk, const struct command *command)
{
	struct virtio *virtio = &blk->virtio;

	if (command->in > VIRTIO_DATA_MAX || !is_on_disk(blk, command->sector, command->in)) {
		answer(virtio, command->chain, DONE_IO_ERROR, 0);
		return true;
	}
	const struct virtio_request wanted = {
		.kind = KIND_READ,
		.head = command->chain->head,
		.offset = command->sector * VIRTIO_BLK_SECTOR,
		.length = (uint32_t)command->in,
	};

	fetch(virtio, virtio_request_add(&blk->requests, &wanted));
	return true;
}

/* Puts a request into the stream,
	with `data` bytes that stand in the scratch area behind its header. False: there is
 * no room, and nothing was done. */
static bool output(struct virtio_blk *blk, const struct command *command, struct device_disk_request *request,
		   size_t data)
{
	struct virtio *virtio = &blk->virtio;
	const struct virtio_request wanted = { .kind = KIND_OUTPUT, .head = command->chain->head };
	struct bytes_writer writer = bytes_writer_over(virtio->scratch, DEVICE_DISK_HEADER);

	if (virtio->board->output_room(virtio->board->context) < DEVICE_DISK_HEADER + data)
		return false;
	request->device = virtio->index;
	request->id = virtio_request_add(&blk->requests, &wanted)->id;
	device_disk_put(&writer, request);
	invariant(!writer.overflow);
	virtio->board->output(virtio->board->context, OUTPUT_DISK, virtio->scratch,
			      DEVICE_DISK_HEADER + data);
	return true;
}

static bool start_write(struct virtio_blk *blk, const struct command *command)
{
	struct virtio *virtio = &blk->virtio;
	struct device_disk_request request = {
		.op = DEVICE_DISK_WRITE,
		.offset = command->sector * VIRTIO_BLK_SECTOR,
		.length = command->out,
	};

	if (blk->read_only || command->out > VIRTIO_DATA_MAX || !is_on_disk(blk, command->sector,
									    command->out)) {
		answer(virtio, command->chain, DONE_IO_ERROR, 0);
		return true;
	}
	if (!virtqueue_read(command->chain, virtio->board, HEADER_SIZE, virtio->scratch + DEVICE_DISK_HEADER,
			    (size_t)command->out)) {
		virtio_break(virtio);
		return true;
	}
	return output(blk, command, &request, (size_t)command->out);
}

static bool start_flush(struct virtio_blk *blk, const struct command *command)
{
	struct device_disk_request request = { .op = DEVICE_DISK_FLUSH };

	if (!blk->read_only)
		return output(blk, command, &request, 0);
	answer(&blk->virtio, command->chain, DONE_OK, 0);
	return true;
}

static bool start_range(struct virtio_blk *blk, const struct command *command)
{
	struct virtio *virtio = &blk->virtio;
	bool zeroes = command->type == TYPE_WRITE_ZEROES;
	struct device_disk_request request = { .op = zeroes ? DEVICE_DISK_WRITE_ZEROES : DEVICE_DISK_DISCARD };
	uint8_t range[RANGE_SIZE];

	if (blk->read_only || command->out != RANGE_SIZE) {
		answer(virtio, command->chain, DONE_IO_ERROR, 0);
		return true;
	}
	if (!virtqueue_read(command->chain, virtio->board, HEADER_SIZE, range, sizeof(range))) {
		virtio_break(virtio);
		return true;
	}
	uint64_t sector = bytes_load_u64(range);
	uint32_t sectors = bytes_load_u32(range + 8);
	uint32_t flags = bytes_load_u32(range + 12);

	if ((flags & ~(uint32_t)RANGE_UNMAP) || (flags && !zeroes)) {
		answer(virtio, command->chain, DONE_UNSUPPORTED, 0);
		return true;
	}
	request.length = (uint64_t)sectors * VIRTIO_BLK_SECTOR;
	if (sectors > VIRTIO_BLK_DISCARD_MAX || !is_on_disk(blk, sector, request.length)) {
		answer(virtio, command->chain, DONE_IO_ERROR, 0);
		return true;
	}
	request.offset = sector * VIRTIO_BLK_SECTOR;
	request.flags = flags ? DEVICE_DISK_UNMAP : 0;
	return output(blk, command, &request, 0);
}

static bool tell_serial(struct virtio_blk *blk, const struct command *command)
{
	size_t length = command->in < VIRTIO_BLK_SERIAL ? (size_t)command->in : VIRTIO_BLK_SERIAL;

	if (!virtqueue_write(command->chain, blk->virtio.board, 0, blk->serial, length))
		virtio_break(&blk->virtio);
	else
		answer(&blk->virtio, command->chain, DONE_OK, length);
	return true;
}

static bool blk_start(struct virtio *virtio, const struct virtqueue_chain *chain)
{
	struct virtio_blk *blk = blk_of(virtio);
	uint8_t header[HEADER_SIZE];
	struct command command = { .chain = chain };

	/* What was written before a reset comes before what is read behind it. */
	if (blk->orphans > 0 || blk->requests.count == VIRTIO_REQUESTS_MAX)
		return false;
	if (chain->readable_bytes < HEADER_SIZE || chain->writable_bytes < STATUS_SIZE ||
	    !virtqueue_read(chain, virtio->board, 0, header, sizeof(header))) {
		virtio_break(virtio);
		return true;
	}
	command.type = bytes_load_u32(header);
	command.sector = bytes_load_u64(header + 8);
	command.out = chain->readable_bytes - HEADER_SIZE;
	command.in = chain->writable_bytes - STATUS_SIZE;
	switch (command.type) {
	case TYPE_IN:
		return start_read(blk, &command);
	case TYPE_OUT:
		return start_write(blk, &command);
	case TYPE_FLUSH:
		return start_flush(blk, &command);
	case TYPE_GET_ID:
		return tell_serial(blk, &command);
	case TYPE_DISCARD:
	case TYPE_WRITE_ZEROES:
		return start_range(blk, &command);
	default:
		answer(virtio, chain, DONE_UNSUPPORTED, 0);
		return true;
	}
}

static void blk_notify(struct virtio *virtio, unsigned queue)
{
	(void)queue;
	virtio_take(virtio, BLK_QUEUE, blk_start);
}

/* Reads are forgotten. What has effects outside is waited for. */
static void blk_reset(struct virtio *virtio)
{
	struct virtio_blk *blk = blk_of(virtio);
	unsigned kept = 0;

	for (unsigned i = 0; i < blk->requests.count; i++) {
		if (blk->requests.list[i].kind == KIND_READ)
			continue;
		blk->requests.list[kept] = blk->requests.list[i];
		blk->requests.list[kept++].kind = KIND_ORPHAN;
	}
	blk->requests.count = kept;
	blk->orphans = kept;
}

static uint8_t blk_config(const struct virtio *virtio, unsigned offset)
{
	const struct virtio_blk *blk = const_blk_of(virtio);
	uint8_t bytes[60] = { 0 };

	bytes_store_u64(bytes, blk->size / VIRTIO_BLK_SECTOR);
	bytes_store_u32(bytes + 8, VIRTIO_BLK_SEGMENT_MAX);
	bytes_store_u32(bytes + 12, VIRTIO_BLK_SEGMENTS);
	bytes_store_u32(bytes + 20, VIRTIO_BLK_SECTOR);
	if (!blk->read_only) {
		bytes_store_u32(bytes + 36, VIRTIO_BLK_DISCARD_MAX);
		bytes_store_u32(bytes + 40, 1); /* ranges in a request */
		bytes_store_u32(bytes + 44, 1); /* sectors: the alignment of discards */
		bytes_store_u32(bytes + 48, VIRTIO_BLK_DISCARD_MAX);
		bytes_store_u32(bytes + 52, 1);
		bytes[56] = 1; /* zeroes may be unmapped */
	}
	return offset < sizeof(bytes) ? bytes[offset] : 0;
}

static enum device_input_fit blk_fits(const struct virtio *virtio, const struct device_input *input)
{
	const struct virtio_request *request = virtio_request_find(&const_blk_of(virtio)->requests,
								   input->id);
	bool fits = false;

	if (request && input->kind == INPUT_DISK_READ)
		fits = request->kind == KIND_READ && virtio_is_running(virtio) &&
		       input->total == request->length && input->offset == request->done;
	else if (request && input->kind == INPUT_DISK_DONE)
		fits = request->kind != KIND_READ;
	return fits ? DEVICE_INPUT_FITS : DEVICE_INPUT_NEVER;
}

/* Answers a request and forgets it. Its chain was looked at when it was taken, and is looked at anew. */
static void finish(struct virtio_blk *blk, uint64_t id, enum request_status status, uint32_t written)
{
	const struct virtio_request *request = virtio_request_find(&blk->requests, id);
	struct virtio *virtio = &blk->virtio;
	struct virtqueue_chain chain;
	uint16_t head = request->head;

	virtio_request_remove(&blk->requests, id);
	if (!virtio_is_running(virtio))
		return;
	if (virtqueue_walk(&virtio->queues[BLK_QUEUE], virtio->board, head, &chain))
		answer(virtio, &chain, status, written);
	else
		virtio_break(virtio);
}

static void take_data(struct virtio_blk *blk, const struct device_input *input)
{
	struct virtio *virtio = &blk->virtio;
	struct virtio_request *request =
		&blk->requests.list[virtio_request_find(&blk->requests, input->id) - blk->requests.list];
	struct virtqueue_chain chain;

	if (input->status != 0) {
		finish(blk, input->id, DONE_IO_ERROR, 0);
		return;
	}
	if (!virtqueue_walk(&virtio->queues[BLK_QUEUE], virtio->board, request->head, &chain) ||
	    chain.writable_bytes != (uint64_t)request->length + STATUS_SIZE ||
	    !virtqueue_write(&chain, virtio->board, request->done, input->data, input->length)) {
		virtio_break(virtio);
		return;
	}
	request->done += input->length;
	if (request->done == request->length)
		finish(blk, input->id, DONE_OK, request->length);
}

static void blk_input(struct virtio *virtio, const struct device_input *input)
{
	struct virtio_blk *blk = blk_of(virtio);

	if (input->kind == INPUT_DISK_READ) {
		take_data(blk, input);
	} else if (virtio_request_find(&blk->requests, input->id)->kind == KIND_ORPHAN) {
		virtio_request_remove(&blk->requests, input->id);
		blk->orphans--;
	} else {
		finish(blk, input->id, input->status == 0 ? DONE_OK : DONE_IO_ERROR, 0);
	}
	virtio_take(virtio, BLK_QUEUE, blk_start);
}

static void blk_fetch_again(const struct virtio *virtio)
{
	const struct virtio_blk *blk = const_blk_of(virtio);

	for (unsigned i = 0; i < blk->requests.count; i++) {
		const struct virtio_request *request = &blk->requests.list[i];

		if (request->kind == KIND_READ && virtio_is_running(virtio))
			fetch(virtio, request);
	}
}

static void blk_save(const struct virtio *virtio, struct bytes_writer *writer)
{
	virtio_request_save(&const_blk_of(virtio)->requests, writer);
}

static result blk_load(struct virtio *virtio, struct bytes_reader *reader)
{
	struct virtio_blk *blk = blk_of(virtio);

	TRY(virtio_request_load(&blk->requests, reader, KIND_ORPHAN));
	blk->orphans = 0;
	for (unsigned i = 0; i < blk->requests.count; i++) {
		const struct virtio_request *request = &blk->requests.list[i];

		if (request->kind == KIND_ORPHAN)
			blk->orphans++;
		if (request->kind == KIND_READ &&
		    (request->length > VIRTIO_DATA_MAX || request->offset % VIRTIO_BLK_SECTOR != 0 ||
		     !is_on_disk(blk, request->offset / VIRTIO_BLK_SECTOR, request->length)))
			return fail(STATUS_INPUT, "saved requests of a disk are not on it");
	}
	return OK;
}

void virtio_blk_init(struct virtio_blk *blk, uint64_t size, bool read_only, const void *serial)
{
	invariant(size % VIRTIO_BLK_SECTOR == 0);
	blk->size = size;
	blk->read_only = read_only;
	memcpy(blk->serial, serial, sizeof(blk->serial));
}

const struct virtio_model virtio_blk_model = {
	.name = "virtio disk",
	.id = VIRTIO_BLK_ID,
	.class_code = 0x010000,
	.queue_sizes = { BLK_QUEUE_SIZE },
	.features = blk_features,
	.required = blk_required,
	.reset = blk_reset,
	.notify = blk_notify,
	.config = blk_config,
	.fits = blk_fits,
	.input = blk_input,
	.fetch_again = blk_fetch_again,
	.save = blk_save,
	.load = blk_load,
};
