/* The whole board, by its ports: as a guest sees it. */
#include "devices/board.h"

#include <signal.h>
#include <string.h>

#include "tests/unit/fixture.h"

#define SECOND UINT64_C(1000000000)

struct outside {
	char output[256];
	size_t length;
	enum board_request request;
	uint32_t argument;
};

static struct outside outside;
static struct board *board;

static void outside_output(void *context, enum output_channel channel, const void *data, size_t length)
{
	struct outside *o = context;

	ck_assert_int_eq(channel, OUTPUT_CONSOLE);
	ck_assert_uint_le(length, sizeof(o->output) - o->length);
	memcpy(o->output + o->length, data, length);
	o->length += length;
}

static void outside_request(void *context, enum board_request request, uint32_t argument)
{
	struct outside *o = context;

	o->request = request;
	o->argument = argument;
}

static struct board_config config(void)
{
	return (struct board_config){
		.ram_size = UINT64_C(5) << 30,
		.rtc_epoch = 1700000000,
		.out = { .context = &outside, .output = outside_output, .request = outside_request },
	};
}

static void setup(void)
{
	struct board_config c = config();

	outside = (struct outside){ 0 };
	ck_assert(!failed(board_create(&board, &c)));
}

static void teardown(void)
{
	board_destroy(board);
}

static void out(uint16_t port, unsigned value)
{
	uint8_t byte = (uint8_t)value;

	board_port_write(board, port, 1, &byte);
}

static void out32(uint16_t port, uint32_t value)
{
	board_port_write(board, port, 4, &value);
}

static unsigned in(uint16_t port)
{
	uint8_t byte = 0;

	board_port_read(board, port, 1, &byte);
	return byte;
}

static uint32_t in32(uint16_t port)
{
	uint32_t value = 0;

	board_port_read(board, port, 4, &value);
	return value;
}

static void initialise_pic(unsigned master_mask, unsigned slave_mask)
{
	out(0x20, 0x11);
	out(0x21, 0x30);
	out(0x21, 0x04);
	out(0x21, 0x01);
	out(0xA0, 0x11);
	out(0xA1, 0x38);
	out(0xA1, 0x02);
	out(0xA1, 0x01);
	out(0x21, master_mask);
	out(0xA1, slave_mask);
}

static void tick(unsigned mode, unsigned count)
{
	out(0x43, 0x30 | mode << 1);
	out(0x40, count & 0xFF);
	out(0x40, count >> 8);
}

START_TEST(bad_epoch)
{
	struct board_config c = config();
	struct board *none = board;

	c.rtc_epoch = _i ? INT64_C(253402300800) : -1;
	result r = board_create(&none, &c);

	ck_assert(failed(r));
	ck_assert_int_eq(r.failure->status, STATUS_INPUT);
	ck_assert_ptr_null(none);
}
END_TEST

START_TEST(periodic_tick)
{
	initialise_pic(0xFE, 0xFF);
	tick(2, 11932);
	for (unsigned i = 1; i <= 100; i++) {
		uint64_t deadline = board_deadline(board);

		/* 10.0000989... ms a period, from the pulse after the write on. */
		ck_assert_uint_ge(deadline, i * UINT64_C(10000150));
		ck_assert_uint_le(deadline, i * UINT64_C(10000152) + 839);
		board_advance(board, deadline - 1);
		ck_assert(!board_interrupt_pending(board));
		board_advance(board, deadline);
		ck_assert_uint_eq(board_now(board), deadline);
		ck_assert(board_interrupt_pending(board));
		/* Requested, the next edge matters to nobody. */
		ck_assert_uint_eq(board_deadline(board), DEVICE_NO_DEADLINE);
		ck_assert_uint_eq(board_interrupt_acknowledge(board), 0x30);
		ck_assert_uint_eq(board_deadline(board), DEVICE_NO_DEADLINE);
		out(0x20, 0x20);
	}
}
END_TEST

START_TEST(late_advance_is_one_tick)
{
	initialise_pic(0xFE, 0xFF);
	tick(2, 11932);
	board_advance(board, SECOND);
	ck_assert(board_interrupt_pending(board));
	(void)board_interrupt_acknowledge(board);
	out(0x20, 0x20);
	ck_assert(!board_interrupt_pending(board));
	ck_assert_uint_gt(board_deadline(board), SECOND);
}
END_TEST

