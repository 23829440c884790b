/* Waiting on words of shared memory: time-outs, words that moved, wakers in other threads and read-only views. */
#include "tests/unit/guest_memory.h"

#include <pthread.h>

#include "base/fd.h"
#include "base/futex.h"

START_TEST(clock_moves)
{
	uint64_t before = clock_monotonic_ns();
	uint64_t after;

	do
		after = clock_monotonic_ns();
	while (after == before);
	ck_assert_uint_gt(after, before);
	ck_assert_uint_lt(after - before, NS_PER_S);
}
END_TEST

START_TEST(times_out)
{
	_Atomic uint32_t word = 7;
	uint64_t begin = clock_monotonic_ns();

	futex_wait(&word, 7, 20 * NS_PER_MS);
	ck_assert_uint_ge(clock_monotonic_ns() - begin, 19 * NS_PER_MS);
}
END_TEST

START_TEST(moved_already)
{
	_Atomic uint32_t word = 8;
	uint64_t begin = clock_monotonic_ns();

	futex_wait(&word, 7, 30 * NS_PER_S);
	ck_assert_uint_lt(clock_monotonic_ns() - begin, 10 * NS_PER_S);
}
END_TEST

struct sleeper {
	const _Atomic uint32_t *word;
	_Atomic uint32_t asleep;
};

static void *sleep_on(void *context)
{
	struct sleeper *sleeper = context;

	atomic_store(&sleeper->asleep, 1);
	while (atomic_load(sleeper->word) == 0)
		futex_wait(sleeper->word, 0, 60 * NS_PER_S);
	return NULL;
}

/* Sleepers look at a read-only mapping, the waker writes to another one: as replicas and supervisor do. */
START_TEST(signal_wakes_all)
{
	enum { SLEEPERS = 4 };
	pthread_t threads[SLEEPERS];
	struct sleeper sleepers[SLEEPERS];
	uint64_t begin = clock_monotonic_ns();
	int fd, view;
	void *here, *there;

	must_succeed(fd_sealed_memory(&fd, "test", 4096));
	must_succeed(fd_read_only_view(fd, "test", &view));
	must_succeed(fd_map(fd, "test", 4096, true, &here));
	must_succeed(fd_map(view, "test", 4096, false, &there));
	for (unsigned i = 0; i < SLEEPERS; i++) {
		sleepers[i] = (struct sleeper){ .word = there };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, sleep_on, &sleepers[i]), 0);
	}
	for (unsigned i = 0; i < SLEEPERS; i++)
		while (!atomic_load(&sleepers[i].asleep))
			futex_wait(&sleepers[i].asleep, 0, NS_PER_MS);
	/* Give them the time to be asleep indeed. */
	const struct timespec pause = { .tv_nsec = 20 * 1000 * 1000 };

	nanosleep(&pause, NULL);
	futex_signal(here);
	for (unsigned i = 0; i < SLEEPERS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_uint_eq(*(_Atomic uint32_t *)here, 1);
	ck_assert_uint_lt(clock_monotonic_ns() - begin, 30 * NS_PER_S);
}
END_TEST

START_TEST(signal_wraps)
{
	_Atomic uint32_t word = UINT32_MAX;

	futex_signal(&word);
	ck_assert_uint_eq(atomic_load(&word), 0);
	futex_wake(&word);
	ck_assert_uint_eq(atomic_load(&word), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("futex");
	TCase *tests = tcase_create("words");

	tcase_add_test(tests, clock_moves);
	tcase_add_test(tests, times_out);
	tcase_add_test(tests, moved_already);
	tcase_add_test(tests, signal_wakes_all);
	tcase_add_test(tests, signal_wraps);
	tcase_set_timeout(tests, 100);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
