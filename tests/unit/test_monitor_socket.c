/* Sockets that are claimed: for one user, by one machine, over what a dead one left, and never over anything else. */
#include "tests/unit/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "manage/monitor_socket.c"
#include "manage/places.c"

static char test_folder[32];
static struct place place;
static bool taken;

static void setup(void)
{
	(void)snprintf(test_folder, sizeof(test_folder), "/tmp/unit-socket.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(test_folder));
	(void)snprintf(place.path, sizeof(place.path), "%s/a.sock", test_folder);
}

static void teardown(void)
{
	(void)unlink(place.path);
	ck_assert_int_eq(rmdir(test_folder), 0);
}

static void claim_succeeds(struct monitor_socket *monitor)
{
	result r = monitor_socket_claim(monitor, &place, &taken);

	ck_assert_msg(!failed(r), "%s", failed(r) ? r.failure->message : "");
	ck_assert(!taken);
}

static void claim_fails(const char *why, bool because_taken)
{
	struct monitor_socket monitor;
	result r = monitor_socket_claim(&monitor, &place, &taken);

	ck_assert(failed(r));
	ck_assert_int_eq(r.failure->status, STATUS_INPUT);
	ck_assert_msg(strstr(r.failure->message, why) != NULL, "%s", r.failure->message);
	ck_assert_int_eq(taken, because_taken);
	ck_assert_int_eq(monitor.fd, -1);
	monitor_socket_release(&monitor);
}

START_TEST(claimed)
{
	struct monitor_socket monitor;
	struct stat information;

	(void)umask(0);
	claim_succeeds(&monitor);
	ck_assert_int_eq(lstat(place.path, &information), 0);
	ck_assert_uint_eq(information.st_mode, S_IFSOCK | 0600);
	ck_assert_int_eq(umask(0), 0);
	int fd = places_connect(&place);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	ck_assert_int_eq(fcntl(monitor.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	fd_close(&fd);
	monitor_socket_release(&monitor);
	ck_assert_int_eq(monitor.fd, -1);
	ck_assert_int_lt(lstat(place.path, &information), 0);
	monitor_socket_release(&monitor);
}
END_TEST

START_TEST(taken_by_another)
{
	struct monitor_socket monitor;

	claim_succeeds(&monitor);
	claim_fails("another machine does", true);
	int fd = places_connect(&place);

	ck_assert_int_ge(fd, 0);
	fd_close(&fd);
	monitor_socket_release(&monitor);
	claim_succeeds(&monitor);
	monitor_socket_release(&monitor);
}
END_TEST

/* One who listens, but is so busy that nobody more may wait. */
START_TEST(taken_by_a_busy_one)
{
	struct monitor_socket monitor;
	int fds[BACKLOG + 8];
	size_t count = 0;

	claim_succeeds(&monitor);
	while (count < ARRAY_SIZE(fds) && (fds[count] = places_connect(&place)) >= 0)
		count++;
	ck_assert_uint_lt(count, ARRAY_SIZE(fds));
	ck_assert_int_eq(errno, EAGAIN);
	claim_fails("another machine does", true);
	while (count > 0)
		fd_close(&fds[--count]);
	monitor_socket_release(&monitor);
}
END_TEST

START_TEST(left_behind)
{
	struct monitor_socket dead, monitor;

	claim_succeeds(&dead);
	/* As if it had been killed. */
	fd_close(&dead.fd);
	ck_assert_int_lt(places_connect(&place), 0);
	ck_assert_int_eq(errno, ECONNREFUSED);
	claim_succeeds(&monitor);
	int fd = places_connect(&place);

	ck_assert_int_ge(fd, 0);
	fd_close(&fd);
	monitor_socket_release(&monitor);
}
END_TEST

START_TEST(something_else)
{
	char other[80];
	int fd = open(place.path, O_WRONLY | O_CREAT, 0600);

	ck_assert_int_ge(fd, 0);
	fd_close(&fd);
	claim_fails("no socket", false);
	ck_assert_int_eq(access(place.path, F_OK), 0);
	ck_assert_int_eq(unlink(place.path), 0);
	/* A link is not followed. */
	(void)snprintf(other, sizeof(other), "%s/b.sock", test_folder);
	ck_assert_int_eq(symlink(other, place.path), 0);
	claim_fails("no socket", false);
	ck_assert_int_eq(unlink(place.path), 0);
	ck_assert_int_eq(mkdir(place.path, 0700), 0);
	claim_fails("no socket", false);
	ck_assert_int_eq(rmdir(place.path), 0);
}
END_TEST

/* What somebody else put there meanwhile stays. */
START_TEST(released_under_another)
{
	struct monitor_socket first, second;

	claim_succeeds(&first);
	ck_assert_int_eq(unlink(place.path), 0);
	claim_succeeds(&second);
	monitor_socket_release(&first);
	int fd = places_connect(&place);

	ck_assert_int_ge(fd, 0);
	fd_close(&fd);
	monitor_socket_release(&second);
}
END_TEST

START_TEST(no_folder)
{
	(void)snprintf(place.path, sizeof(place.path), "%s/none/a.sock", test_folder);
	claim_fails("none/a.sock", false);
}
END_TEST

START_TEST(folder_locked)
{
	int lock = open(test_folder, O_RDONLY | O_DIRECTORY);

	ck_assert_int_ge(lock, 0);
	ck_assert_int_eq(flock(lock, LOCK_EX), 0);
	claim_fails("another program has locked", false);
	fd_close(&lock);
}
END_TEST

START_TEST(names)
{
	static const char *const good[] = { "a", "A-b_c.9", ".", "-",
					    "0123456789012345678901234567890123456789012345678901234567890123" };
	static const char *const bad[] = { "", "a b", "a/b", "\xc3\xa4", "a\n", "a:b",
					   "01234567890123456789012345678901234567890123456789012345678901234" };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		ck_assert_msg(!failed(places_check_name("--name", good[i])), "%s", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		result r = places_check_name("--name", bad[i]);

		ck_assert_msg(failed(r) && r.failure->status == STATUS_USAGE, "%s", bad[i]);
		ck_assert_ptr_eq(strstr(r.failure->message, "--name"), r.failure->message);
	}
}
END_TEST

START_TEST(paths)
{
	char longest[PLACES_PATH_SIZE + 1];
	struct place socket;

	memset(longest, 'x', sizeof(longest));
	longest[PLACES_PATH_SIZE - 1] = '\0';
	ck_assert(!failed(places_take_path("--monitor", longest, &socket)));
	ck_assert_str_eq(socket.path, longest);
	longest[PLACES_PATH_SIZE - 1] = 'x';
	longest[PLACES_PATH_SIZE] = '\0';
	ck_assert(failed(places_take_path("--monitor", longest, &socket)));
	ck_assert(failed(places_take_path("--monitor", "", &socket)));
}
END_TEST

/* With a folder for the user that is the test's; root's own folder is looked at, too, and may hold others. */
static void with_own_folder(char *own, size_t size)
{
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", test_folder, 1), 0);
	(void)snprintf(own, size, "%s/tercet", test_folder);
	ck_assert_int_eq(mkdir(own, 0700), 0);
}

static bool is_listed(const char *name)
{
	json_t *list = places_running();
	size_t index;
	json_t *machine;
	bool found = false;

	ck_assert_ptr_nonnull(list);
	json_array_foreach(list, index, machine)
		found |= strcmp(json_string_value(json_object_get(machine, "name")), name) == 0;
	json_decref(list);
	return found;
}

START_TEST(running)
{
	static const char name[] = "unit-test-of-places";
	struct monitor_socket monitor;
	struct place found;
	char own[80];

	with_own_folder(own, sizeof(own));
	(void)snprintf(place.path, sizeof(place.path), "%s/%s.sock", own, name);
	ck_assert(!is_listed(name));
	result r = places_of_running(name, &found);

	ck_assert(failed(r) && r.failure->status == STATUS_INPUT);
	claim_succeeds(&monitor);
	ck_assert(is_listed(name));
	ck_assert(!failed(places_of_running(name, &found)));
	ck_assert_str_eq(found.path, place.path);
	ck_assert(!failed(places_of_running(place.path, &found)));
	ck_assert_str_eq(found.path, place.path);
	r = places_of_running("unit-test-of-nothing", &found);
	ck_assert(failed(r));
	ck_assert_ptr_nonnull(strstr(r.failure->message, name));
	/* A killed one is not running. */
	fd_close(&monitor.fd);
	ck_assert(!is_listed(name));
	ck_assert(failed(places_of_running(name, &found)));
	ck_assert_int_eq(unlink(place.path), 0);
	ck_assert_int_eq(rmdir(own), 0);
}
END_TEST

/* A folder in which others could put their own sockets is not used. */
START_TEST(unsafe_folder)
{
	char own[80];

	with_own_folder(own, sizeof(own));
	ck_assert(!failed(make_folder(own)));
	ck_assert_int_eq(chmod(own, 0770), 0);
	ck_assert(failed(make_folder(own)));
	ck_assert_int_eq(chmod(own, 0755), 0);
	ck_assert(!failed(make_folder(own)));
	ck_assert_int_eq(rmdir(own), 0);
	ck_assert_int_eq(symlink(test_folder, own), 0);
	ck_assert(failed(make_folder(own)));
	ck_assert_int_eq(unlink(own), 0);
	ck_assert(!failed(make_folder(own)));
	ck_assert_int_eq(rmdir(own), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("monitor_socket");
	TCase *tests = tcase_create("sockets");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, claimed);
	tcase_add_test(tests, taken_by_another);
	tcase_add_test(tests, taken_by_a_busy_one);
	tcase_add_test(tests, left_behind);
	tcase_add_test(tests, something_else);
	tcase_add_test(tests, released_under_another);
	tcase_add_test(tests, no_folder);
	tcase_add_test(tests, folder_locked);
	tcase_add_test(tests, names);
	tcase_add_test(tests, paths);
	tcase_add_test(tests, running);
	tcase_add_test(tests, unsafe_folder);
	tcase_set_timeout(tests, 60);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
