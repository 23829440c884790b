#include "devices/reset_control.h"

#include "tests/unit/fixture.h"

static struct fixture fixture;
static struct reset_control control;

static void setup(void)
{
	fixture_init(&fixture);
	control = (struct reset_control){ 0 };
	reset_control_init(&control, &fixture.board);
	reset_control_model.reset(&control, 0);
}

static void out(unsigned region, unsigned offset, unsigned size, uint64_t value)
{
	fixture_write(&reset_control_model, &control, region, offset, size, value, 0);
}

static uint64_t in(unsigned region, unsigned offset, unsigned size)
{
	return fixture_read(&reset_control_model, &control, region, offset, size, 0);
}

START_TEST(linux_resets)
{
	/* native_machine_emergency_restart, BOOT_CF9_FORCE. */
	uint64_t value = in(RESET_CONTROL_PCI, 1, 1) & ~UINT64_C(0x0E);

	out(RESET_CONTROL_PCI, 1, 1, value | 2);
	ck_assert_uint_eq(fixture.requests, 0);
	out(RESET_CONTROL_PCI, 1, 1, value | 0x0E);
	ck_assert_uint_eq(fixture.requests, 1);
	ck_assert_int_eq(fixture.request, BOARD_REQUEST_RESET);
	/* The bit has to rise. */
	out(RESET_CONTROL_PCI, 1, 1, 0x0E);
	ck_assert_uint_eq(fixture.requests, 1);
	ck_assert_uint_eq(in(RESET_CONTROL_PCI, 1, 1), 0x0E);
}
END_TEST

START_TEST(value_of_the_fadt)
{
	out(RESET_CONTROL_PCI, 1, 1, RESET_CONTROL_FULL_RESET);
	ck_assert_int_eq(fixture.request, BOARD_REQUEST_RESET);
}
END_TEST

START_TEST(no_pci)
{
	/* Mechanism 1: an address register that does not read back. The address has 0x06 in its second byte. */
	out(RESET_CONTROL_PCI, 0, 4, 0x80000600);
	ck_assert_uint_eq(in(RESET_CONTROL_PCI, 0, 4), 0xFFFFFFFF);
	ck_assert_uint_eq(in(RESET_CONTROL_PCI, 4, 4), 0xFFFFFFFF);
	out(RESET_CONTROL_PCI, 0, 2, 0x0600);
	ck_assert_uint_eq(in(RESET_CONTROL_PCI, 0, 2), 0xFFFF);
	/* Mechanism 2. */
	out(RESET_CONTROL_PCI, 3, 1, 0);
	out(RESET_CONTROL_PCI, 0, 1, 0);
	out(RESET_CONTROL_PCI, 2, 1, 0);
	ck_assert_uint_eq(in(RESET_CONTROL_PCI, 0, 1), 0xFF);
	ck_assert_uint_eq(in(RESET_CONTROL_PCI, 2, 1), 0xFF);
	ck_assert_uint_eq(fixture.requests, 0);
}
END_TEST

START_TEST(port_92)
{
	ck_assert_uint_eq(in(RESET_CONTROL_FAST, 0, 1), 0x02);
	out(RESET_CONTROL_FAST, 0, 1, 0xFC);
	ck_assert_uint_eq(in(RESET_CONTROL_FAST, 0, 1), 0);
	ck_assert_uint_eq(fixture.requests, 0);
	out(RESET_CONTROL_FAST, 0, 1, 0x03);
	out(RESET_CONTROL_FAST, 0, 1, 0x03);
	ck_assert_uint_eq(fixture.requests, 1);
	ck_assert_int_eq(fixture.request, BOARD_REQUEST_RESET);
}
END_TEST

START_TEST(state)
{
	struct reset_control other = { 0 };

	reset_control_init(&other, &fixture.board);
	out(RESET_CONTROL_FAST, 0, 1, 0x01);
	out(RESET_CONTROL_PCI, 1, 1, 0x0A);
	fixture_copy_state(&reset_control_model, &control, &other, 0);
	ck_assert_mem_eq(&control, &other, sizeof(control));
	fixture_hostile_states(&reset_control_model, &control, &other, 0);
}
END_TEST

START_TEST(invalid_states)
{
	static const struct fixture_damage damages[] = {
		{ 0, 0x04 },
		{ 1, 0x01 },
	};
	struct reset_control other = { 0 };

	fixture_expect_rejected(&reset_control_model, &control, &other, 0, damages, ARRAY_SIZE(damages));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("reset_control");
	TCase *tests = tcase_create("registers");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, linux_resets);
	tcase_add_test(tests, value_of_the_fadt);
	tcase_add_test(tests, no_pci);
	tcase_add_test(tests, port_92);
	tcase_add_test(tests, state);
	tcase_add_test(tests, invalid_states);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
