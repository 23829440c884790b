/* Saved boards: a copy goes on as the original does, equal histories give equal bytes, bad bytes change nothing. */
#include "devices/board.h"

#include <string.h>

#include "tests/unit/fixture.h"

#define STATE_MAX 2048
#define ACTIONS 400

struct transcript {
	uint64_t hash; /* FNV-1a over everything that came out of the board */
};

static void record(struct transcript *transcript, const void *data, size_t length)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < length; i++)
		transcript->hash = (transcript->hash ^ bytes[i]) * UINT64_C(0x100000001B3);
}

static void transcript_output(void *context, enum output_channel channel, const void *data, size_t length)
{
	record(context, &channel, sizeof(channel));
	record(context, data, length);
}

static void transcript_request(void *context, enum board_request request, uint32_t argument)
{
	record(context, &request, sizeof(request));
	record(context, &argument, sizeof(argument));
}

static struct board *create(struct transcript *transcript)
{
	struct board_config config = {
		.ram_size = UINT64_C(1) << 30,
		.rtc_epoch = 1700000000,
		.out = { .context = transcript, .output = transcript_output, .request = transcript_request },
	};
	struct board *board;

	ck_assert(!failed(board_create(&board, &config)));
	return board;
}

static size_t save(const struct board *board, uint8_t *bytes)
{
	struct bytes_writer writer = bytes_writer_over(bytes, STATE_MAX);

	board_save(board, &writer);
	ck_assert(!writer.overflow);
	return writer.used;
}

static bool load(struct board *board, const uint8_t *bytes, size_t length)
{
	struct bytes_reader reader = bytes_reader_over(bytes, length);
	result r = board_load(board, &reader);

	if (failed(r))
		ck_assert_int_eq(r.failure->status, STATUS_INPUT);
	return !failed(r);
}

/* One thing that can happen to a board, chosen by `r`, with what comes out on the transcript. */
static void act(struct board *board, struct transcript *transcript, uint64_t r)
{
	static const uint16_t ports[] = { 0x20, 0x21, 0x40, 0x42, 0x43, 0x60, 0x61, 0x64, 0x70, 0x71, 0x80, 0x92,
					  0xA0, 0xA1, 0xF4, 0x3F8, 0x3F9, 0x3FA, 0x3FB, 0x3FC, 0x3FD, 0x3FE, 0x4D0,
					  0x4D1, 0x600, 0x602, 0x604, 0x608, 0xCF8, 0xCF9, 0x300 };
	uint16_t port = ports[(r >> 8 & 0xFFFF) % ARRAY_SIZE(ports)];
	unsigned size = 1U << (r >> 24 & 0xFF) % 3;
	uint32_t value = (uint32_t)(r >> 32);
	uint64_t deadline;

	switch (r & 15) {
	case 0:
	case 1:
		board_advance(board, board_now(board) + (value >> (value & 31)));
		break;
	case 2:
		deadline = board_deadline(board);
		record(transcript, &deadline, sizeof(deadline));
		if (deadline != DEVICE_NO_DEADLINE && deadline > board_now(board))
			board_advance(board, deadline);
		break;
	case 3:
		if (board_interrupt_pending(board)) {
			uint8_t vector = board_interrupt_acknowledge(board);

			record(transcript, &vector, sizeof(vector));
		}
		break;
	case 4: {
		uint8_t byte = (uint8_t)value;

		if (board_console_room(board) > 0)
			board_console_input(board, &byte, 1);
		break;
	}
	case 5:
		if (value % 64 == 0)
			board_reset(board);
		else
			board_power_button(board);
		break;
	case 6:
	case 7:
	case 8:
	case 9: {
		uint32_t read = 0;

		board_port_read(board, port, size, &read);
		record(transcript, &read, sizeof(read));
		break;
	}
	case 10:
		/* Give the interrupt controller a chance to be set up. */
		for (unsigned i = 0; i < 8; i++) {
			static const uint8_t words[8] = { 0x11, 0x30, 0x04, 0x01, 0x11, 0x38, 0x02, 0x01 };
			static const uint16_t where[8] = { 0x20, 0x21, 0x21, 0x21, 0xA0, 0xA1, 0xA1, 0xA1 };

			board_port_write(board, where[i], 1, &words[i]);
		}
		break;
	default:
		board_port_write(board, port, size, &value);
		break;
	}
}

START_TEST(copy_goes_on_like_the_original)
{
	uint64_t seed = (uint64_t)_i * 77 + 1;
	struct transcript a_out = { 1 }, b_out = { 2 };
	struct board *a = create(&a_out), *b = create(&b_out);
	uint8_t a_bytes[STATE_MAX], b_bytes[STATE_MAX];
	size_t length;

	/* The copy has a history of its own, of which nothing may be left. */
	for (unsigned i = 0; i < ACTIONS; i++)
		act(b, &b_out, fixture_random(&seed));
	for (unsigned i = 0; i < ACTIONS; i++)
		act(a, &a_out, fixture_random(&seed));
	length = save(a, a_bytes);
	ck_assert(load(b, a_bytes, length));
	ck_assert_uint_eq(board_now(a), board_now(b));
	ck_assert_uint_eq(board_deadline(a), board_deadline(b));
	b_out = a_out;
	for (unsigned i = 0; i < ACTIONS; i++) {
		uint64_t r = fixture_random(&seed);

		act(a, &a_out, r);
		act(b, &b_out, r);
		ck_assert_uint_eq(a_out.hash, b_out.hash);
	}
	length = save(a, a_bytes);
	ck_assert_uint_eq(save(b, b_bytes), length);
	ck_assert_mem_eq(a_bytes, b_bytes, length);
	board_destroy(a);
	board_destroy(b);
}
END_TEST

