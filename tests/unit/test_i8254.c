/* Behaviour from the Intel 82C54 data sheet; times are counted in CLK pulses from the write. */
#include "tests/unit/timer.h"

static unsigned speaker_in(void)
{
	return (unsigned)fixture_read(&i8254_model, &pit, I8254_SPEAKER, 0, 1, now());
}

static unsigned latched(unsigned channel)
{
	out(3, channel << 6);
	unsigned low = in(channel);

	return low | in(channel) << 8;
}

static unsigned status(unsigned channel)
{
	out(3, 0xE0 | 2U << channel);
	return in(channel);
}

static bool level(unsigned channel)
{
	return status(channel) & 0x80;
}

static void expect_deadline(uint64_t clocks)
{
	ck_assert_uint_eq(i8254_model.deadline(&pit), i8254_time_of(clock_now + clocks));
}

START_TEST(nothing_happens_before_programming)
{
	ck_assert_uint_eq(i8254_model.deadline(&pit), DEVICE_NO_DEADLINE);
	pass(1000000);
	ck_assert(fixture.lines[0]);
	ck_assert_uint_eq(in(3), 0xFF);
	out(0, 5); /* no access mode was chosen */
	pass(1000000);
	ck_assert_uint_eq(fixture.rises[0], 1); /* the one at power-on */
}
END_TEST

START_TEST(mode_0)
{
	program(0, 0, 5);
	ck_assert(!fixture.lines[0]);
	ck_assert_uint_eq(status(0), 0x40 | 0x30);
	expect_deadline(6);
	pass(1);
	ck_assert_uint_eq(latched(0), 5);
	ck_assert_uint_eq(status(0), 0x30);
	pass(4);
	ck_assert_uint_eq(latched(0), 1);
	ck_assert(!fixture.lines[0]);
	expect_deadline(1);
	pass(1);
	ck_assert(fixture.lines[0]);
	ck_assert_uint_eq(latched(0), 0);
	/* It counts on, and OUT stays. */
	pass(1);
	ck_assert_uint_eq(latched(0), 0xFFFF);
	pass(200000);
	ck_assert(fixture.lines[0]);
	ck_assert_uint_eq(fixture.rises[0], 2);
	ck_assert_uint_eq(i8254_model.deadline(&pit), DEVICE_NO_DEADLINE);
	/* A new count starts it again. */
	out(0, 3);
	ck_assert(!fixture.lines[0]);
	ck_assert_uint_eq(i8254_model.deadline(&pit), DEVICE_NO_DEADLINE);
	pass(1000);
	out(0, 0);
	expect_deadline(4);
	pass(4);
	ck_assert(fixture.lines[0]);
}
END_TEST

START_TEST(mode_0_zero_is_65536)
{
	program(0, 0, 0);
	expect_deadline(65537);
	pass(65536);
	ck_assert(!fixture.lines[0]);
	pass(1);
	ck_assert(fixture.lines[0]);
}
END_TEST

START_TEST(mode_0_gate_holds)
{
	speaker(1);
	program(2, 0, 10);
	pass(4);
	ck_assert_uint_eq(latched(2), 7);
	speaker(0);
	pass(100);
	ck_assert_uint_eq(latched(2), 7);
	speaker(1);
	pass(6);
	ck_assert(!level(2));
	pass(1);
	ck_assert(level(2));
	ck_assert_uint_eq(speaker_in() & 0x20, 0x20);
}
END_TEST

START_TEST(mode_1)
{
	program(2, 1, 4);
	pass(100);
	ck_assert(level(2));
	speaker(1);
	pass(1);
	ck_assert(!level(2));
	pass(3);
	ck_assert(!level(2));
	pass(1);
	ck_assert(level(2));
	/* Retriggered half-way, the pulse becomes longer; the gate's level does not matter. */
	speaker(0);
	speaker(1);
	pass(3);
	speaker(0);
	speaker(1);
	pass(4);
	ck_assert(!level(2));
	pass(1);
	ck_assert(level(2));
	/* A new count waits for the next trigger. */
	out(2, 2);
	out(2, 0);
	pass(50);
	ck_assert(level(2));
}
END_TEST

