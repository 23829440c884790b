/* Behaviour from the Motorola MC146818A data sheet. */
#include "devices/mc146818.h"

#include <string.h>
#include <time.h>

#include "tests/unit/fixture.h"

#define SECOND UINT64_C(1000000000)
#define MILLISECOND UINT64_C(1000000)
/* 2024-02-28 23:59:57, a Wednesday */
#define EPOCH INT64_C(1709164797)

static struct fixture fixture;
static struct mc146818 rtc;
static uint64_t now;

static void create(int64_t epoch, uint64_t low_ram, uint64_t high_ram)
{
	fixture_init(&fixture);
	rtc = (struct mc146818){ 0 };
	now = 0;
	mc146818_init(&rtc, &fixture.board, epoch, low_ram, high_ram);
	mc146818_model.reset(&rtc, 0);
}

static void setup(void)
{
	create(EPOCH, UINT64_C(256) << 20, 0);
}

static void pass(uint64_t nanoseconds)
{
	now += nanoseconds;
	mc146818_model.advance(&rtc, now);
}

static unsigned get(unsigned cell)
{
	fixture_write(&mc146818_model, &rtc, MC146818_INDEX, 0, 1, cell, now);
	return (unsigned)fixture_read(&mc146818_model, &rtc, MC146818_DATA, 0, 1, now);
}

static void set(unsigned cell, unsigned value)
{
	fixture_write(&mc146818_model, &rtc, MC146818_INDEX, 0, 1, cell, now);
	fixture_write(&mc146818_model, &rtc, MC146818_DATA, 0, 1, value, now);
}

/* Year with century, month, day, hours, minutes, seconds, as the cells show them in hexadecimal. */
static void expect_time(unsigned year, unsigned date, unsigned time)
{
	ck_assert_uint_eq(get(0x32) << 8 | get(9), year);
	ck_assert_uint_eq(get(8) << 8 | get(7), date);
	ck_assert_uint_eq(get(4) << 16 | get(2) << 8 | get(0), time);
}

START_TEST(starts_at_the_epoch)
{
	expect_time(0x2024, 0x0228, 0x235957);
	ck_assert_uint_eq(get(6), 4);
	ck_assert_uint_eq(get(0x0D), 0x80);
	ck_assert_uint_eq(get(0x0B), 0x02);
	ck_assert_uint_eq(get(0x0A), 0x26);
	/* Bit 7 of the index is the NMI mask and no part of the address; the port reads as ones. */
	ck_assert_uint_eq(get(0x80 | 7), 0x28);
	ck_assert_uint_eq(fixture_read(&mc146818_model, &rtc, MC146818_INDEX, 0, 1, now), 0xFF);
}
END_TEST

START_TEST(time_goes_on)
{
	pass(SECOND - 1);
	expect_time(0x2024, 0x0228, 0x235957);
	pass(1);
	expect_time(0x2024, 0x0228, 0x235958);
	pass(2 * SECOND);
	expect_time(0x2024, 0x0229, 0x000000);
	ck_assert_uint_eq(get(6), 5);
	pass(86400 * SECOND);
	expect_time(0x2024, 0x0301, 0x000000);
	pass(306 * 86400 * SECOND);
	expect_time(0x2025, 0x0101, 0x000000);
}
END_TEST

/* Against the C library's calendar. */
START_TEST(calendar)
{
	uint64_t seed = 3;

	for (unsigned i = 0; i < 20000; i++) {
		time_t t = (time_t)(fixture_random(&seed) % 253402300800U);
		struct tm tm;

		create(t, 0, 0);
		set(0x0B, 0x06); /* binary, 24 hours */
		ck_assert_ptr_nonnull(gmtime_r(&t, &tm));
		ck_assert_uint_eq(get(0x32) * 100 + get(9), (unsigned)tm.tm_year + 1900);
		ck_assert_uint_eq(get(8), (unsigned)tm.tm_mon + 1);
		ck_assert_uint_eq(get(7), (unsigned)tm.tm_mday);
		ck_assert_uint_eq(get(6), (unsigned)tm.tm_wday + 1);
		ck_assert_uint_eq(get(4), (unsigned)tm.tm_hour);
		ck_assert_uint_eq(get(2), (unsigned)tm.tm_min);
		ck_assert_uint_eq(get(0), (unsigned)tm.tm_sec);
		/* Writing back what was read changes nothing. */
		for (unsigned cell = 0; cell < 10; cell++)
			if (cell % 2 == 0 || cell > 6)
				set(cell, get(cell));
		ck_assert_int_eq(rtc.seconds, t);
	}
}
END_TEST

