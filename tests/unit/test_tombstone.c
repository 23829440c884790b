/* Tombstones: deaths that are known before the process is gone, processes that lie about theirs, words that were
 * damaged, and what of a member is left when. */
#include "tests/unit/guest_memory.h"

#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/futex.h"
#include "lockstep/spawn.h"
#include "lockstep/tombstone.h"

enum { PATIENCE_MS = 30000, PAGES = RAM_SIZE_MIN / RAM_PAGE_SIZE };

static struct member member;
static struct area own; /* what its process maps writable */
static int bell;

static void setup(void)
{
	must_succeed(member_create(&member, 0, RAM_SIZE_MIN));
	must_succeed(area_map(&own, member.area_fd, PAGES, true));
	bell = eventfd(0, EFD_CLOEXEC);
	ck_assert_int_ge(bell, 0);
}

static void teardown(void)
{
	member_destroy(&member);
	area_unmap(&own);
	fd_close(&bell);
}

/* A process of the member that does `live` and then sleeps. */
static void start(void (*live)(void))
{
	member.pid = fork();
	ck_assert_int_ge(member.pid, 0);
	if (member.pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		live();
		for (;;)
			(void)pause();
	}
	member.pid_fd = (int)syscall(SYS_pidfd_open, member.pid, 0);
	ck_assert_int_ge(member.pid_fd, 0);
}

static void erect(void)
{
	if (failed(tombstone_erect(&own.control->tombstone)))
		_exit(1);
}

static void erect_and_crash(void)
{
	erect();
	abort();
}

static void erect_and_leave(void)
{
	erect();
	_exit(7);
}

static void nothing(void)
{
}

static void await_erected(void)
{
	while (atomic_load(&member.area.control->tombstone) == 0)
		tombstone_wait(&member.area.control->tombstone, NS_PER_MS);
}

static void await_death(void)
{
	uint64_t until = clock_monotonic_ns() + PATIENCE_MS * NS_PER_MS;

	while (!member_died(&member)) {
		ck_assert_uint_lt(clock_monotonic_ns(), until);
		tombstone_wait(&member.area.control->tombstone, NS_PER_MS);
	}
}

static bool rings(int timeout_ms)
{
	struct pollfd poll_bell = { .fd = bell, .events = POLLIN };

	return poll(&poll_bell, 1, timeout_ms) == 1;
}

/* The bell rings for a killed process, and the word tells, whoever looks at it read-only. */
START_TEST(rings_at_death)
{
	start(erect);
	must_succeed(tombstone_watch(&member.watch, &member.area.control->tombstone, bell));
	await_erected();
	ck_assert(!tombstone_tells(&member.area.control->tombstone));
	ck_assert(!rings(0));
	ck_assert_int_eq(kill(member.pid, SIGKILL), 0);
	ck_assert(rings(PATIENCE_MS));
	ck_assert(tombstone_tells(&member.area.control->tombstone));
	ck_assert(member_died(&member));
	ck_assert(!member.watch.started);
	ck_assert_int_eq(member.pid, 0);
}
END_TEST

static void await_remains(void)
{
	uint64_t until = clock_monotonic_ns() + PATIENCE_MS * NS_PER_MS;

	while (!member_reap(&member))
		ck_assert_uint_lt(clock_monotonic_ns(), until);
	ck_assert_int_eq(member.dead_pid, 0);
	ck_assert_int_eq(member.dead_pid_fd, -1);
}

/* How it ended is known when it is gone. */
START_TEST(tells_how_it_ended)
{
	static void (*const lives[])(void) = { erect_and_crash, erect_and_leave };
	static const char *const ends[] = { "killed by signal 6", "ended with status 7" };
	char text[64];

	start(lives[_i]);
	await_death();
	await_remains();
	member_tell_end(&member, text, sizeof(text));
	ck_assert_str_eq(text, ends[_i]);
	/* There is nothing more to take. */
	ck_assert(member_reap(&member));
	ck_assert(member_died(&member));
}
END_TEST

/* A dead process whose remains nobody took yet is no reason not to kill the next one. */
START_TEST(two_dead)
{
	char text[64];

	start(erect);
	await_erected();
	member_kill(&member);
	ck_assert_int_ne(member.dead_pid, 0);
	member_tell_end(&member, text, sizeof(text));
	ck_assert_str_eq(text, "its process has died");
	atomic_store(&own.control->tombstone, 0);
	start(erect);
	await_erected();
	member_kill(&member);
	ck_assert_int_eq(member.pid, 0);
	await_remains();
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
}
END_TEST

/* Who claims to be dead will be. */
START_TEST(liar)
{
	pid_t pid;
	char text[64];

	start(nothing);
	pid = member.pid;
	ck_assert(!member_died(&member));
	atomic_store(&own.control->tombstone, FUTEX_OWNER_DIED);
	ck_assert(member_died(&member));
	await_remains();
	member_tell_end(&member, text, sizeof(text));
	ck_assert_str_eq(text, "killed by signal 9");
	ck_assert_int_eq(kill(pid, 0), -1);
}
END_TEST

/* A word that no longer names its owner is not marked: the process is found dead all the same. */
START_TEST(damaged_word)
{
	start(erect);
	await_erected();
	atomic_fetch_xor(&own.control->tombstone, 1u);
	ck_assert_int_eq(kill(member.pid, SIGKILL), 0);
	await_death();
	ck_assert(!tombstone_tells(&member.area.control->tombstone));
	await_remains();
}
END_TEST

/* One that never came to erect its stone, dead or alive. */
START_TEST(no_stone)
{
	start(nothing);
	must_succeed(tombstone_watch(&member.watch, &member.area.control->tombstone, bell));
	ck_assert(!member_died(&member));
	member_kill(&member);
	ck_assert_int_eq(member.pid, 0);
	ck_assert(!member.watch.started);
	await_remains();
}
END_TEST

/* A stopped process dies of SIGKILL, too; its end needs no going on. */
START_TEST(stopped)
{
	start(erect);
	await_erected();
	ck_assert_int_eq(kill(member.pid, SIGSTOP), 0);
	member_kill(&member);
	ck_assert(tombstone_tells(&member.area.control->tombstone));
	await_remains();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tombstone");
	TCase *tests = tcase_create("deaths");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, rings_at_death);
	tcase_add_loop_test(tests, tells_how_it_ended, 0, 2);
	tcase_add_test(tests, two_dead);
	tcase_add_test(tests, liar);
	tcase_add_test(tests, damaged_word);
	tcase_add_test(tests, no_stone);
	tcase_add_test(tests, stopped);
	tcase_set_timeout(tests, 100);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
