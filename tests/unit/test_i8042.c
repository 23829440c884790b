#include "devices/i8042.h"

#include "tests/unit/fixture.h"

static struct fixture fixture;
static struct i8042 controller;

static void setup(void)
{
	fixture_init(&fixture);
	controller = (struct i8042){ 0 };
	i8042_init(&controller, &fixture.board);
	i8042_model.reset(&controller, 0);
}

static void command(unsigned value)
{
	fixture_write(&i8042_model, &controller, I8042_COMMAND, 0, 1, value, 0);
}

static void data(unsigned value)
{
	fixture_write(&i8042_model, &controller, I8042_DATA, 0, 1, value, 0);
}

static unsigned status(void)
{
	return (unsigned)fixture_read(&i8042_model, &controller, I8042_COMMAND, 0, 1, 0);
}

static unsigned answer(void)
{
	return (unsigned)fixture_read(&i8042_model, &controller, I8042_DATA, 0, 1, 0);
}

START_TEST(reset_pulse)
{
	command(0xFF); /* pulses nothing */
	command(0xF1);
	ck_assert_uint_eq(fixture.requests, 0);
	command(0xFE);
	ck_assert_uint_eq(fixture.requests, 1);
	ck_assert_int_eq(fixture.request, BOARD_REQUEST_RESET);
	/* The input buffer is never full: who waits for that goes on at once. */
	ck_assert_uint_eq(status() & 0x02, 0);
}
END_TEST

START_TEST(reset_by_output_port)
{
	command(0xD1);
	data(0xDF);
	ck_assert_uint_eq(fixture.requests, 0);
	command(0xD0);
	ck_assert_uint_eq(answer() & 0x03, 0x03);
	command(0xD1);
	data(0xFE);
	ck_assert_int_eq(fixture.request, BOARD_REQUEST_RESET);
	ck_assert_uint_eq(fixture.requests, 1);
}
END_TEST

START_TEST(linux_probes)
{
	/* i8042_flush, then the self-test and the interface test. */
	ck_assert_uint_eq(status() & 0x01, 0);
	command(0xAA);
	ck_assert_uint_eq(status() & 0x21, 0x01);
	ck_assert_uint_eq(answer(), 0x55);
	ck_assert_uint_eq(status() & 0x01, 0);
	command(0xAB);
	ck_assert_uint_eq(answer(), 0x00);
	command(0x20);
	ck_assert_uint_eq(answer(), 0x34);
	command(0x60);
	data(0x47);
	command(0x20);
	ck_assert_uint_eq(answer(), 0x47);
	/* i8042_check_aux: what is sent through the loop comes back from the auxiliary port. */
	command(0x60);
	data(0x34);
	command(0xD3);
	data(0x5A);
	ck_assert_uint_eq(status() & 0x21, 0x21);
	ck_assert_uint_eq(answer(), 0x5A);
	command(0xA7);
	command(0x20);
	ck_assert_uint_eq(answer() & 0x20, 0x20);
	command(0xA8);
	command(0x20);
	ck_assert_uint_eq(answer() & 0x20, 0);
	command(0xA9);
	ck_assert_uint_eq(answer(), 0);
}
END_TEST

START_TEST(status_and_interfaces)
{
	ck_assert_uint_eq(status(), 0x14);
	command(0xAE);
	ck_assert_uint_eq(status(), 0x1C);
	command(0x20);
	ck_assert_uint_eq(answer(), 0x24);
	command(0xAD);
	command(0x20);
	ck_assert_uint_eq(answer(), 0x34);
	command(0xC0);
	ck_assert_uint_eq(answer(), 0xA0);
	command(0x60);
	data(0x30);
	/* A data byte clears the command flag, and the mode's system flag shows in the status. */
	ck_assert_uint_eq(status(), 0x10);
	command(0x55); /* unknown: ignored */
	ck_assert_uint_eq(status(), 0x18);
}
END_TEST

START_TEST(nothing_is_plugged_in)
{
	data(0xF2);
	ck_assert_uint_eq(status() & 0x61, 0x41);
	ck_assert_uint_eq(answer(), 0xFE);
	command(0xD4);
	data(0xF2);
	ck_assert_uint_eq(status() & 0x61, 0x61);
	ck_assert_uint_eq(answer(), 0xFE);
	ck_assert_uint_eq(status() & 0x61, 0);
}
END_TEST

START_TEST(interrupts)
{
	command(0xAA);
	ck_assert(!fixture.lines[1]);
	(void)answer();
	command(0x60);
	data(0x03);
	command(0xD2);
	data('k');
	ck_assert(fixture.lines[1]);
	ck_assert(!fixture.lines[12]);
	ck_assert_uint_eq(answer(), 'k');
	ck_assert(!fixture.lines[1]);
	command(0xD3);
	data('m');
	ck_assert(fixture.lines[12]);
	ck_assert(!fixture.lines[1]);
	(void)answer();
	ck_assert(!fixture.lines[12]);
}
END_TEST

START_TEST(state)
{
	struct i8042 other = { 0 };
	uint64_t seed = 5;

	i8042_init(&other, &fixture.board);
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t r = fixture_random(&seed);

		switch (r >> 62) {
		case 0:
			command(r & 0xFF);
			break;
		case 1:
			data(r & 0xFF);
			break;
		case 2:
			(void)answer();
			break;
		default:
			(void)status();
			break;
		}
		fixture_copy_state(&i8042_model, &controller, &other, 0);
		ck_assert_mem_eq(&controller, &other, sizeof(controller));
	}
	fixture_hostile_states(&i8042_model, &controller, &other, 0);
}
END_TEST

START_TEST(invalid_states)
{
	static const struct fixture_damage damages[] = {
		{ 0, 0x96 }, /* status */
		{ 1, 0xB4 }, /* mode */
		{ 4, 0x07 }, /* output port */
	};
	struct i8042 other = { 0 };

	fixture_expect_rejected(&i8042_model, &controller, &other, 0, damages, ARRAY_SIZE(damages));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("i8042");
	TCase *tests = tcase_create("controller");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, reset_pulse);
	tcase_add_test(tests, reset_by_output_port);
	tcase_add_test(tests, linux_probes);
	tcase_add_test(tests, status_and_interfaces);
	tcase_add_test(tests, nothing_is_plugged_in);
	tcase_add_test(tests, interrupts);
	tcase_add_test(tests, state);
	tcase_add_test(tests, invalid_states);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