START_TEST(equal_histories_give_equal_bytes)
{
	uint64_t seed = (uint64_t)_i * 99 + 1;
	struct transcript a_out = { 1 }, b_out = { 1 };
	struct board *a = create(&a_out), *b = create(&b_out);
	uint8_t a_bytes[STATE_MAX], b_bytes[STATE_MAX];

	for (unsigned i = 0; i < ACTIONS; i++) {
		uint64_t r = fixture_random(&seed);

		act(a, &a_out, r);
		act(b, &b_out, r);
		ck_assert_uint_eq(a_out.hash, b_out.hash);
	}
	size_t length = save(a, a_bytes);

	ck_assert_uint_eq(save(b, b_bytes), length);
	ck_assert_mem_eq(a_bytes, b_bytes, length);
	board_destroy(a);
	board_destroy(b);
}
END_TEST

START_TEST(bad_bytes_change_nothing)
{
	uint64_t seed = (uint64_t)_i * 55 + 1;
	struct transcript a_out = { 1 }, b_out = { 1 };
	struct board *a = create(&a_out), *b = create(&b_out);
	uint8_t state[STATE_MAX], before[STATE_MAX], after[STATE_MAX];

	for (unsigned i = 0; i < ACTIONS; i++) {
		act(a, &a_out, fixture_random(&seed));
		act(b, &b_out, fixture_random(&seed));
	}
	size_t length = save(a, state);
	size_t before_length = save(b, before);

	for (size_t cut = 0; cut < length; cut++) {
		ck_assert(!load(b, state, cut));
		ck_assert_uint_eq(save(b, after), before_length);
		ck_assert_mem_eq(before, after, before_length);
	}
	for (size_t bit = 0; bit < 8 * length; bit++) {
		state[bit / 8] ^= (uint8_t)(1U << bit % 8);
		if (load(b, state, length)) {
			/* A state that is another one: it must be that one, and fit to go on. */
			ck_assert_uint_eq(save(b, after), length);
			ck_assert_mem_eq(state, after, length);
			for (unsigned i = 0; i < 30; i++)
				act(b, &b_out, fixture_random(&seed));
			ck_assert(load(b, before, before_length));
		} else {
			ck_assert_uint_eq(save(b, after), before_length);
			ck_assert_mem_eq(before, after, before_length);
		}
		state[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	board_destroy(a);
	board_destroy(b);
}
END_TEST

START_TEST(one_device_of_a_saved_board)
{
	struct transcript out = { 1 };
	struct board *board = create(&out);
	uint8_t bytes[STATE_MAX], device[STATE_MAX];
	size_t length = save(board, bytes);
	size_t offset, device_length, last_end = 0;

	for (size_t i = 0; i < board_device_count(board); i++) {
		struct bytes_writer writer = bytes_writer_over(device, sizeof(device));

		board_device_save(board, i, &writer);
		ck_assert(board_saved_device(bytes, length, i, &offset, &device_length));
		ck_assert_uint_eq(device_length, writer.used);
		ck_assert_mem_eq(bytes + offset, device, device_length);
		last_end = offset + device_length;
		ck_assert(!board_saved_device(bytes, last_end - 1, i, &offset, &device_length));
		ck_assert(board_saved_device(bytes, last_end, i, &offset, &device_length));
	}
	ck_assert_uint_eq(last_end, length);
	ck_assert(!board_saved_device(bytes, length, board_device_count(board), &offset, &device_length));
	for (size_t size = 0; size < length; size++)
		ck_assert(!board_saved_device(bytes, size, board_device_count(board) - 1, &offset, &device_length));
	board_destroy(board);
}
END_TEST

START_TEST(reader_goes_on_behind_the_board)
{
	struct transcript out = { 1 };
	struct board *board = create(&out);
	uint8_t bytes[STATE_MAX];
	size_t length = save(board, bytes);
	struct bytes_reader reader = bytes_reader_over(bytes, sizeof(bytes));

	bytes[length] = 0x5A;
	ck_assert(!failed(board_load(board, &reader)));
	ck_assert_uint_eq(reader.at, length);
	ck_assert_uint_eq(bytes_get_u8(&reader), 0x5A);
	board_destroy(board);
}
END_TEST

START_TEST(save_without_room)
{
	struct transcript out = { 1 };
	struct board *board = create(&out);
	uint8_t bytes[STATE_MAX];
	size_t length = save(board, bytes);

	for (size_t size = 0; size < length; size++) {
		uint8_t *small = malloc(size + 1);
		struct bytes_writer writer = bytes_writer_over(small, size);

		board_save(board, &writer);
		ck_assert(writer.overflow);
		free(small);
	}
	board_destroy(board);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("board_state");
	TCase *tests = tcase_create("save and load");

	tcase_add_loop_test(tests, copy_goes_on_like_the_original, 0, 200);
	tcase_add_loop_test(tests, equal_histories_give_equal_bytes, 0, 50);
	tcase_add_loop_test(tests, bad_bytes_change_nothing, 0, 10);
	tcase_add_test(tests, one_device_of_a_saved_board);
	tcase_add_test(tests, reader_goes_on_behind_the_board);
	tcase_add_test(tests, save_without_room);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
