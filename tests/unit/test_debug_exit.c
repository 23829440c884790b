#include "devices/debug_exit.h"

#include "tests/unit/fixture.h"

static struct fixture fixture;
static struct debug_exit port;

static void setup(void)
{
	fixture_init(&fixture);
	port = (struct debug_exit){ 0 };
	debug_exit_init(&port, &fixture.board);
	debug_exit_model.reset(&port, 0);
}

static void out(unsigned region, unsigned offset, unsigned size, uint64_t value)
{
	fixture_write(&debug_exit_model, &port, region, offset, size, value, 0);
}

static uint64_t in(unsigned region, unsigned offset, unsigned size)
{
	return fixture_read(&debug_exit_model, &port, region, offset, size, 0);
}

START_TEST(exit_status)
{
	out(DEBUG_EXIT_STATUS, 0, 4, 0x12345678);
	ck_assert_int_eq(fixture.request, BOARD_REQUEST_EXIT);
	ck_assert_uint_eq(fixture.argument, 0x12345678);
	out(DEBUG_EXIT_STATUS, 0, 1, 3);
	ck_assert_uint_eq(fixture.argument, 3);
	out(DEBUG_EXIT_STATUS, 0, 2, 0x102);
	ck_assert_uint_eq(fixture.argument, 0x102);
	ck_assert_uint_eq(fixture.requests, 3);
	out(DEBUG_EXIT_STATUS, 1, 1, 9);
	ck_assert_uint_eq(fixture.requests, 3);
	ck_assert_uint_eq(in(DEBUG_EXIT_STATUS, 0, 4), 0xFFFFFFFF);
}
END_TEST

START_TEST(post_codes)
{
	ck_assert_uint_eq(in(DEBUG_EXIT_POST, 0, 4), 0);
	out(DEBUG_EXIT_POST, 0, 4, 0x44332211);
	out(DEBUG_EXIT_POST, 1, 1, 0xAA);
	ck_assert_uint_eq(in(DEBUG_EXIT_POST, 0, 4), 0x4433AA11);
	out(DEBUG_EXIT_POST, 2, 2, 0xBBCC);
	ck_assert_uint_eq(in(DEBUG_EXIT_POST, 0, 4), 0xBBCCAA11);
	ck_assert_uint_eq(in(DEBUG_EXIT_POST, 0, 1), 0x11);
	ck_assert_uint_eq(in(DEBUG_EXIT_POST, 3, 1), 0xBB);
	ck_assert_uint_eq(fixture.requests, 0);
}
END_TEST

START_TEST(state)
{
	struct debug_exit other = { 0 };

	debug_exit_init(&other, &fixture.board);
	out(DEBUG_EXIT_POST, 0, 4, 0x44332211);
	fixture_copy_state(&debug_exit_model, &port, &other, 0);
	ck_assert_mem_eq(&port, &other, sizeof(port));
	fixture_hostile_states(&debug_exit_model, &port, &other, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("debug_exit");
	TCase *tests = tcase_create("ports");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, exit_status);
	tcase_add_test(tests, post_codes);
	tcase_add_test(tests, state);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