START_TEST(twelve_hours)
{
	static const struct {
		unsigned hour, bcd, binary;
	} cases[] = { { 0, 0x12, 12 },	  { 1, 0x01, 1 },     { 11, 0x11, 11 },
		      { 12, 0x92, 0x8C }, { 13, 0x81, 0x81 }, { 23, 0x91, 0x8B } };

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		create(cases[i].hour * 3600, 0, 0);
		set(0x0B, 0x00);
		ck_assert_uint_eq(get(4), cases[i].bcd);
		set(4, get(4));
		ck_assert_int_eq(rtc.seconds, cases[i].hour * 3600);
		set(0x0B, 0x04);
		ck_assert_uint_eq(get(4), cases[i].binary);
		set(4, get(4));
		ck_assert_int_eq(rtc.seconds, cases[i].hour * 3600);
	}
}
END_TEST

START_TEST(linux_sets_the_time)
{
	pass(300 * MILLISECOND);
	set(0x0B, get(0x0B) | 0x80);
	set(0x0A, get(0x0A) | 0x70);
	set(9, 0x99);
	set(8, 0x12);
	set(7, 0x31);
	set(4, 0x23);
	set(2, 0x59);
	set(0, 0x58);
	set(0x32, 0x19);
	pass(5 * SECOND);
	set(0x0B, get(0x0B) & 0x7F);
	set(0x0A, 0x26);
	expect_time(0x1999, 0x1231, 0x235958);
	/* The first update comes half a second after the divider's release. */
	pass(500 * MILLISECOND - 1);
	expect_time(0x1999, 0x1231, 0x235958);
	pass(1);
	expect_time(0x1999, 0x1231, 0x235959);
	pass(SECOND);
	expect_time(0x2000, 0x0101, 0x000000);
}
END_TEST

START_TEST(set_stops_the_registers)
{
	pass(300 * MILLISECOND);
	set(0x0B, 0x82);
	pass(10 * SECOND);
	expect_time(0x2024, 0x0228, 0x235957);
	ck_assert_uint_eq(get(0x0C) & 0x30, 0);
	set(0, 0x10);
	set(2, 0x20);
	set(0x0B, 0x02);
	expect_time(0x2024, 0x0228, 0x232010);
	/* The seconds' phase went on. */
	pass(700 * MILLISECOND - 1);
	ck_assert_uint_eq(get(0), 0x10);
	pass(1);
	ck_assert_uint_eq(get(0), 0x11);
}
END_TEST

START_TEST(weekday_is_the_guests)
{
	set(6, 1);
	ck_assert_uint_eq(get(6), 1);
	pass(86400 * SECOND);
	ck_assert_uint_eq(get(6), 2);
	pass(6 * 86400 * SECOND);
	ck_assert_uint_eq(get(6), 1);
}
END_TEST

START_TEST(garbage_is_a_time_too)
{
	uint64_t seed = 9;

	for (unsigned i = 0; i < 20000; i++) {
		uint64_t r = fixture_random(&seed);

		set(r & 0x7F, r >> 8 & 0xFF);
		pass(r >> 32);
		(void)get(r >> 16 & 0x7F);
		(void)mc146818_model.deadline(&rtc);
	}
}
END_TEST

