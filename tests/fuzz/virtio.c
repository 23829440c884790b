/*
 * A guest that does anything to the board's PCI bus and its four kinds of devices, for libFuzzer (tests/fuzz/run).
 *
 * The input is a list of steps, each an operation and its operands (step() has them). Whatever happens, the process
 * must live, devices must keep to memory, to output_room and to the bounds of the disk, and a board that is saved and
 * loaded must go on as the same.
 *
 * Sources: devices base
 * Defect: devices/virtqueue.c s/chain->readable + chain->writable == queue->size || //
 */
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "devices/board.h"
#include "devices/virtio.h"
#include "devices/virtio_pci.h"
#include "tests/fuzz/input.h"

#define MEMORY 0x10000U
#define DISK_SIZE (UINT64_C(1) << 20)
#define ROOM 300000U
#define FETCHES 64U
#define STEPS_MAX 4096U

struct outside {
	uint8_t memory[MEMORY];
	size_t room;
	unsigned put;     /* devices' calls of output, and what they were */
	uint32_t digest;
	uint64_t last_id; /* of the last disk request */
	struct device_fetch fetches[FETCHES];
	size_t fetched;
};

static const struct board_pci_device devices[] = {
	{ .kind = BOARD_PCI_DISK, .disk_size = DISK_SIZE, .serial = "fuzz" },
	{ .kind = BOARD_PCI_NET, .mac = { 2, 0, 0, 0, 0, 1 } },
	{ .kind = BOARD_PCI_RNG },
	{ .kind = BOARD_PCI_CONSOLE },
};

static bool is_ram(uint64_t address, size_t length)
{
	return address <= MEMORY && length <= MEMORY - address;
}

static bool memory_read(void *context, uint64_t address, void *data, size_t length)
{
	struct outside *outside = context;

	if (!is_ram(address, length))
		return false;
	memcpy(data, outside->memory + address, length);
	return true;
}

static bool memory_write(void *context, uint64_t address, const void *data, size_t length)
{
	struct outside *outside = context;

	if (!is_ram(address, length))
		return false;
	memcpy(outside->memory + address, data, length);
	return true;
}

static size_t output_room(void *context)
{
	const struct outside *outside = context;

	return outside->room;
}

/* Each output is one record, of the form that its channel has. */
static void output(void *context, enum output_channel channel, const void *data, size_t length)
{
	struct outside *outside = context;
	struct bytes_reader reader = bytes_reader_over(data, length);
	struct device_disk_request request;

	invariant(length <= outside->room);
	outside->room -= length;
	outside->put++;
	outside->digest ^= crc_of(data, length) + outside->put;
	if (channel == OUTPUT_DISK) {
		invariant(!failed(device_disk_get(&reader, &request)));
		invariant(request.device == 0 && request.id > outside->last_id);
		invariant(request.length <= DISK_SIZE && request.offset <= DISK_SIZE - request.length);
		invariant(length == DEVICE_DISK_HEADER + (request.op == DEVICE_DISK_WRITE ? request.length : 0));
		outside->last_id = request.id;
	} else {
		invariant(bytes_get_u32(&reader) == (channel == OUTPUT_NET ? 1U : 3U));
		invariant(bytes_get_u32(&reader) == length - DEVICE_STREAM_HEADER &&
			  length > DEVICE_STREAM_HEADER);
		invariant(channel != OUTPUT_NET || length <= DEVICE_STREAM_HEADER + DEVICE_FRAME_MAX);
	}
}

static void fetch(void *context, const struct device_fetch *wanted)
{
	struct outside *outside = context;

	if (wanted->kind == FETCH_DISK)
		invariant(wanted->device == 0 && wanted->length > 0 && wanted->length <= VIRTIO_DATA_MAX &&
			  wanted->offset <= DISK_SIZE && wanted->length <= DISK_SIZE - wanted->offset);
	else
		invariant(wanted->kind == FETCH_ENTROPY && wanted->length > 0 &&
			  wanted->length <= DEVICE_INPUT_MAX);
	outside->fetches[outside->fetched++ % FETCHES] = *wanted;
}

