/*
 * A guest that does anything to the devices of the board that are not on its PCI bus, for libFuzzer (tests/fuzz/run).
 *
 * The input is a list of steps, each an operation and its operands (step() has them). All of it happens to two boards,
 * one of which is saved and loaded in between: they must answer the same, say the same to the outside, and be the same
 * in the end. A saved state that was damaged is refused, or is a state that is saved as it was.
 *
 * Sources: devices base
 * Defect: devices/uart16550.c s/ && uart->count <= uart_capacity(uart);/;/
 */
#include <string.h>

#include "base/crc.h"
#include "devices/board.h"
#include "tests/fuzz/input.h"

enum { STEPS_MAX = 4096, DAMAGES_MAX = 4, KEYS_MAX = 64 };

/* What one board has said to the outside. */
struct outside {
	unsigned count;
	uint32_t digest;
};

struct pair {
	struct board *board[2];
	struct outside outside[2];
};

/* Where devices are (devices/board.c), and a port of nobody's. */
static const uint16_t ports[] = { 0x20, 0x21, 0x40, 0x41, 0x42, 0x43, 0x60, 0x61, 0x64, 0x70, 0x71, 0x80, 0x92, 0xA0,
				  0xA1, 0xF4, 0x3F8, 0x3F9, 0x3FA, 0x3FB, 0x3FC, 0x3FD, 0x3FE, 0x3FF, 0x4D0, 0x4D1,
				  0x600, 0x602, 0x604, 0x608, 0xCF9, 0xED };

static void say(struct outside *outside, uint32_t what, const void *data, size_t length)
{
	outside->digest ^= crc_of(data, length) + what + ++outside->count;
}

static void output(void *context, enum output_channel channel, const void *data, size_t length)
{
	invariant(channel == OUTPUT_CONSOLE && length > 0);
	say(context, channel, data, length);
}

static void request(void *context, enum board_request what, uint32_t argument)
{
	say(context, what, &argument, sizeof(argument));
}

static struct board *make_board(struct outside *outside)
{
	const struct board_config config = {
		.ram_size = UINT64_C(64) << 20,
		.rtc_epoch = 1000000000,
		.out = { .context = outside, .output = output, .request = request },
	};
	struct board *board;
	result r = board_create(&board, &config);

	invariant(!failed(r));
	return board;
}

static void access_port(struct pair *pair, uint16_t port, unsigned size, bool write, uint32_t value)
{
	uint8_t bytes[2][4];

	for (unsigned i = 0; i < 2; i++) {
		bytes_store_u32(bytes[i], value);
		if (write)
			board_port_write(pair->board[i], port, size, bytes[i]);
		else
			board_port_read(pair->board[i], port, size, bytes[i]);
	}
	invariant(memcmp(bytes[0], bytes[1], sizeof(bytes[0])) == 0);
}

/* To a time that devices wait for, or so far. */
static void advance(struct pair *pair, uint64_t by)
{
	uint64_t now = board_now(pair->board[0]), deadline = board_deadline(pair->board[0]);
	uint64_t to = by == 0 && deadline != DEVICE_NO_DEADLINE && deadline > now ? deadline : now + by;

	invariant(deadline == board_deadline(pair->board[1]));
	to = to < BOARD_TIME_MAX ? to : BOARD_TIME_MAX;
	for (unsigned i = 0; i < 2; i++)
		board_advance(pair->board[i], to);
}

static void acknowledge(struct pair *pair)
{
	bool pending = board_interrupt_pending(pair->board[0]);

	invariant(pending == board_interrupt_pending(pair->board[1]));
	if (pending) {
		uint8_t vector = board_interrupt_acknowledge(pair->board[0]);

		invariant(vector == board_interrupt_acknowledge(pair->board[1]));
	}
}

static void type(struct pair *pair, struct input *input, size_t length)
{
	size_t room = board_console_room(pair->board[0]);
	uint8_t keys[KEYS_MAX];

	invariant(room == board_console_room(pair->board[1]));
	length = length < room ? length : room;
	length = length < sizeof(keys) ? length : sizeof(keys);
	input_bytes(input, keys, length);
	for (unsigned i = 0; i < 2 && length > 0; i++)
		board_console_input(pair->board[i], keys, length);
}

