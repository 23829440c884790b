/* The machine's clock: it stands still where it is told to, and never goes back. */
#include "tests/unit/guest_memory.h"

#include <pthread.h>
#include <time.h>

#include "base/futex.h"
#include "lockstep/guest_time.h"

static struct supervisor_page page;

static void wait_ns(uint64_t ns)
{
	const struct timespec span = { .tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S) };

	(void)nanosleep(&span, NULL);
}

START_TEST(goes_on)
{
	uint64_t host = clock_monotonic_ns();

	guest_time_begin(&page, host - 7 * NS_PER_S);
	ck_assert(!guest_time_frozen(&page));
	ck_assert_uint_ge(guest_time_now(&page), 7 * NS_PER_S);
	ck_assert_uint_le(guest_time_now(&page), guest_time_bound(&page));
	ck_assert_uint_eq(guest_time_to_host(&page, 9 * NS_PER_S), host + 2 * NS_PER_S);
	ck_assert_uint_eq(guest_time_to_host(&page, UINT64_MAX), UINT64_MAX);
	/* Before its beginning it is 0. */
	guest_time_begin(&page, clock_monotonic_ns() + 1000 * NS_PER_S);
	ck_assert_uint_eq(guest_time_now(&page), 0);
}
END_TEST

/* To the guest the host is seven times as fast. */
START_TEST(goes_slower)
{
	uint64_t host = clock_monotonic_ns(), frozen;

	guest_time_dilate(&page, 7);
	guest_time_begin(&page, host - 7 * NS_PER_S);
	ck_assert_uint_ge(guest_time_now(&page), NS_PER_S);
	/* Not even a minute of the host's passes here. */
	ck_assert_uint_lt(guest_time_now(&page), 11 * NS_PER_S);
	ck_assert_uint_le(guest_time_now(&page), guest_time_bound(&page));
	ck_assert_uint_eq(guest_time_to_host(&page, 2 * NS_PER_S), host + 7 * NS_PER_S);
	ck_assert_uint_eq(guest_time_to_host(&page, UINT64_MAX / 2), UINT64_MAX);
	/* It goes on where it stood still. */
	guest_time_freeze(&page);
	frozen = guest_time_now(&page);
	wait_ns(20 * NS_PER_MS);
	guest_time_thaw(&page);
	ck_assert_uint_ge(guest_time_now(&page), frozen);
	ck_assert_uint_lt(guest_time_now(&page), frozen + 10 * NS_PER_S);
	guest_time_dilate(&page, 1);
}
END_TEST

/* A recording's machine may have been switched on before the host was. */
START_TEST(begins_before_the_host)
{
	guest_time_begin(&page, clock_monotonic_ns() - BOARD_TIME_MAX / 2);
	ck_assert_uint_ge(guest_time_bound(&page), BOARD_TIME_MAX / 2);
}
END_TEST

START_TEST(stands_still)
{
	uint64_t before, frozen;

	guest_time_begin(&page, clock_monotonic_ns() - NS_PER_S);
	before = guest_time_now(&page);
	guest_time_freeze(&page);
	ck_assert(guest_time_frozen(&page));
	frozen = guest_time_now(&page);
	ck_assert_uint_ge(frozen, before);
	wait_ns(20 * NS_PER_MS);
	ck_assert_uint_eq(guest_time_now(&page), frozen);
	/* Once more makes no difference. */
	guest_time_freeze(&page);
	ck_assert_uint_eq(guest_time_now(&page), frozen);
	/* What leaders read before may not have been looked at yet. */
	ck_assert_uint_gt(guest_time_bound(&page), frozen);

	uint64_t host = clock_monotonic_ns();

	guest_time_thaw(&page);
	ck_assert(!guest_time_frozen(&page));
	ck_assert_uint_ge(guest_time_now(&page), frozen);
	/* None of the time in which it stood still has come to it. */
	ck_assert_uint_le(guest_time_now(&page) - frozen, clock_monotonic_ns() - host);
	guest_time_thaw(&page);
	ck_assert_uint_le(guest_time_now(&page) - frozen, clock_monotonic_ns() - host);
}
END_TEST

/* A machine that begins anew while it stands still stands at 0. */
START_TEST(begins_frozen)
{
	guest_time_freeze(&page);
	guest_time_begin(&page, clock_monotonic_ns());
	wait_ns(NS_PER_MS);
	ck_assert_uint_eq(guest_time_now(&page), 0);
	guest_time_thaw(&page);
	wait_ns(NS_PER_MS);
	ck_assert_uint_ge(guest_time_now(&page), NS_PER_MS);
}
END_TEST

static void *stop_and_go(void *unused)
{
	(void)unused;
	for (unsigned i = 0; i < 2000; i++) {
		guest_time_freeze(&page);
		guest_time_thaw(&page);
	}
	return NULL;
}

/* As a leader and its followers see it: no time that was read is later than what followers take for possible then. */
START_TEST(never_too_late)
{
	pthread_t supervisor;
	uint64_t now = 0;

	guest_time_begin(&page, clock_monotonic_ns());
	ck_assert_int_eq(pthread_create(&supervisor, NULL, stop_and_go, NULL), 0);
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t read = guest_time_now(&page);

		now = read > now ? read : now;
		ck_assert_uint_le(now, guest_time_bound(&page));
	}
	ck_assert_int_eq(pthread_join(supervisor, NULL), 0);
	ck_assert_uint_ge(guest_time_now(&page), now);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("guest_time");
	TCase *tests = tcase_create("clock");

	tcase_add_test(tests, goes_on);
	tcase_add_test(tests, goes_slower);
	tcase_add_test(tests, begins_before_the_host);
	tcase_add_test(tests, stands_still);
	tcase_add_test(tests, begins_frozen);
	tcase_add_test(tests, never_too_late);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