START_TEST(mode_2)
{
	program(0, 2, 4);
	ck_assert_uint_eq(fixture.rises[0], 1);
	expect_deadline(5);
	pass(1);
	ck_assert_uint_eq(latched(0), 4);
	pass(2);
	ck_assert(fixture.lines[0]);
	pass(1);
	ck_assert_uint_eq(latched(0), 1);
	ck_assert(!fixture.lines[0]);
	expect_deadline(1);
	pass(1);
	ck_assert(fixture.lines[0]);
	ck_assert_uint_eq(fixture.rises[0], 2);
	ck_assert_uint_eq(latched(0), 4);
	expect_deadline(4);
	/* Many periods in one leap are one edge. */
	pass(4 * 1000);
	ck_assert_uint_eq(fixture.rises[0], 3);
	ck_assert_uint_eq(latched(0), 4);
	/* A leap that ends with OUT low shows the edge all the same. */
	pass(7);
	ck_assert(!fixture.lines[0]);
	ck_assert_uint_eq(fixture.rises[0], 4);
}
END_TEST

START_TEST(mode_2_new_count_waits_for_the_period)
{
	program(0, 2, 10);
	pass(4);
	out(0, 3);
	out(0, 0);
	ck_assert_uint_eq(status(0) & 0x40, 0x40);
	pass(6);
	ck_assert(!fixture.lines[0]);
	expect_deadline(1);
	pass(1);
	ck_assert_uint_eq(latched(0), 3);
	ck_assert_uint_eq(status(0) & 0x40, 0);
	expect_deadline(3);
}
END_TEST

START_TEST(mode_2_gate)
{
	speaker(1);
	program(2, 2, 6);
	pass(6);
	ck_assert(!level(2));
	speaker(0);
	ck_assert(level(2));
	pass(100);
	ck_assert(level(2));
	speaker(1);
	pass(1);
	ck_assert_uint_eq(latched(2), 6);
	pass(5);
	ck_assert(!level(2));
}
END_TEST

START_TEST(mode_3_even)
{
	program(0, 3, 6);
	expect_deadline(7);
	pass(1);
	ck_assert_uint_eq(latched(0), 6);
	pass(1);
	ck_assert_uint_eq(latched(0), 4);
	pass(1);
	ck_assert(fixture.lines[0]);
	pass(1);
	ck_assert(!fixture.lines[0]);
	ck_assert_uint_eq(latched(0), 6);
	pass(2);
	ck_assert(!fixture.lines[0]);
	pass(1);
	ck_assert(fixture.lines[0]);
	ck_assert_uint_eq(fixture.rises[0], 2);
	expect_deadline(6);
}
END_TEST

START_TEST(mode_3_odd)
{
	program(0, 3, 5);
	pass(1);
	ck_assert_uint_eq(latched(0), 4);
	pass(2);
	ck_assert_uint_eq(latched(0), 0);
	ck_assert(fixture.lines[0]);
	pass(1);
	ck_assert(!fixture.lines[0]);
	ck_assert_uint_eq(latched(0), 4);
	pass(1);
	ck_assert(!fixture.lines[0]);
	pass(1);
	ck_assert(fixture.lines[0]);
	expect_deadline(5);
	pass(5 * 100 + 4);
	ck_assert(!fixture.lines[0]);
	ck_assert_uint_eq(fixture.rises[0], 3);
}
END_TEST

START_TEST(mode_4)
{
	/* As Linux's one-shot tick: OUT is low for one pulse, N + 1 pulses after the write. */
	program(0, 4, 3);
	ck_assert(fixture.lines[0]);
	expect_deadline(5);
	pass(3);
	ck_assert(fixture.lines[0]);
	pass(1);
	ck_assert(!fixture.lines[0]);
	expect_deadline(1);
	pass(1);
	ck_assert(fixture.lines[0]);
	ck_assert_uint_eq(fixture.rises[0], 2);
	ck_assert_uint_eq(i8254_model.deadline(&pit), DEVICE_NO_DEADLINE);
	pass(1000000);
	ck_assert_uint_eq(fixture.rises[0], 2);
	/* In one leap. */
	out(0, 100);
	out(0, 0);
	pass(100000);
	ck_assert_uint_eq(fixture.rises[0], 3);
	/* A new count before the end puts it off. */
	out(0, 100);
	out(0, 0);
	pass(90);
	out(0, 100);
	out(0, 0);
	expect_deadline(102);
}
END_TEST

