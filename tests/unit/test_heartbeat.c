/* The watchdog's judgement: beats, kicks, hangs, and gaps that are the looker's own. */
#include "tests/unit/fixture.h"

#include "base/result.h"
#include "lockstep/heartbeat.h"

#define MS UINT64_C(1000000)
#define WATCHDOG (1000 * MS)
#define START (77 * MS)

static struct heartbeat heart;

static void setup(void)
{
	heartbeat_reset(&heart, START);
}

/* What a look `at` ms after the start says. */
static enum heartbeat_state look(uint64_t beats, uint64_t at)
{
	return heartbeat_look(&heart, beats, START + at * MS, WATCHDOG);
}

/* Looks every 100 ms, without a beat, from `from` to `to` (both included), and counts each answer. */
static void look_in_silence(uint64_t from, uint64_t to, unsigned counts[3])
{
	for (uint64_t at = from; at <= to; at += 100)
		counts[look(0, at)]++;
}

START_TEST(beats)
{
	for (uint64_t i = 1; i < 100; i++)
		ck_assert_int_eq(look(i, 200 * i), HEARTBEAT_ALIVE);
}
END_TEST

/* One kick after half the time, one a quarter later, then the end; at exactly these times. */
START_TEST(silence)
{
	static const struct {
		uint64_t at;
		enum heartbeat_state state;
	} expected[] = {
		{ 249, HEARTBEAT_ALIVE }, { 499, HEARTBEAT_ALIVE }, { 500, HEARTBEAT_KICK },  { 501, HEARTBEAT_ALIVE },
		{ 749, HEARTBEAT_ALIVE }, { 750, HEARTBEAT_KICK },  { 751, HEARTBEAT_ALIVE }, { 999, HEARTBEAT_ALIVE },
		{ 1000, HEARTBEAT_HUNG }, { 1001, HEARTBEAT_HUNG }, { 1200, HEARTBEAT_HUNG },
	};

	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		ck_assert_msg(look(0, expected[i].at) == expected[i].state, "after %u ms", (unsigned)expected[i].at);
}
END_TEST

/* Looks that miss the moments kick at the next one. */
START_TEST(silence_seldom_looked_at)
{
	ck_assert_int_eq(look(0, 240), HEARTBEAT_ALIVE);
	ck_assert_int_eq(look(0, 480), HEARTBEAT_ALIVE);
	ck_assert_int_eq(look(0, 720), HEARTBEAT_KICK);
	ck_assert_int_eq(look(0, 960), HEARTBEAT_KICK);
	ck_assert_int_eq(look(0, 1200), HEARTBEAT_HUNG);
}
END_TEST

START_TEST(beat_ends_the_silence)
{
	unsigned counts[3] = { 0 };

	look_in_silence(100, 900, counts);
	ck_assert_uint_eq(counts[HEARTBEAT_KICK], 2);
	ck_assert_int_eq(look(1, 950), HEARTBEAT_ALIVE);
	for (uint64_t at = 1000; at < 1950; at += 50)
		ck_assert_msg(look(1, at) == (at == 1450 || at == 1700 ? HEARTBEAT_KICK : HEARTBEAT_ALIVE), "at %u",
			      (unsigned)at);
	ck_assert_int_eq(look(1, 1950), HEARTBEAT_HUNG);
}
END_TEST

/* Any change is a beat, also one back: a new process counts from 0. */
START_TEST(beats_go_back)
{
	ck_assert_int_eq(look(1000, 200), HEARTBEAT_ALIVE);
	for (uint64_t at = 400; at <= 1000; at += 200)
		(void)look(1000, at);
	ck_assert_int_eq(look(3, 1200), HEARTBEAT_ALIVE);
	ck_assert_int_eq(look(3, 1400), HEARTBEAT_ALIVE);
	ck_assert_int_eq(look(UINT64_MAX, 1600), HEARTBEAT_ALIVE);
}
END_TEST

