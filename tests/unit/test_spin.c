/* A guest that spins, and those that only look like it. */
#include "tests/unit/fixture.h"

#include "lockstep/spin.h"

static struct spin spin;
static uint64_t gpr[GPR_COUNT];

static void setup(void)
{
	for (unsigned i = 0; i < GPR_COUNT; i++)
		gpr[i] = 1000 + i;
	spin_begin(&spin);
}

/* So many looks, each `apart` bytes from the last, with so many registers that move. */
static void look(unsigned count, uint64_t apart, unsigned moving)
{
	for (unsigned n = 0; n < count; n++) {
		for (unsigned i = 0; i < moving; i++)
			gpr[GPR_COUNT - 1 - i]++;
		spin_look(&spin, 0xFFFFFFFF81000000 + n * apart, gpr);
	}
}

START_TEST(waits)
{
	look(SPIN_LOOKS - 1, 0, 0);
	ck_assert(!spin_seen(&spin));
	look(1, 0, 0);
	ck_assert(spin_seen(&spin));
	look(100, 0, 0);
	ck_assert(spin_seen(&spin));
	spin_begin(&spin);
	ck_assert(!spin_seen(&spin));
}
END_TEST

START_TEST(counts)
{
	look(SPIN_LOOKS, 255 / (SPIN_LOOKS - 1), 4);
	ck_assert(spin_seen(&spin));
}
END_TEST

START_TEST(works)
{
	look(SPIN_LOOKS, 0, 5);
	ck_assert(!spin_seen(&spin));
	spin_begin(&spin);
	look(SPIN_LOOKS, 255 / (SPIN_LOOKS - 1) + 1, 0);
	ck_assert(!spin_seen(&spin));
	/* What it did before does not matter. */
	look(SPIN_LOOKS - 1, 0, 0);
	ck_assert(!spin_seen(&spin));
	look(1, 0, 0);
	ck_assert(spin_seen(&spin));
}
END_TEST

START_TEST(works_on_memory)
{
	gpr[GPR_RBX] = 0xFFFF888003604000;
	look(SPIN_LOOKS, 0, 1);
	ck_assert(spin_seen(&spin));
	gpr[GPR_RBX]++;
	look(1, 0, 1);
	ck_assert(!spin_seen(&spin));
	look(SPIN_LOOKS, 0, 1);
	ck_assert(spin_seen(&spin));
	/* Up to the first one that there is. */
	gpr[GPR_RBX] = 0xFFFF800000000000;
	look(1, 0, 1);
	gpr[GPR_RBX]--;
	look(1, 0, 1);
	ck_assert(!spin_seen(&spin));
	look(SPIN_LOOKS - 2, 0, 1);
	ck_assert(!spin_seen(&spin));
	look(1, 0, 1);
	ck_assert(spin_seen(&spin));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("spin");
	TCase *tests = tcase_create("looks");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, waits);
	tcase_add_test(tests, counts);
	tcase_add_test(tests, works);
	tcase_add_test(tests, works_on_memory);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
