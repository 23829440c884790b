/* Aim: which registers lead to a wanted state, how far it is, and which must not be believed. */
#include <check.h>
#undef fail

#include <string.h>

#include "base/futex.h"
#include "lockstep/aim.h"
#include "tests/unit/fixture.h"

/* A guest that counts up in RCX, down in RDX, starts again and again in RBX, and does nothing in the others. */
static void registers_at(uint64_t ns, uint64_t gpr[GPR_COUNT])
{
	memset(gpr, 0, GPR_COUNT * sizeof(gpr[0]));
	gpr[GPR_RCX] = 1000 + 3 * ns;
	gpr[GPR_RDX] = 5 - 2 * ns; /* comes past zero */
	gpr[GPR_RBX] = ns * 7 % 1001;
	gpr[GPR_RSP] = 0x7000;
}

static struct aim aim_of(uint64_t first, uint64_t apart)
{
	struct aim aim = { .count = 0 };
	uint64_t gpr[GPR_COUNT];

	for (unsigned i = 0; i < AIM_SAMPLES; i++) {
		registers_at(first + i * apart, gpr);
		aim_add(&aim, first + i * apart, gpr);
	}
	return aim;
}

START_TEST(counters_are_steady)
{
	struct aim aim = aim_of(100 * NS_PER_US, NS_PER_MS);

	ck_assert_uint_eq(aim_steady(&aim) & (1u << GPR_RCX | 1u << GPR_RDX), 1u << GPR_RCX | 1u << GPR_RDX);
	ck_assert_uint_eq(aim_steady(&aim) & 1u << GPR_RSP, 0);
}
END_TEST

START_TEST(the_rest_of_the_way)
{
	const uint64_t at = 100 * NS_PER_US + (AIM_SAMPLES - 1) * NS_PER_MS;
	struct aim aim = aim_of(100 * NS_PER_US, NS_PER_MS);
	uint64_t wanted[GPR_COUNT], remaining = 0;

	registers_at(at + 70 * NS_PER_MS, wanted);
	wanted[GPR_RBX] = aim.samples[AIM_SAMPLES - 1].gpr[GPR_RBX] + (1ull << 62); /* if at all, much later */
	ck_assert(aim_remaining(&aim, UINT32_MAX, wanted, &remaining));
	ck_assert_uint_ge(remaining, 70 * NS_PER_MS - NS_PER_US);
	ck_assert_uint_le(remaining, 70 * NS_PER_MS + NS_PER_US);
	/* Of two that are steady the nearer one counts. */
	wanted[GPR_RDX] = aim.samples[AIM_SAMPLES - 1].gpr[GPR_RDX] - 2 * NS_PER_MS;
	ck_assert(aim_remaining(&aim, UINT32_MAX, wanted, &remaining));
	ck_assert_uint_le(remaining, NS_PER_MS + NS_PER_US);
	/* Others are not asked. */
	ck_assert(aim_remaining(&aim, ~(1u << GPR_RDX), wanted, &remaining));
	ck_assert_uint_ge(remaining, 70 * NS_PER_MS - NS_PER_US);
	ck_assert(!aim_remaining(&aim, 0, wanted, &remaining));
	/* It is there. */
	memcpy(wanted, aim.samples[AIM_SAMPLES - 1].gpr, sizeof(wanted));
	ck_assert(aim_remaining(&aim, UINT32_MAX, wanted, &remaining));
	ck_assert_uint_eq(remaining, 0);
}
END_TEST

/* A host that has other things to do for half of the time, and lets alarms come late, takes nothing from them. */
START_TEST(slow_hosts)
{
	struct aim aim = { .count = 0 };
	uint64_t gpr[GPR_COUNT], wanted[GPR_COUNT], remaining, at = 0;

	for (unsigned i = 0; i < AIM_SAMPLES; i++) {
		at += i % 2 == 0 ? NS_PER_MS : NS_PER_MS / 100;
		registers_at(at, gpr);
		/* What is kept in an inner loop. */
		gpr[GPR_RBX] = i % 3;
		aim_add(&aim, i * NS_PER_MS, gpr);
	}
	ck_assert_uint_eq(aim_steady(&aim), 1u << GPR_RCX | 1u << GPR_RDX);
	registers_at(at + 70 * NS_PER_MS, wanted);
	ck_assert(aim_remaining(&aim, UINT32_MAX, wanted, &remaining));
	/* By the highest speed. */
	ck_assert_uint_ge(remaining, 69 * NS_PER_MS);
	ck_assert_uint_le(remaining, 71 * NS_PER_MS);
	/* One that was once ten times as fast is believed to be, so that nobody goes too far; if that was all, nobody
	 * knows. */
	aim.samples[AIM_SAMPLES - 1].gpr[GPR_RCX] += 100 * NS_PER_MS;
	ck_assert_uint_eq(aim_steady(&aim), 1u << GPR_RDX);
}
END_TEST