START_TEST(masked_edge_is_due_when_unmasked)
{
	initialise_pic(0xFF, 0xFF);
	tick(4, 1000);
	ck_assert_uint_eq(board_deadline(board), DEVICE_NO_DEADLINE);
	out(0x21, 0xFE);
	uint64_t deadline = board_deadline(board);

	ck_assert_uint_lt(deadline, SECOND);
	out(0x21, 0xFF);
	board_advance(board, 10 * SECOND);
	out(0x21, 0xFE);
	ck_assert(board_interrupt_pending(board));
	ck_assert_uint_eq(board_interrupt_acknowledge(board), 0x30);
}
END_TEST

START_TEST(clock_interrupt)
{
	initialise_pic(0xFB, 0xFE);
	out(0x70, 0x0B);
	out(0x71, 0x12);
	ck_assert_uint_eq(board_deadline(board), SECOND);
	board_advance(board, SECOND);
	ck_assert_uint_eq(board_interrupt_acknowledge(board), 0x38);
	out(0x70, 0x8C);
	ck_assert_uint_eq(in(0x71) & 0x90, 0x90);
	out(0x70, 0x00);
	ck_assert_uint_eq(in(0x71), 0x21); /* 22:13:20 a second later */
	out(0x70, 0x34);
	ck_assert_uint_eq(in(0x71), (3072 - 16) * 16 & 0xFF);
	out(0x70, 0x5C);
	ck_assert_uint_eq(in(0x71), 2048 * 16 >> 8);
}
END_TEST

START_TEST(console)
{
	static const uint8_t keys[20] = "0123456789ABCDEFGHI";

	initialise_pic(0xEF, 0xFF);
	for (const char *c = "hello\n"; *c; c++)
		out(0x3F8, (unsigned char)*c);
	ck_assert_uint_eq(outside.length, 6);
	ck_assert_mem_eq(outside.output, "hello\n", 6);
	out(0x3FA, 0x01);
	out(0x3FC, 0x08);
	out(0x3F9, 0x01);
	ck_assert_uint_eq(board_console_room(board), 16);
	board_console_input(board, keys, 5);
	ck_assert_uint_eq(board_console_room(board), 11);
	ck_assert_uint_eq(board_interrupt_acknowledge(board), 0x34);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_uint_eq(in(0x3F8), keys[i]);
	ck_assert_uint_eq(in(0x3FD), 0x60);
}
END_TEST

START_TEST(system_control_interrupt)
{
	uint16_t enable = 0x0100;

	initialise_pic(0xFB, 0xFD);
	board_port_write(board, 0x602, 2, &enable);
	board_power_button(board);
	ck_assert_uint_eq(board_interrupt_acknowledge(board), 0x39);
	out(0xA0, 0x20);
	out(0x20, 0x20);
	/* Level-triggered, as firmware set it up: it stays until the status is cleared. */
	ck_assert(board_interrupt_pending(board));
	board_port_write(board, 0x600, 2, &enable);
	(void)board_interrupt_acknowledge(board);
	out(0x20, 0x20);
	ck_assert(!board_interrupt_pending(board));
	ck_assert_uint_eq(in(0x4D0), 0x00);
	ck_assert_uint_eq(in(0x4D1), 0x02);
}
END_TEST

START_TEST(requests)
{
	uint16_t off = 5 << 10 | 1 << 13;

	out(0x64, 0xFE);
	ck_assert_int_eq(outside.request, BOARD_REQUEST_RESET);
	board_port_write(board, 0x604, 2, &off);
	ck_assert_int_eq(outside.request, BOARD_REQUEST_POWER_OFF);
	out(0xCF9, 0x06);
	ck_assert_int_eq(outside.request, BOARD_REQUEST_RESET);
	out32(0xF4, 0xC0FFEE);
	ck_assert_int_eq(outside.request, BOARD_REQUEST_EXIT);
	ck_assert_uint_eq(outside.argument, 0xC0FFEE);
	outside.request = BOARD_REQUEST_NONE;
	out(0x92, 0x03);
	ck_assert_int_eq(outside.request, BOARD_REQUEST_RESET);
}
END_TEST

START_TEST(linux_finds_no_pci)
{
	uint32_t old = in32(0xCF8);

	out(0xCFB, 0x01);
	out32(0xCF8, 0x80000000);
	ck_assert_uint_ne(in32(0xCF8), 0x80000000);
	out32(0xCF8, old);
	out32(0xCF8, 0x80000600);
	ck_assert_int_eq(outside.request, BOARD_REQUEST_NONE);
	ck_assert_uint_eq(in32(0xCFC), 0xFFFFFFFF);
}
END_TEST

START_TEST(timer_moves)
{
	uint32_t first = in32(0x608);

	board_advance(board, 1000);
	ck_assert_uint_eq(in32(0x608) - first, 3);
	board_advance(board, SECOND);
	ck_assert_uint_eq(in32(0x608), 3579545);
}
END_TEST