/* We were stopped: the replica gets the whole time again, and its kicks too. */
START_TEST(gap)
{
	unsigned counts[3] = { 0 };

	look_in_silence(100, 900, counts);
	ck_assert_int_eq(look(0, 900 + 251), HEARTBEAT_ALIVE);
	counts[HEARTBEAT_KICK] = 0;
	look_in_silence(1151 + 100, 1151 + 900, counts);
	ck_assert_uint_eq(counts[HEARTBEAT_KICK], 2);
	ck_assert_uint_eq(counts[HEARTBEAT_HUNG], 0);
	ck_assert_int_eq(look(0, 1151 + 1000), HEARTBEAT_HUNG);
}
END_TEST

/* A quarter is no gap yet: a watchdog that is looked at as seldom as is allowed still bites. */
START_TEST(longest_step)
{
	ck_assert_int_eq(look(0, 250), HEARTBEAT_ALIVE);
	ck_assert_int_eq(look(0, 500), HEARTBEAT_KICK);
	ck_assert_int_eq(look(0, 750), HEARTBEAT_KICK);
	ck_assert_int_eq(look(0, 1000), HEARTBEAT_HUNG);
}
END_TEST

/* A gap of hours, right after the start or behind a beat, is nobody's hang. */
START_TEST(long_gaps)
{
	ck_assert_int_eq(look(0, 3600000), HEARTBEAT_ALIVE);
	ck_assert_int_eq(look(0, 7200000), HEARTBEAT_ALIVE);
	ck_assert_int_eq(look(9, 7200100), HEARTBEAT_ALIVE);
	ck_assert_int_eq(look(9, 9000000), HEARTBEAT_ALIVE);
	ck_assert_int_eq(look(9, 9000100), HEARTBEAT_ALIVE);
}
END_TEST

START_TEST(clock_goes_back)
{
	unsigned counts[3] = { 0 };

	look_in_silence(100, 900, counts);
	ck_assert_int_eq(look(0, 850), HEARTBEAT_ALIVE);
	look_in_silence(950, 1750, counts);
	ck_assert_uint_eq(counts[HEARTBEAT_HUNG], 0);
	ck_assert_int_eq(look(0, 1850), HEARTBEAT_HUNG);
}
END_TEST

START_TEST(reset_forgives)
{
	unsigned counts[3] = { 0 };

	look_in_silence(100, 1100, counts);
	ck_assert_uint_eq(counts[HEARTBEAT_HUNG], 2);
	heartbeat_reset(&heart, START + 1100 * MS);
	ck_assert_int_eq(look(0, 1200), HEARTBEAT_ALIVE);
	ck_assert_int_eq(look(0, 1400), HEARTBEAT_ALIVE);
}
END_TEST

START_TEST(no_watchdog)
{
	for (uint64_t at = 0; at < 100; at++)
		ck_assert_int_eq(heartbeat_look(&heart, 0, START + at, 0), HEARTBEAT_ALIVE);
}
END_TEST

/* Numbers at their ends must not wrap into a hang or into eternal life. */
START_TEST(extremes)
{
	heartbeat_reset(&heart, UINT64_MAX - 1000);
	ck_assert_int_eq(heartbeat_look(&heart, 0, UINT64_MAX, UINT64_MAX), HEARTBEAT_ALIVE);
	heartbeat_reset(&heart, 0);
	ck_assert_int_eq(heartbeat_look(&heart, 0, 1, 2), HEARTBEAT_ALIVE);
	ck_assert_int_eq(heartbeat_look(&heart, 0, 2, 2), HEARTBEAT_HUNG);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("heartbeat");
	TCase *tests = tcase_create("looks");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, beats);
	tcase_add_test(tests, silence);
	tcase_add_test(tests, silence_seldom_looked_at);
	tcase_add_test(tests, beat_ends_the_silence);
	tcase_add_test(tests, beats_go_back);
	tcase_add_test(tests, gap);
	tcase_add_test(tests, longest_step);
	tcase_add_test(tests, long_gaps);
	tcase_add_test(tests, clock_goes_back);
	tcase_add_test(tests, reset_forgives);
	tcase_add_test(tests, no_watchdog);
	tcase_add_test(tests, extremes);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
