/* What a hunt that found nothing tells of the visits that were nearly its stop. */
#include "tests/unit/fixture.h"

#include <string.h>

#include "lockstep/near_miss.h"

static struct near_miss miss;
static struct cpu_state stop, here;
static char text[320];

static void setup(void)
{
	memset(&miss, 0, sizeof(miss));
	memset(&stop, 0, sizeof(stop));
	stop.rflags = 0x246;
	here = stop;
}

START_TEST(nothing_to_say)
{
	near_miss_note(&miss, &here, &stop);
	near_miss_tell(&miss, &stop, text, sizeof(text));
	ck_assert_str_eq(text, "");
}
END_TEST

/* One flag that differs is nearer than a register with other numbers, whichever comes first. */
START_TEST(the_fewest_bits)
{
	struct cpu_state other = stop;

	here.rflags = 0x256;
	memset(other.xmm[2], 0x5A, sizeof(other.xmm[2]));
	near_miss_note(&miss, _i ? &here : &other, &stop);
	near_miss_note(&miss, _i ? &other : &here, &stop);
	near_miss_tell(&miss, &stop, text, sizeof(text));
	ck_assert_str_eq(text, "; a visit was nearly it: rflags 0x256 not 0x246, 1 bits in all");
}
END_TEST

START_TEST(all_registers_count)
{
	here.rflags = 0x247;
	here.cr2 = 3;
	near_miss_note(&miss, &here, &stop);
	ck_assert_uint_eq(miss.bits, 3);
}
END_TEST

/* Visits with other general registers are told of beside. */
START_TEST(general_registers)
{
	here.gpr[GPR_RBX] = 7;
	register_nearest_note(&miss.general, here.gpr, stop.gpr);
	near_miss_tell(&miss, &stop, text, sizeof(text));
	ck_assert_str_eq(text, "; the nearest visit had rbx 0x7 not 0x0");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("near_miss");
	TCase *all = tcase_create("all");

	tcase_add_checked_fixture(all, setup, NULL);
	tcase_add_test(all, nothing_to_say);
	tcase_add_loop_test(all, the_fewest_bits, 0, 2);
	tcase_add_test(all, all_registers_count);
	tcase_add_test(all, general_registers);
	suite_add_tcase(suite, all);
	return fixture_run(suite);
}