START_TEST(update_in_progress)
{
	pass(SECOND - 2228001);
	ck_assert_uint_eq(get(0x0A) & 0x80, 0);
	pass(1);
	ck_assert_uint_eq(get(0x0A) & 0x80, 0x80);
	ck_assert_uint_eq(get(0), 0x57);
	pass(2227999);
	ck_assert_uint_eq(get(0x0A) & 0x80, 0x80);
	pass(1);
	ck_assert_uint_eq(get(0x0A) & 0x80, 0);
	ck_assert_uint_eq(get(0), 0x58);
	/* Not with the registers stopped, nor with the divider held. */
	set(0x0B, 0x82);
	pass(SECOND - 1);
	ck_assert_uint_eq(get(0x0A) & 0x80, 0);
	set(0x0B, 0x02);
	set(0x0A, 0x66);
	pass(10 * SECOND - 1);
	ck_assert_uint_eq(get(0x0A), 0x66);
}
END_TEST

START_TEST(update_interrupt)
{
	pass(SECOND);
	/* The flag does not need the enable; reading C clears it. */
	ck_assert_uint_eq(get(0x0C) & 0x10, 0x10);
	ck_assert_uint_eq(get(0x0C), 0);
	ck_assert(!fixture.lines[8]);
	ck_assert_uint_eq(mc146818_model.deadline(&rtc), DEVICE_NO_DEADLINE);
	set(0x0B, 0x12);
	ck_assert_uint_eq(mc146818_model.deadline(&rtc), 2 * SECOND);
	pass(SECOND - 1);
	ck_assert(!fixture.lines[8]);
	pass(1);
	ck_assert(fixture.lines[8]);
	/* The line is up: no edge is to come. */
	ck_assert_uint_eq(mc146818_model.deadline(&rtc), DEVICE_NO_DEADLINE);
	ck_assert_uint_eq(get(0x0C) & 0xB0, 0x90);
	ck_assert(!fixture.lines[8]);
	/* SET clears the enable. */
	set(0x0B, 0x92);
	ck_assert_uint_eq(get(0x0B), 0x82);
	/* Enabling raises the line for a flag that is set already. */
	set(0x0B, 0x02);
	pass(SECOND);
	set(0x0B, 0x12);
	ck_assert(fixture.lines[8]);
}
END_TEST

START_TEST(periodic_interrupt)
{
	static const unsigned frequencies[16] = { 0,	256,  128, 8192, 4096, 2048, 1024, 512,
						  256, 128, 64,  32,   16,   8,    4,    2 };
	unsigned rate = (unsigned)_i;

	set(0x0A, 0x20 | rate);
	(void)get(0x0C);
	set(0x0B, 0x42);
	if (rate == 0) {
		ck_assert_uint_eq(mc146818_model.deadline(&rtc), DEVICE_NO_DEADLINE);
		pass(10 * SECOND);
		ck_assert_uint_eq(get(0x0C) & 0x40, 0);
		return;
	}
	for (unsigned i = 0; i < frequencies[rate]; i++) {
		uint64_t deadline = mc146818_model.deadline(&rtc);

		ck_assert_uint_le(deadline, SECOND);
		pass(deadline - now - 1);
		ck_assert(!fixture.lines[8]);
		pass(1);
		ck_assert(fixture.lines[8]);
		ck_assert_uint_eq(get(0x0C) & 0xC0, 0xC0);
	}
	ck_assert_uint_eq(now, SECOND);
}
END_TEST

START_TEST(alarm)
{
	set(5, 0x00);
	set(3, 0x00);
	set(1, 0x05);
	set(0x0B, 0x22);
	ck_assert_uint_eq(mc146818_model.deadline(&rtc), 8 * SECOND);
	pass(8 * SECOND - 1);
	ck_assert(!fixture.lines[8]);
	ck_assert_uint_eq(get(0x0C) & 0x20, 0);
	pass(1);
	ck_assert(fixture.lines[8]);
	ck_assert_uint_eq(get(0x0C), 0xF0); /* with UF and PF */
	ck_assert_uint_eq(mc146818_model.deadline(&rtc), (8 + 86400) * SECOND);
	/* A leap over it finds it. */
	pass(100 * 86400 * SECOND);
	ck_assert_uint_eq(get(0x0C) & 0x20, 0x20);
}
END_TEST

