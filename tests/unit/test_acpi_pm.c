#include "devices/acpi_pm.h"

#include "tests/unit/fixture.h"

#define SECOND UINT64_C(1000000000)
/* ns at which the timer has gone half-way round: ceil(2^31 / 3579545 Hz). */
#define HALF_PERIOD UINT64_C(599932015941)

static struct fixture fixture;
static struct acpi_pm pm;
static uint64_t now;

static void setup(void)
{
	fixture_init(&fixture);
	pm = (struct acpi_pm){ 0 };
	now = 0;
	acpi_pm_init(&pm, &fixture.board);
	acpi_pm_model.reset(&pm, 0);
}

static void out(unsigned region, unsigned offset, unsigned size, uint64_t value)
{
	fixture_write(&acpi_pm_model, &pm, region, offset, size, value, now);
}

static uint64_t in(unsigned region, unsigned offset, unsigned size)
{
	return fixture_read(&acpi_pm_model, &pm, region, offset, size, now);
}

START_TEST(timer_counts)
{
	ck_assert_uint_eq(in(ACPI_PM_TIMER, 0, 4), 0);
	now = 279;
	ck_assert_uint_eq(in(ACPI_PM_TIMER, 0, 4), 0);
	now = 280;
	ck_assert_uint_eq(in(ACPI_PM_TIMER, 0, 4), 1);
	now = SECOND;
	ck_assert_uint_eq(in(ACPI_PM_TIMER, 0, 4), 3579545);
	ck_assert_uint_eq(in(ACPI_PM_TIMER, 1, 1), 3579545 >> 8 & 0xFF);
	ck_assert_uint_eq(in(ACPI_PM_TIMER, 2, 2), 3579545 >> 16);
	/* It is 32 bits wide. */
	now = 1200 * SECOND;
	ck_assert_uint_eq(in(ACPI_PM_TIMER, 0, 4), (UINT64_C(3579545) * 1200) & 0xFFFFFFFF);
	out(ACPI_PM_TIMER, 0, 4, 0);
	ck_assert_uint_eq(in(ACPI_PM_TIMER, 0, 4), (UINT64_C(3579545) * 1200) & 0xFFFFFFFF);
}
END_TEST

START_TEST(timer_status)
{
	ck_assert_uint_eq(acpi_pm_model.deadline(&pm), DEVICE_NO_DEADLINE);
	out(ACPI_PM_EVENT, 2, 2, 0x0001);
	ck_assert_uint_eq(acpi_pm_model.deadline(&pm), HALF_PERIOD);
	acpi_pm_model.advance(&pm, HALF_PERIOD - 1);
	ck_assert(!fixture.lines[9]);
	acpi_pm_model.advance(&pm, now = HALF_PERIOD);
	ck_assert(fixture.lines[9]);
	ck_assert_uint_eq(acpi_pm_model.deadline(&pm), DEVICE_NO_DEADLINE);
	ck_assert_uint_eq(in(ACPI_PM_EVENT, 0, 2), 0x0001);
	out(ACPI_PM_EVENT, 0, 2, 0x0001);
	ck_assert(!fixture.lines[9]);
	ck_assert_uint_eq(in(ACPI_PM_EVENT, 0, 2), 0);
	ck_assert_uint_gt(acpi_pm_model.deadline(&pm), HALF_PERIOD);
	/* Bits that are not there stay 0. */
	out(ACPI_PM_EVENT, 2, 2, 0xFFFF);
	ck_assert_uint_eq(in(ACPI_PM_EVENT, 2, 2), 0x0121);
}
END_TEST

START_TEST(power_button)
{
	acpi_pm_power_button(&pm);
	/* Without the enable there is a status and no interrupt. */
	ck_assert_uint_eq(in(ACPI_PM_EVENT, 0, 2), 0x0100);
	ck_assert(!fixture.lines[9]);
	out(ACPI_PM_EVENT, 2, 2, 0x0100);
	ck_assert(fixture.lines[9]);
	/* Another bit's ones do not clear it. */
	out(ACPI_PM_EVENT, 0, 2, 0xFEFF);
	ck_assert(fixture.lines[9]);
	out(ACPI_PM_EVENT, 1, 1, 0x01);
	ck_assert(!fixture.lines[9]);
	acpi_pm_power_button(&pm);
	ck_assert(fixture.lines[9]);
	/* Both registers in one access. */
	ck_assert_uint_eq(in(ACPI_PM_EVENT, 0, 4), 0x01000100);
	out(ACPI_PM_EVENT, 0, 4, 0x00000100);
	ck_assert_uint_eq(in(ACPI_PM_EVENT, 0, 4), 0);
	/* A byte of the enable register leaves the other alone. */
	out(ACPI_PM_EVENT, 2, 2, 0x0121);
	out(ACPI_PM_EVENT, 2, 1, 0x00);
	ck_assert_uint_eq(in(ACPI_PM_EVENT, 2, 2), 0x0100);
}
END_TEST