START_TEST(mode_5)
{
	program(2, 5, 3);
	pass(1000);
	speaker(1);
	pass(3);
	ck_assert(level(2));
	pass(1);
	ck_assert(!level(2));
	pass(1);
	ck_assert(level(2));
	pass(100000);
	ck_assert(level(2));
	speaker(0);
	speaker(1);
	pass(4);
	ck_assert(!level(2));
}
END_TEST

START_TEST(modes_6_and_7)
{
	program(0, 6, 4);
	ck_assert_uint_eq(status(0) & 0x0E, 6 << 1);
	pass(4);
	ck_assert(!fixture.lines[0]);
	pass(1);
	ck_assert(fixture.lines[0]);
	program(0, 7, 4);
	pass(3);
	ck_assert(!fixture.lines[0]);
	pass(1);
	ck_assert(!fixture.lines[0]);
	pass(1);
	ck_assert(fixture.lines[0]);
}
END_TEST

START_TEST(shortest_period)
{
	unsigned mode = (unsigned)_i;

	program(0, mode, 1);
	pass(1);
	expect_deadline(2);
	pass(2);
	ck_assert_uint_eq(fixture.rises[0], 2);
}
END_TEST

START_TEST(bcd)
{
	out(3, 0x31);
	out(0, 0x00);
	out(0, 0x20);
	pass(1);
	ck_assert_uint_eq(latched(0), 0x2000);
	pass(1);
	ck_assert_uint_eq(latched(0), 0x1999);
	pass(1999);
	ck_assert(fixture.lines[0]);
	pass(1);
	ck_assert_uint_eq(latched(0), 0x9999);
	ck_assert_uint_eq(status(0) & 1, 1);
	out(0, 0x53);
	out(0, 0x97);
	expect_deadline(9754);
	/* 0 is 10,000; digits that are none do no harm. */
	out(0, 0);
	out(0, 0);
	expect_deadline(10001);
	out(0, 0xFF);
	out(0, 0xFF);
	pass(100000);
	ck_assert(fixture.lines[0]);
}
END_TEST

START_TEST(one_byte_accesses)
{
	out(3, 0x10 | 2 << 1);
	out(0, 0x34);
	pass(1);
	ck_assert_uint_eq(in(0), 0x34);
	ck_assert_uint_eq(in(0), 0x34);
	out(3, 0x20 | 2 << 1);
	out(0, 0x12);
	pass(1);
	ck_assert_uint_eq(in(0), 0x12);
	expect_deadline(0x1200);
}
END_TEST

START_TEST(latches)
{
	program(0, 2, 1000);
	pass(1);
	out(3, 0x00);
	pass(10);
	/* A second latch command before the count was read is ignored. */
	out(3, 0x00);
	pass(10);
	ck_assert_uint_eq(in(0), 1000 & 0xFF);
	ck_assert_uint_eq(in(0), 1000 >> 8);
	ck_assert_uint_eq(in(0), 980 & 0xFF);
	pass(300);
	ck_assert_uint_eq(in(0), 680 >> 8);
	/* Both bytes are those of the latch, also when the count has borrowed since. */
	program(0, 2, 0x0200);
	pass(1);
	out(3, 0x00);
	pass(1);
	ck_assert_uint_eq(in(0), 0x00);
	ck_assert_uint_eq(in(0), 0x02);
	ck_assert_uint_eq(in(0), 0xFF);
	ck_assert_uint_eq(in(0), 0x01);
	/* With one-byte access one byte is latched. */
	out(3, 0x14);
	out(0, 0x20);
	pass(1);
	out(3, 0x00);
	pass(1);
	ck_assert_uint_eq(in(0), 0x20);
	ck_assert_uint_eq(in(0), 0x1F);
	program(0, 2, 1000);
	pass(321);
	/* Status comes before the count when both are latched. */
	out(3, 0xC2);
	ck_assert_uint_eq(in(0), 0x80 | 0x30 | 2 << 1);
	ck_assert_uint_eq(in(0), 680 & 0xFF);
	ck_assert_uint_eq(in(0), 680 >> 8);
	/* Several channels at once. */
	program(2, 0, 77);
	pass(1);
	out(3, 0xC0 | 0x20 | 0x0A);
	ck_assert_uint_eq(in(0), 0xB4);
	ck_assert_uint_eq(in(2), 0x30);
	/* A control word drops what was latched. */
	out(3, 0x00);
	program(0, 2, 500);
	pass(1);
	ck_assert_uint_eq(in(0), 500 & 0xFF);
}
END_TEST