/* Too few samples; no time between them; another speed each time; the wrong direction. */
START_TEST(not_believed)
{
	struct aim aim = aim_of(0, NS_PER_MS);
	uint64_t wanted[GPR_COUNT], remaining;

	registers_at(20 * NS_PER_MS, wanted);
	switch (_i) {
	case 0:
		aim.count--;
		break;
	case 1:
		aim.samples[2].ran = aim.samples[1].ran;
		break;
	case 2:
		aim.samples[1].gpr[GPR_RCX] += 20 * NS_PER_MS;
		aim.samples[1].gpr[GPR_RDX] -= 20 * NS_PER_MS;
		aim.samples[1].gpr[GPR_RBX] = aim.samples[0].gpr[GPR_RBX];
		break;
	default:
		memset(wanted, 0, sizeof(wanted));
		wanted[GPR_RDX] = 5;
		aim.samples[1].gpr[GPR_RBX] = aim.samples[0].gpr[GPR_RBX];
		break;
	}
	ck_assert(!aim_remaining(&aim, UINT32_MAX, wanted, &remaining));
	ck_assert(_i == 3 || aim_steady(&aim) == 0);
}
END_TEST

/* However long a way gets, its samples are all over it. */
START_TEST(long_ways)
{
	struct aim_way way;
	uint64_t gpr[GPR_COUNT];

	aim_way_begin(&way);
	ck_assert_uint_eq(aim_way_steady(&way), 0);
	for (uint64_t i = 0; i < 1000; i++) {
		registers_at(i * NS_PER_MS, gpr);
		aim_way_add(&way, i * NS_PER_MS, gpr);
		ck_assert_uint_le(way.count, AIM_WAY_SAMPLES);
	}
	ck_assert_uint_eq(way.samples[0].ran, 0);
	ck_assert_uint_ge(way.count, AIM_WAY_SAMPLES / 2);
	ck_assert_uint_ge(way.samples[way.count - 1].ran, 500 * NS_PER_MS);
	ck_assert_uint_ne(aim_way_steady(&way) & 1u << GPR_RCX, 0);
	/* What was before does not count if it was short. */
	aim_way_begin(&way);
	for (uint64_t i = 0; i < 1000; i++) {
		registers_at(i < 50 ? (1000 - i) * NS_PER_MS : i * NS_PER_MS, gpr);
		aim_way_add(&way, i * NS_PER_MS, gpr);
	}
	ck_assert_uint_ne(aim_way_steady(&way) & 1u << GPR_RCX, 0);
	/* It went the other way for half of the time. */
	for (uint64_t i = 1000; i < 2000; i++) {
		registers_at((2000 - i) * NS_PER_MS, gpr);
		aim_way_add(&way, i * NS_PER_MS, gpr);
	}
	ck_assert_uint_eq(aim_way_steady(&way) & 1u << GPR_RCX, 0);
}
END_TEST

/* All samples take an eighth of a way, where they are not too near to each other for that. */
START_TEST(how_far_apart)
{
	ck_assert_uint_eq(aim_apart(0), AIM_APART_LEAST_NS);
	ck_assert_uint_eq(aim_apart(8 * AIM_SAMPLES * AIM_APART_LEAST_NS), AIM_APART_LEAST_NS);
	ck_assert_uint_eq(aim_apart(560 * NS_PER_MS), 10 * NS_PER_MS);
	ck_assert_uint_eq(aim_patience(0), 5 * NS_PER_MS);
	ck_assert_uint_eq(aim_patience(80 * NS_PER_MS), 10 * NS_PER_MS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("aim");
	TCase *all = tcase_create("all");

	tcase_add_test(all, counters_are_steady);
	tcase_add_test(all, the_rest_of_the_way);
	tcase_add_test(all, slow_hosts);
	tcase_add_loop_test(all, not_believed, 0, 4);
	tcase_add_test(all, long_ways);
	tcase_add_test(all, how_far_apart);
	suite_add_tcase(suite, all);
	return fixture_run(suite);
}