START_TEST(alarm_wildcards)
{
	set(5, 0xFF);
	set(3, 0xC0);
	set(1, 0x30);
	set(0x0B, 0x22);
	ck_assert_uint_eq(mc146818_model.deadline(&rtc), 33 * SECOND);
	set(1, 0xFF);
	ck_assert_uint_eq(mc146818_model.deadline(&rtc), SECOND);
	set(3, 0x59);
	set(5, 0x22);
	ck_assert_uint_eq(mc146818_model.deadline(&rtc), (2 + 1 + 22 * 3600 + 59 * 60) * SECOND);
	/* What no clock shows never comes. */
	set(3, 0x60);
	ck_assert_uint_eq(mc146818_model.deadline(&rtc), DEVICE_NO_DEADLINE);
	pass(3 * 86400 * SECOND);
	ck_assert_uint_eq(get(0x0C) & 0x20, 0);
}
END_TEST

/* The search for the next alarm, against looking at every second. */
START_TEST(alarm_search)
{
	uint64_t seed = 11;

	for (unsigned i = 0; i < 60; i++) {
		uint64_t r = fixture_random(&seed);

		create((int64_t)(r >> 40), 0, 0);
		set(0x0B, 0x26);
		set(1, r & 1 ? 0xFF : (unsigned)(r >> 1 & 63));
		set(3, r & 128 ? 0xFF : (unsigned)(r >> 8 & 63));
		set(5, r & 1 << 14 ? 0xFF : (unsigned)(r >> 15 & 31));

		uint64_t expected = DEVICE_NO_DEADLINE;

		for (int64_t t = (int64_t)(r >> 40) + 1; t <= (int64_t)(r >> 40) + 86400; t++) {
			unsigned s = (unsigned)(t % 60), m = (unsigned)(t / 60 % 60);
			unsigned h = (unsigned)(t / 3600 % 24);

			if ((get(1) == 0xFF || get(1) == s) && (get(3) == 0xFF || get(3) == m) &&
			    (get(5) == 0xFF || get(5) == h)) {
				expected = (uint64_t)(t - (int64_t)(r >> 40)) * SECOND;
				break;
			}
		}
		ck_assert_uint_eq(mc146818_model.deadline(&rtc), expected);
	}
}
END_TEST

static unsigned cells(unsigned cell, unsigned count)
{
	unsigned value = 0;

	for (unsigned i = count; i-- > 0;)
		value = value << 8 | get(cell + i);
	return value;
}

START_TEST(memory_size)
{
	const uint64_t mib = 1 << 20;
	unsigned sum = 0;

	create(0, 8 * mib, 0);
	ck_assert_uint_eq(cells(0x15, 2), 640);
	ck_assert_uint_eq(cells(0x17, 2), 7 * 1024);
	ck_assert_uint_eq(cells(0x30, 2), 7 * 1024);
	ck_assert_uint_eq(cells(0x34, 2), 0);
	create(0, 3072 * mib, 5120 * mib);
	ck_assert_uint_eq(cells(0x17, 2), 0xFFFF);
	ck_assert_uint_eq(cells(0x34, 2), (3072 - 16) * 16);
	ck_assert_uint_eq(cells(0x5B, 3), 5120 * 16);
	for (unsigned cell = 0x10; cell <= 0x2D; cell++)
		sum += get(cell);
	ck_assert_uint_eq(get(0x2E) << 8 | get(0x2F), sum);
	/* They are memory, and a reset keeps them and the time. */
	set(0x40, 0x5A);
	set(0x0B, 0x72);
	pass(SECOND);
	mc146818_model.reset(&rtc, now);
	ck_assert_uint_eq(get(0x40), 0x5A);
	ck_assert_uint_eq(get(0x0B), 0x02);
	ck_assert_uint_eq(get(0x0C), 0);
	ck_assert_uint_eq(get(0), 0x01);
	ck_assert(!fixture.lines[8]);
}
END_TEST