static size_t save(const struct board *board, uint8_t bytes[BOARD_STATE_MAX])
{
	struct bytes_writer writer = bytes_writer_over(bytes, BOARD_STATE_MAX);

	board_save(board, &writer);
	invariant(!writer.overflow);
	return writer.used;
}

static void must_be_same(const struct pair *pair)
{
	static uint8_t bytes[2][BOARD_STATE_MAX];
	size_t size = save(pair->board[0], bytes[0]);

	invariant(save(pair->board[1], bytes[1]) == size && memcmp(bytes[0], bytes[1], size) == 0);
	invariant(pair->outside[0].count == pair->outside[1].count &&
		  pair->outside[0].digest == pair->outside[1].digest);
}

static bool load(struct board *board, const uint8_t *bytes, size_t size)
{
	struct bytes_reader reader = bytes_reader_over(bytes, size);
	result r = board_load(board, &reader);

	return !failed(r);
}

/* The second board goes on in a new one. */
static void move(struct pair *pair)
{
	static uint8_t bytes[BOARD_STATE_MAX];
	size_t size = save(pair->board[1], bytes);

	board_destroy(pair->board[1]);
	pair->board[1] = make_board(&pair->outside[1]);
	invariant(load(pair->board[1], bytes, size));
	must_be_same(pair);
}

static void damage(const struct pair *pair, struct input *input, unsigned damages)
{
	static uint8_t bytes[BOARD_STATE_MAX], again[BOARD_STATE_MAX];
	struct outside nobody = { .count = 0 };
	struct board *board = make_board(&nobody);
	size_t size = save(pair->board[0], bytes), fresh = save(board, again);

	for (unsigned i = 0; i < damages; i++)
		bytes[input_next(input, 2) % size] ^= (uint8_t)input_next(input, 1);
	if (load(board, bytes, size)) {
		invariant(save(board, again) == size && memcmp(bytes, again, size) == 0);
		for (size_t i = 0; i < ARRAY_SIZE(ports); i++)
			board_port_read(board, ports[i], 1, bytes);
		board_advance(board, board_now(board) < BOARD_TIME_MAX ? board_now(board) + 1 : BOARD_TIME_MAX);
		if (board_interrupt_pending(board))
			(void)board_interrupt_acknowledge(board);
	} else {
		/* A load that fails has changed nothing. */
		invariant(save(board, bytes) == fresh && memcmp(bytes, again, fresh) == 0);
	}
	board_destroy(board);
}

static void step(struct pair *pair, struct input *input)
{
	static const uint8_t sizes[] = { 1, 1, 2, 4 };
	uint32_t op = (uint32_t)input_next(input, 1);
	uint16_t port = ports[op >> 3];
	unsigned size;

	switch (op & 7U) {
	case 0:
	case 1:
		access_port(pair, port, 1, true, (uint32_t)input_next(input, 1));
		break;
	case 2:
		access_port(pair, port, 1, false, 0);
		break;
	case 3:
		size = sizes[op >> 3 & 3U];
		port = (uint16_t)input_next(input, 2);
		access_port(pair, port, size, op >> 5 & 1U, (uint32_t)input_next(input, size));
		break;
	case 4:
		/* Up to 18 hours at once. */
		advance(pair, input_next(input, 1) << (op >> 3) % 32 << (op >> 3) / 4);
		break;
	case 5:
		acknowledge(pair);
		break;
	case 6:
		type(pair, input, op >> 3);
		break;
	default:
		if (op >> 3 == 0)
			for (unsigned i = 0; i < 2; i++)
				board_power_button(pair->board[i]);
		else if (op >> 3 == 1)
			for (unsigned i = 0; i < 2; i++)
				board_reset(pair->board[i]);
		else if (op >> 3 < 16)
			move(pair);
		else
			damage(pair, input, 1 + (op >> 3) % DAMAGES_MAX);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	struct pair pair = { .outside = { { .count = 0 } } };

	for (unsigned i = 0; i < 2; i++)
		pair.board[i] = make_board(&pair.outside[i]);
	for (unsigned steps = 0; steps < STEPS_MAX && input.left > 0; steps++)
		step(&pair, &input);
	must_be_same(&pair);
	for (unsigned i = 0; i < 2; i++)
		board_destroy(pair.board[i]);
	return 0;
}