static struct board *make_board(struct outside *outside)
{
	const struct board_config config = {
		.ram_size = MEMORY,
		.pci = devices,
		.pci_count = ARRAY_SIZE(devices),
		.out = {
			.context = outside,
			.output = output,
			.memory_read = memory_read,
			.memory_write = memory_write,
			.output_room = output_room,
			.fetch = fetch,
		},
	};
	struct board *board;
	result r = board_create(&board, &config);

	invariant(!failed(r));
	return board;
}

static uint32_t next(struct input *input, unsigned bytes)
{
	return (uint32_t)input_next(input, bytes);
}

static void out(struct board *board, unsigned port, unsigned size, uint32_t value)
{
	uint8_t bytes[4];

	bytes_store_u32(bytes, value);
	board_port_write(board, (uint16_t)port, size, bytes);
}

static void in(struct board *board, unsigned port, unsigned size)
{
	uint8_t bytes[4];

	board_port_read(board, (uint16_t)port, size, bytes);
}

/* What a driver does until a device runs, so that what is behind it need not be found by chance. */
static void start(struct board *board, unsigned device, uint32_t features)
{
	unsigned bar = 0xC000U + 0x100U * device;

	out(board, bar + 0x14, 1, 0);
	out(board, bar + 0x14, 1, 3);
	out(board, bar + 0x08, 4, 0);
	out(board, bar + 0x0C, 4, features);
	out(board, bar + 0x08, 4, 1);
	out(board, bar + 0x0C, 4, 1);
	out(board, bar + 0x14, 1, 11);
	for (unsigned queue = 0; queue < VIRTIO_QUEUES_MAX; queue++) {
		uint32_t base = 0x1000U * (2 * device + queue);

		out(board, bar + 0x16, 2, queue);
		out(board, bar + 0x18, 2, 8);
		out(board, bar + 0x20, 4, base);
		out(board, bar + 0x28, 4, base + 0x200);
		out(board, bar + 0x30, 4, base + 0x400);
		out(board, bar + 0x1C, 2, 1);
	}
	out(board, bar + 0x14, 1, 15);
}

/* A chain of one descriptor after the other, made available. */
static void offer(struct outside *outside, struct input *input)
{
	uint32_t where = next(input, 1);
	uint8_t *base = outside->memory + 0x1000U * (where & 7U);
	unsigned first = next(input, 1) & 7U;
	unsigned count = 1 + (where >> 3 & 3U);
	uint16_t index = bytes_load_u16(base + 0x202);

	for (unsigned i = 0; i < count; i++) {
		uint8_t *descriptor = base + 16U * ((first + i) & 7U);

		bytes_store_u64(descriptor, 0x8000U + next(input, 2));
		bytes_store_u32(descriptor + 8, next(input, 3));
		bytes_store_u16(descriptor + 12, (uint16_t)((next(input, 1) & ~1U) | (i + 1 < count)));
		bytes_store_u16(descriptor + 14, (uint16_t)((first + i + 1) & 7U));
	}
	bytes_store_u16(base + 0x204 + 2U * (index & 7U), (uint16_t)first);
	bytes_store_u16(base + 0x202, (uint16_t)(index + 1));
}