START_TEST(always_in_acpi_mode)
{
	ck_assert_uint_eq(in(ACPI_PM_CONTROL, 0, 2), 0x0001);
	out(ACPI_PM_CONTROL, 0, 2, 0);
	ck_assert_uint_eq(in(ACPI_PM_CONTROL, 0, 2), 0x0001);
}
END_TEST

START_TEST(soft_off)
{
	unsigned type = (unsigned)_i;

	/* As ACPICA does it: first the type, then the type with SLP_EN. */
	out(ACPI_PM_CONTROL, 0, 2, type << 10);
	ck_assert_uint_eq(fixture.requests, 0);
	ck_assert_uint_eq(in(ACPI_PM_CONTROL, 0, 2), type << 10 | 1);
	out(ACPI_PM_CONTROL, 0, 2, type << 10 | 1 << 13);
	ck_assert_uint_eq(fixture.requests, type == ACPI_PM_SLEEP_TYPE_S5);
	if (type == ACPI_PM_SLEEP_TYPE_S5)
		ck_assert_int_eq(fixture.request, BOARD_REQUEST_POWER_OFF);
	/* SLP_EN reads as 0. */
	ck_assert_uint_eq(in(ACPI_PM_CONTROL, 0, 2), type << 10 | 1);
}
END_TEST

START_TEST(reset)
{
	out(ACPI_PM_EVENT, 2, 2, 0x0100);
	acpi_pm_power_button(&pm);
	now = SECOND;
	acpi_pm_model.reset(&pm, now);
	ck_assert(!fixture.lines[9]);
	ck_assert_uint_eq(in(ACPI_PM_EVENT, 0, 4), 0);
	ck_assert_uint_eq(in(ACPI_PM_TIMER, 0, 4), 3579545);
}
END_TEST

START_TEST(state)
{
	struct acpi_pm other = { 0 };
	uint64_t seed = 5;
	static const uint8_t lengths[3] = { 4, 2, 4 };

	acpi_pm_init(&other, &fixture.board);
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t r = fixture_random(&seed);
		unsigned region = (unsigned)(r & 0xFF) % 3;
		unsigned size = 1U << (r >> 8 & 1);
		unsigned offset = (unsigned)(r >> 16 & 0xF) * size % lengths[region];

		now += r >> 34;
		acpi_pm_model.advance(&pm, now);
		if (r >> 32 & 1)
			out(region, offset, size, r >> 40);
		else
			(void)in(region, offset, size);
		if (r >> 33 & 1)
			acpi_pm_power_button(&pm);
		fixture_copy_state(&acpi_pm_model, &pm, &other, now);
		ck_assert_mem_eq(&pm, &other, sizeof(pm));
	}
	fixture_hostile_states(&acpi_pm_model, &pm, &other, now);
}
END_TEST

START_TEST(invalid_states)
{
	static const struct fixture_damage damages[] = {
		{ 0, 0x02 },  /* status */
		{ 2, 0x02 },  /* enable */
		{ 4, 0x01 },  /* control */
		{ 13, 0x7F }, /* ticks, highest byte: the future */
	};
	struct acpi_pm other = { 0 };

	fixture_expect_rejected(&acpi_pm_model, &pm, &other, now, damages, ARRAY_SIZE(damages));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("acpi_pm");
	TCase *tests = tcase_create("specification");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, timer_counts);
	tcase_add_test(tests, timer_status);
	tcase_add_test(tests, power_button);
	tcase_add_test(tests, always_in_acpi_mode);
	tcase_add_loop_test(tests, soft_off, 0, 8);
	tcase_add_test(tests, reset);
	tcase_add_test(tests, state);
	tcase_add_test(tests, invalid_states);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