START_TEST(linux_reads_the_clock)
{
	/* i8253.c: mode 2 with the count of HZ = 250, then latch and read. */
	program(0, 2, 4773);
	for (unsigned i = 0; i < 20000; i++) {
		pass(3);
		unsigned count = latched(0);

		ck_assert_uint_ge(count, 1);
		ck_assert_uint_le(count, 4773);
		ck_assert_uint_eq(count, 4773 - (3 * (i + 1) - 1) % 4773);
	}
}
END_TEST

START_TEST(speaker_port)
{
	unsigned toggles = 0;
	unsigned last = speaker_in() & 0x10;

	speaker(0xFF);
	ck_assert_uint_eq(speaker_in() & 0x0F, 0x0F);
	ck_assert_uint_eq(speaker_in() & 0xC0, 0);
	for (unsigned i = 0; i < 180; i++) {
		pass(1);
		toggles += (speaker_in() & 0x10) != last;
		last = speaker_in() & 0x10;
	}
	ck_assert_uint_eq(toggles, 10);
}
END_TEST

START_TEST(time_does_not_matter_within_a_clock)
{
	program(0, 2, 100);
	uint64_t start = now();

	for (uint64_t t = start; i8254_clocks_at(t) == clock_now; t += 100)
		i8254_model.advance(&pit, t);
	ck_assert_uint_eq(pit.clocks, clock_now);
	/* Time that was seen before changes nothing. */
	i8254_model.advance(&pit, 0);
	ck_assert_uint_eq(pit.clocks, clock_now);
}
END_TEST

/* A periodic mode with nothing in its element would never end. */
START_TEST(periodic_element_is_never_zero)
{
	static const struct fixture_damage damages[] = { { 14, 0 } };
	struct i8254 other = { 0 };

	program(0, (unsigned)_i, 5);
	pass(1);
	fixture_expect_rejected(&i8254_model, &pit, &other, now(), damages, ARRAY_SIZE(damages));
}
END_TEST

START_TEST(a_leap_of_a_century)
{
	program(0, 3, 12345);
	program(1, 2, 18);
	program(2, 0, 3);
	pass(I8254_FREQUENCY * UINT64_C(3155760000));
	ck_assert_uint_eq(fixture.rises[0], 2);
	ck_assert_uint_le(latched(0), 12345);
}
END_TEST

START_TEST(invalid_states)
{
	static const struct fixture_damage damages[] = {
		{ 0, 8 },     /* mode */
		{ 1, 4 },     /* access */
		{ 2, 2 },     /* not a boolean */
		{ 17, 1 },    /* counting element, highest byte */
		{ 23, 3 },    /* latched bytes */
		{ 85, 0x7F }, /* clocks, highest byte: the future */
		{ 86, 0x10 }, /* port 0x61 */
	};
	struct i8254 other = { 0 };

	fixture_expect_rejected(&i8254_model, &pit, &other, now(), damages, ARRAY_SIZE(damages));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("i8254");
	TCase *tests = tcase_create("data sheet");

	tcase_add_checked_fixture(tests, timer_begin, NULL);
	tcase_add_test(tests, nothing_happens_before_programming);
	tcase_add_test(tests, mode_0);
	tcase_add_test(tests, mode_0_zero_is_65536);
	tcase_add_test(tests, mode_0_gate_holds);
	tcase_add_test(tests, mode_1);
	tcase_add_test(tests, mode_2);
	tcase_add_test(tests, mode_2_new_count_waits_for_the_period);
	tcase_add_test(tests, mode_2_gate);
	tcase_add_test(tests, mode_3_even);
	tcase_add_test(tests, mode_3_odd);
	tcase_add_test(tests, mode_4);
	tcase_add_test(tests, mode_5);
	tcase_add_test(tests, modes_6_and_7);
	tcase_add_loop_test(tests, shortest_period, 2, 4);
	tcase_add_test(tests, bcd);
	tcase_add_test(tests, one_byte_accesses);
	tcase_add_test(tests, latches);
	tcase_add_test(tests, linux_reads_the_clock);
	tcase_add_test(tests, speaker_port);
	tcase_add_test(tests, time_does_not_matter_within_a_clock);
	tcase_add_loop_test(tests, periodic_element_is_never_zero, 2, 4);
	tcase_add_test(tests, a_leap_of_a_century);
	tcase_add_test(tests, invalid_states);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