static unsigned rises_on(const struct fixture *board, unsigned line)
{
	return board->rises[line];
}

START_TEST(leaps_equal_steps)
{
	static struct fixture other_fixture;
	struct mc146818 other = { 0 };
	uint64_t seed = (uint64_t)_i + 1;

	fixture_init(&other_fixture);
	mc146818_init(&other, &other_fixture.board, 0, 0, 0);
	for (unsigned i = 0; i < 400; i++) {
		uint64_t r = fixture_random(&seed);
		unsigned cell = r >> 8 & 0xF;
		uint64_t step = UINT64_C(1) << (10 + (r >> 24 & 15));
		uint64_t length = step * (r >> 32 & 0xFF);

		if (cell == 0x0A)
			set(cell, (r >> 16 & 3 ? 0x20U : 0x60U) | (unsigned)(r >> 40 & 15));
		else
			set(cell, r >> 16 & 0x7F);
		(void)get(r >> 12 & 0xF);
		fixture_copy_state(&mc146818_model, &rtc, &other, now);

		uint64_t deadline = mc146818_model.deadline(&rtc);
		bool was_up = fixture.lines[8];

		memcpy(other_fixture.lines, fixture.lines, sizeof(fixture.lines));
		for (uint64_t at = 0; at < length; at += step) {
			unsigned rises = rises_on(&other_fixture, 8);

			mc146818_model.advance(&other, now + at + step);
			if (!was_up && rises_on(&other_fixture, 8) > rises) {
				ck_assert_uint_le(deadline, now + at + step);
				ck_assert_uint_gt(deadline, now + at);
			}
		}
		pass(length);
		ck_assert_int_eq(fixture.lines[8], other_fixture.lines[8]);
		ck_assert_mem_eq(rtc.cells, other.cells, sizeof(rtc.cells));
		ck_assert_int_eq(rtc.seconds, other.seconds);
		ck_assert_uint_eq(rtc.next_update, other.next_update);
		ck_assert_uint_eq(rtc.synced, other.synced);
	}
	fixture_hostile_states(&mc146818_model, &rtc, &other, now);
}
END_TEST

START_TEST(invalid_states)
{
	static const struct fixture_damage damages[] = {
		{ 0, MC146818_CELLS },
		{ 1 + 0x0A, 0xA6 }, /* UIP is not kept */
		{ 1 + 0x0A, 0x66 }, /* divider held, and yet an update to come */
		{ 1 + 0x0C, 0x01 }, /* flag that is none */
		{ 129, 7 },	    /* weekday */
		{ 137, 0x7F },	    /* seconds, highest byte */
		{ 137, 0x80 },
		{ 145, 1 },   /* next update, highest byte: beyond the second */
		{ 153, 0x7F }, /* synchronised in the future */
	};
	struct mc146818 other = { 0 };

	fixture_expect_rejected(&mc146818_model, &rtc, &other, now, damages, ARRAY_SIZE(damages));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mc146818");
	TCase *tests = tcase_create("data sheet");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, starts_at_the_epoch);
	tcase_add_test(tests, time_goes_on);
	tcase_add_test(tests, calendar);
	tcase_add_test(tests, twelve_hours);
	tcase_add_test(tests, linux_sets_the_time);
	tcase_add_test(tests, set_stops_the_registers);
	tcase_add_test(tests, weekday_is_the_guests);
	tcase_add_test(tests, garbage_is_a_time_too);
	tcase_add_test(tests, update_in_progress);
	tcase_add_test(tests, update_interrupt);
	tcase_add_loop_test(tests, periodic_interrupt, 0, 16);
	tcase_add_test(tests, alarm);
	tcase_add_test(tests, alarm_wildcards);
	tcase_add_test(tests, alarm_search);
	tcase_add_test(tests, memory_size);
	tcase_add_loop_test(tests, leaps_equal_steps, 0, 20);
	tcase_add_test(tests, invalid_states);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
