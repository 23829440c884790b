/* The closed forms of the interval timer, against the same timer moved clock by clock. */
#include "tests/unit/timer.h"

#include <string.h>

START_TEST(clock_arithmetic)
{
	uint64_t seed = 7;

	ck_assert_uint_eq(i8254_clocks_at(0), 0);
	ck_assert_uint_eq(i8254_clocks_at(1000000000), I8254_FREQUENCY);
	ck_assert_uint_eq(i8254_time_of(I8254_FREQUENCY), 1000000000);
	for (unsigned i = 0; i < 100000; i++) {
		uint64_t clocks = fixture_random(&seed) >> (11 + fixture_random(&seed) % 50);
		uint64_t time = i8254_time_of(clocks);

		ck_assert_uint_eq(i8254_clocks_at(time), clocks);
		if (time > 0)
			ck_assert_uint_lt(i8254_clocks_at(time - 1), clocks + (clocks == 0));
	}
	ck_assert_uint_eq(i8254_time_of(UINT64_MAX), DEVICE_NO_DEADLINE);
}
END_TEST

/* A leap is as good as its clocks one by one: state, and whether there was an edge. */
START_TEST(leaps_equal_steps)
{
	uint64_t seed = (uint64_t)_i + 1;
	static struct fixture other_fixture;
	struct i8254 other = { 0 };

	fixture_init(&other_fixture);
	i8254_init(&other, &other_fixture.board);
	for (unsigned i = 0; i < 1500; i++) {
		uint64_t r = fixture_random(&seed);
		unsigned port = r >> 8 & 3;
		unsigned value = r >> 16 & 0xFF;

		fixture_copy_state(&i8254_model, &pit, &other, now());
		memcpy(other_fixture.lines, fixture.lines, sizeof(fixture.lines));
		memcpy(other_fixture.rises, fixture.rises, sizeof(fixture.rises));
		switch (r & 7) {
		case 0:
			/* Short counts, so that something happens. */
			program(port % 3, r >> 12 & 7, r >> 20 & 0x1F);
			break;
		case 1:
			out(port, value);
			break;
		case 2:
			(void)in(port);
			break;
		case 3:
			speaker(value & 1);
			break;
		default: {
			uint64_t clocks = value % 60;
			uint64_t deadline = i8254_model.deadline(&pit);
			unsigned rises = fixture.rises[0];
			uint64_t first_rise = DEVICE_NO_DEADLINE;

			for (uint64_t c = 1; c <= clocks; c++) {
				i8254_model.advance(&other, i8254_time_of(clock_now + c));
				if (other_fixture.rises[0] > rises && first_rise == DEVICE_NO_DEADLINE)
					first_rise = i8254_time_of(clock_now + c);
			}
			pass(clocks);
			ck_assert_int_eq(fixture.rises[0] > rises, other_fixture.rises[0] > rises);
			ck_assert_int_eq(fixture.lines[0], other_fixture.lines[0]);
			/* The deadline is the first edge. */
			if (first_rise != DEVICE_NO_DEADLINE)
				ck_assert_uint_eq(first_rise, deadline);
			else
				ck_assert_uint_gt(deadline, now());
			uint8_t a[256], b[256];
			struct bytes_writer wa = bytes_writer_over(a, sizeof(a));
			struct bytes_writer wb = bytes_writer_over(b, sizeof(b));

			i8254_model.save(&pit, &wa);
			i8254_model.save(&other, &wb);
			ck_assert_uint_eq(wa.used, wb.used);
			ck_assert_mem_eq(a, b, wa.used);
			break;
		}
		}
	}
	fixture_hostile_states(&i8254_model, &pit, &other, now());
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("i8254_leaps");
	TCase *tests = tcase_create("leaps");

	tcase_add_checked_fixture(tests, timer_begin, NULL);
	tcase_add_test(tests, clock_arithmetic);
	tcase_add_loop_test(tests, leaps_equal_steps, 0, 40);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