static void give(struct outside *outside, struct board *board, struct input *input)
{
	static struct device_input given;
	uint32_t what = next(input, 1);
	const struct device_fetch *wanted = &outside->fetches[what / 8 % FETCHES];

	memset(&given, 0, sizeof(given));
	given.kind = what % 8;
	given.device = given.kind == INPUT_VCONSOLE ? 3 : given.kind == INPUT_NET ? 1 : 0;
	given.length = next(input, 2) % (DEVICE_INPUT_MAX + 1);
	given.total = given.length;
	if (given.kind == INPUT_DISK_READ || given.kind == INPUT_ENTROPY) {
		given.device = wanted->device;
		given.id = wanted->id;
		given.offset = given.kind == INPUT_DISK_READ ? (uint64_t)(given.length % 32) * DEVICE_INPUT_MAX : 0;
		given.total = wanted->length;
		if (given.offset < given.total)
			given.length = given.total - (uint32_t)given.offset;
		if (given.length > DEVICE_INPUT_MAX)
			given.length = DEVICE_INPUT_MAX;
	} else if (given.kind == INPUT_DISK_DONE) {
		given.id = outside->last_id - what / 8;
		given.status = given.length & 1;
		given.length = 0;
		given.total = 0;
	}
	memset(given.data, (int)what, given.length);

	/* What the lockstep side lets through has the form of its kind. */
	static uint8_t bytes[DEVICE_INPUT_HEADER + DEVICE_INPUT_MAX];
	struct bytes_writer writer = bytes_writer_over(bytes, sizeof(bytes));
	struct bytes_reader reader;

	device_input_put(&writer, &given);
	reader = bytes_reader_over(bytes, writer.used);
	if (failed(device_input_get(&reader, &given)))
		return;
	if (board_input_fits(board, &given) == DEVICE_INPUT_FITS)
		board_input(board, &given);
}

static struct board *move(struct outside *outside, struct board *board)
{
	static uint8_t bytes[BOARD_STATE_MAX], again[BOARD_STATE_MAX];
	struct bytes_writer writer = bytes_writer_over(bytes, sizeof(bytes));
	struct bytes_writer other = bytes_writer_over(again, sizeof(again));
	struct board *to = make_board(outside);

	board_save(board, &writer);
	invariant(!writer.overflow);

	struct bytes_reader reader = bytes_reader_over(bytes, writer.used);
	result r = board_load(to, &reader);

	invariant(!failed(r));
	board_save(to, &other);
	invariant(other.used == writer.used && memcmp(bytes, again, writer.used) == 0);
	board_destroy(board);
	return to;
}

/* One step on; the board may be another one behind it. */
static struct board *step(struct outside *outside, struct board *board, struct input *input)
{
	static const uint8_t sizes[] = { 1, 2, 4, 4 };
	uint32_t op = next(input, 1);
	unsigned size = sizes[op >> 4 & 3U];
	unsigned at;

	switch (op & 15U) {
	case 0:
		start(board, op >> 4 & 3U, next(input, 4));
		break;
	case 1:
	case 2:
		offer(outside, input);
		break;
	case 3:
	case 4:
		out(board, 0xC044U + 0x100U * (op >> 4 & 3U), 2, op >> 6);
		break;
	case 5:
	case 6:
		give(outside, board, input);
		break;
	case 7:
		at = 0xC000U + (next(input, 2) & 0x3FFU);
		out(board, at, size, next(input, size));
		break;
	case 8:
		in(board, 0xC000U + (next(input, 2) & 0x3FFU), size);
		break;
	case 9:
		out(board, 0xCF8, 4, 0x80000000U | next(input, 2));
		out(board, 0xCFCU + (op >> 6), size, next(input, size));
		break;
	case 10:
		out(board, 0xCF8, 4, 0x80000000U | next(input, 2));
		in(board, 0xCFCU + (op >> 6), size);
		break;
	case 11:
		at = next(input, 2);
		if (is_ram(at, size))
			bytes_store_u32(outside->memory + (at & ~3U), next(input, size));
		break;
	case 12:
		outside->room = op & 0x10U ? ROOM : next(input, 2);
		board_resume(board);
		break;
	case 13:
		board_fetch_again(board);
		break;
	case 14:
		return move(outside, board);
	default:
		if (op & 0x10U)
			board_reset(board);
		break;
	}
	return board;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct outside outside;
	struct input input = { data, size };
	struct board *board;

	memset(&outside, 0, sizeof(outside));
	outside.room = ROOM;
	board = make_board(&outside);
	for (unsigned steps = 0; steps < STEPS_MAX && input.left > 0; steps++)
		board = step(&outside, board, &input);
	board_destroy(board);
	return 0;
}