START_TEST(timed_ports)
{
	static const struct {
		uint16_t first, last;
		bool read, write;
	} timed[] = { { 0x40, 0x43, true, true }, { 0x61, 0x61, true, true },   { 0x71, 0x71, true, true },
		      { 0x600, 0x603, true, true }, { 0x608, 0x60B, true, false } };

	for (unsigned port = 0; port <= UINT16_MAX; port++) {
		bool read = false, write = false;

		for (size_t i = 0; i < ARRAY_SIZE(timed); i++) {
			if (port < timed[i].first || port > timed[i].last)
				continue;
			read = timed[i].read;
			write = timed[i].write;
		}
		ck_assert_int_eq(board_port_is_timed(board, (uint16_t)port, false), read);
		ck_assert_int_eq(board_port_is_timed(board, (uint16_t)port, true), write);
	}
}
END_TEST

START_TEST(unassigned)
{
	uint64_t value = 0;

	ck_assert_uint_eq(in(0x300), 0xFF);
	ck_assert_uint_eq(in32(0xFFFE), 0xFFFFFFFF);
	out(0x300, 1);
	ck_assert_uint_eq(board_unassigned_accesses(board), 3);
	board_mmio_read(board, 0xFEE00000, 8, &value);
	ck_assert_uint_eq(value, UINT64_MAX);
	board_mmio_write(board, 0xFEC00000, 4, &value);
	ck_assert_uint_eq(board_unassigned_accesses(board), 5);
}
END_TEST

START_TEST(reset)
{
	initialise_pic(0x00, 0x00);
	tick(2, 1000);
	out(0x3FF, 0x5A);
	out(0x80, 0x77);
	board_advance(board, 5 * SECOND);
	board_reset(board);
	ck_assert_uint_eq(board_now(board), 5 * SECOND);
	ck_assert(!board_interrupt_pending(board));
	ck_assert_uint_eq(board_deadline(board), DEVICE_NO_DEADLINE);
	ck_assert_uint_eq(in(0x3FF), 0);
	ck_assert_uint_eq(in(0x80), 0);
	ck_assert_uint_eq(in(0x4D1), 0x02);
	out(0x70, 0x00);
	ck_assert_uint_eq(in(0x71), 0x25);
}
END_TEST

START_TEST(time_goes_forward)
{
	board_advance(board, SECOND);
	board_advance(board, SECOND);
	board_advance(board, SECOND - 1);
}
END_TEST

START_TEST(time_ends)
{
	initialise_pic(0, 0);
	tick(3, 0);
	out(0x70, 0x0B);
	out(0x71, 0x72);
	board_advance(board, BOARD_TIME_MAX);
	(void)board_deadline(board);
	board_advance(board, BOARD_TIME_MAX + 1);
}
END_TEST

START_TEST(table)
{
	size_t count = board_device_count(board);

	ck_assert_uint_eq(count, 9);
	for (size_t i = 0; i < count; i++) {
		uint8_t bytes[512];
		struct bytes_writer writer = bytes_writer_over(bytes, sizeof(bytes));

		board_device_save(board, i, &writer);
		ck_assert(!writer.overflow);
		ck_assert_uint_gt(writer.used, 0);
		for (size_t j = 0; j < i; j++)
			ck_assert_str_ne(board_device_name(board, i), board_device_name(board, j));
	}
}
END_TEST

START_TEST(nobody_outside)
{
	struct board_config c = { .ram_size = 1 << 20 };
	struct board *alone;

	ck_assert(!failed(board_create(&alone, &c)));
	board_port_write(alone, 0x3F8, 1, "x");
	board_port_write(alone, 0x64, 1, "\xFE");
	board_destroy(alone);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("board");
	TCase *tests = tcase_create("by its ports");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_loop_test(tests, bad_epoch, 0, 2);
	tcase_add_test(tests, periodic_tick);
	tcase_add_test(tests, late_advance_is_one_tick);
	tcase_add_test(tests, masked_edge_is_due_when_unmasked);
	tcase_add_test(tests, clock_interrupt);
	tcase_add_test(tests, console);
	tcase_add_test(tests, system_control_interrupt);
	tcase_add_test(tests, requests);
	tcase_add_test(tests, linux_finds_no_pci);
	tcase_add_test(tests, timer_moves);
	tcase_add_test(tests, timed_ports);
	tcase_add_test(tests, unassigned);
	tcase_add_test(tests, reset);
	tcase_add_test_raise_signal(tests, time_goes_forward, SIGABRT);
	tcase_add_test_raise_signal(tests, time_ends, SIGABRT);
	tcase_add_test(tests, table);
	tcase_add_test(tests, nobody_outside);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
