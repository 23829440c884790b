/* The process that starts replicas: whose child a replica is, and what it has open. */
#include "tests/unit/guest_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "lockstep/spawner.h"

enum { RIGHT = 42, MANY = 17 };

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static bool is_null(int fd)
{
	struct stat information, null;

	return fstat(fd, &information) == 0 && stat("/dev/null", &null) == 0 &&
	       information.st_rdev == null.st_rdev && S_ISCHR(information.st_mode);
}

/* What a replica finds is told by its exit status. The first descriptor says how many there are. */
static int be_replica(int argc, char **argv)
{
	uint64_t count = 0;
	char number[16];

	(void)snprintf(number, sizeof(number), "%d", SPAWNER_FIRST_FD);
	if (argc != 3 || strcmp(argv[0], SPAWNER_REPLICA_NAME) != 0 || strcmp(argv[2], number) != 0)
		return 1;
	if (read(SPAWNER_FIRST_FD, &count, sizeof(count)) != sizeof(count))
		return 2;
	if (!is_null(STDIN_FILENO) || !is_null(STDOUT_FILENO) || !is_open(STDERR_FILENO) ||
	    is_open(SPAWNER_FIRST_FD - 1))
		return 3;
	for (int i = 0; i < (int)count; i++)
		if (!is_open(SPAWNER_FIRST_FD + i) || is_null(SPAWNER_FIRST_FD + i))
			return 4;
	for (int fd = SPAWNER_FIRST_FD + (int)count; fd < 64; fd++)
		if (is_open(fd))
			return 5;
	return RIGHT;
}

static void must_end_with(pid_t pid, int wanted)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), wanted);
}

/* A replica that is handed so many descriptors. */
static pid_t launch(const struct spawner *spawner, unsigned count)
{
	struct spawner_handover handover = { .count = 0 };
	pid_t pid = 0;

	for (unsigned i = 0; i < count; i++) {
		int fd = eventfd(count, EFD_CLOEXEC);

		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(spawner_hand(&handover, fd), SPAWNER_FIRST_FD + (int)i);
	}
	must_succeed(spawner_launch(spawner, &handover, &pid));
	for (unsigned i = 0; i < count; i++)
		fd_close(&handover.fds[i]);
	return pid;
}

START_TEST(hands_what_it_is_given)
{
	struct spawner spawner;

	must_succeed(spawner_start(&spawner));
	must_end_with(launch(&spawner, 1), RIGHT);
	must_end_with(launch(&spawner, MANY), RIGHT);
	must_end_with(launch(&spawner, 2), RIGHT);
	spawner_stop(&spawner);
}
END_TEST

START_TEST(has_nothing_else_open)
{
	struct spawner spawner;
	int before = open("/dev/zero", O_RDONLY); /* without close-on-exec */

	ck_assert_int_ge(before, 0);
	must_succeed(spawner_start(&spawner));
	int after = open("/dev/zero", O_RDONLY);

	ck_assert_int_ge(after, 0);
	must_end_with(launch(&spawner, 3), RIGHT);
	spawner_stop(&spawner);
	fd_close(&before);
	fd_close(&after);
}
END_TEST

START_TEST(none_is_handed_as_none)
{
	struct spawner_handover handover = { .count = 0 };

	ck_assert_int_eq(spawner_hand(&handover, -1), -1);
	ck_assert_uint_eq(handover.count, 0);
}
END_TEST

START_TEST(dead_one_is_an_error)
{
	struct spawner_handover handover = { .count = 0 };
	struct spawner spawner;
	pid_t pid = 0;

	must_succeed(spawner_start(&spawner));
	(void)spawner_hand(&handover, STDERR_FILENO);
	ck_assert_int_eq(kill(spawner.pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(spawner.pid, NULL, 0), spawner.pid);
	must_fail(spawner_launch(&spawner, &handover, &pid), STATUS_FAILED, "the process that starts replicas");
	spawner.pid = 0;
	spawner_stop(&spawner);
}
END_TEST

START_TEST(ends_when_it_is_stopped)
{
	struct spawner spawner;

	must_succeed(spawner_start(&spawner));
	pid_t pid = spawner.pid;

	spawner_stop(&spawner);
	ck_assert_int_eq(kill(pid, 0), -1);
	ck_assert_int_eq(errno, ESRCH);
	ck_assert_int_eq(spawner.pid, 0);
	ck_assert_int_eq(spawner.fd, -1);
}
END_TEST

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], SPAWNER_ROLE) == 0)
		return be_replica(argc, argv);

	Suite *suite = suite_create("spawner");
	TCase *cases = tcase_create("spawner");

	tcase_add_test(cases, hands_what_it_is_given);
	tcase_add_test(cases, has_nothing_else_open);
	tcase_add_test(cases, none_is_handed_as_none);
	tcase_add_test(cases, dead_one_is_an_error);
	tcase_add_test(cases, ends_when_it_is_stopped);
	suite_add_tcase(suite, cases);
	return fixture_run(suite);
}
