/* The console's backends: a socket whose clients come and go, files, a pty that nobody reads, and a log beside it. */
#include "tests/unit/fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/host/console.h"

static char folder[32];
static char path[64];
static struct console console;

static void setup(void)
{
	(void)snprintf(folder, sizeof(folder), "/tmp/tercet-console-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/place", folder);
	/* What tercet does for its whole process: a reader that leaves is an error of write(2). */
	ck_assert(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
}

static void teardown(void)
{
	console_close(&console);
	(void)unlink(path);
	ck_assert_int_eq(rmdir(folder), 0);
}

static void open_as(const char *kind)
{
	char option[96];

	(void)snprintf(option, sizeof(option), "%s:%s", kind, path);
	result r = console_open(&console, option);

	ck_assert_msg(!failed(r), "%s: %s", option, failed(r) ? r.failure->message : "");
}

static void put(const char *text)
{
	ck_assert(!failed(console_put(&console, text, strlen(text))));
}

static int join(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
	memcpy(address.sun_path, path, strlen(path) + 1);
	ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void expect_read(int fd, const char *wanted)
{
	char text[64] = "";

	ck_assert_int_eq(read(fd, text, sizeof(text) - 1), (ssize_t)strlen(wanted));
	ck_assert_str_eq(text, wanted);
}

static void expect_file(const char *wanted)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	expect_read(fd, wanted);
	close(fd);
}

START_TEST(a_client_at_a_time)
{
	struct stat information;
	uint8_t key;
	bool quit = false;

	open_as("unix");
	ck_assert_int_eq(stat(path, &information), 0);
	ck_assert_uint_eq(information.st_mode & 0777, 0600);
	/* Without a client output is lost, and nobody waits. */
	put("nobody");
	ck_assert_uint_eq(console_pending(&console), 0);
	ck_assert_uint_eq(console.dropped, 6);

	int first = join(), second = join();

	console_accept(&console);
	console_accept(&console); /* the second one waits */
	put("hello");
	expect_read(first, "hello");
	ck_assert_int_eq(write(first, "k", 1), 1);
	ck_assert_uint_eq(console_read(&console, &key, 1, &quit), 1);
	ck_assert_int_eq(key, 'k');

	close(first);
	ck_assert_uint_eq(console_read(&console, &key, 1, &quit), 0);
	ck_assert_int_ge(console.left_fd, 0);
	ck_assert_int_lt(console.output_fd, 0);
	console_forget(&console);
	console_accept(&console);
	put("again");
	expect_read(second, "again");
	/* One that leaves while it is written to. */
	close(second);
	put("lost");
	ck_assert_int_lt(console.output_fd, 0);
	ck_assert_int_lt(console.input_fd, 0);
}
END_TEST

START_TEST(files)
{
	open_as("file");
	put("one");
	console_close(&console);
	open_as("append");
	put("two");
	console_close(&console);
	expect_file("onetwo");
	open_as("file");
	put("three");
	console_close(&console);
	expect_file("three");
}
END_TEST

/* What nobody takes is given up when it has waited for long, but for its end; and taken again when somebody reads. */
START_TEST(nobody_reads)
{
	static char much[1 << 16];
	struct pollfd ready;
	char text[1 << 12];

	ck_assert(!failed(console_open(&console, "pty")));
	console.lossy = true;
	memset(much, 'x', sizeof(much));
	ck_assert(!failed(console_put(&console, much, sizeof(much))));
	size_t waiting = console_pending(&console);

	ck_assert_uint_gt(waiting, CONSOLE_KEPT);
	/* The kernel may have moved some of it on, and taken more. */
	ck_assert(!failed(console_flush(&console)));
	waiting = console_pending(&console);
	ck_assert_uint_gt(waiting, CONSOLE_KEPT);
	ck_assert_uint_ne(console.stuck_since, 0);
	for (unsigned i = 0; i < 100 && console_pending(&console) > CONSOLE_KEPT; i++) {
		console.stuck_since = 1; /* since the host's start */
		ck_assert(!failed(console_flush(&console)));
	}
	ck_assert_uint_eq(console_pending(&console), CONSOLE_KEPT);
	ck_assert_uint_gt(console.dropped, 0);
	ck_assert_uint_le(console.dropped, waiting - CONSOLE_KEPT);
	put("the end");

	ready = (struct pollfd){ .fd = console.keeper_fd, .events = POLLIN };
	char last = 'x';

	while (console_pending(&console) > 0 || poll(&ready, 1, 100) > 0) {
		ssize_t got = poll(&ready, 1, 100) > 0 ? read(console.keeper_fd, text, sizeof(text)) : 0;

		if (got > 0)
			last = text[got - 1];
		ck_assert(!failed(console_flush(&console)));
	}
	ck_assert_int_eq(last, 'd');
	ck_assert_uint_eq(console.stuck_since, 0);
}
END_TEST

/* A console that is not lossy waits for its reader. */
START_TEST(a_patient_one)
{
	static char much[1 << 16];

	ck_assert(!failed(console_open(&console, "pty")));
	ck_assert(!failed(console_put(&console, much, sizeof(much))));
	size_t waiting = console_pending(&console);

	console.stuck_since = 1;
	ck_assert(!failed(console_flush(&console)));
	ck_assert_uint_le(console_pending(&console), waiting);
	ck_assert_uint_gt(console_pending(&console), CONSOLE_KEPT);
	ck_assert_uint_eq(console.dropped, 0);
}
END_TEST

START_TEST(a_log_beside)
{
	char option[96];
	int ends[2];

	ck_assert(!failed(console_open(&console, "null")));
	(void)snprintf(option, sizeof(option), "append:%s", path);
	ck_assert(!failed(console_open_log(&console, option)));
	put("logged");
	console_close(&console);
	expect_file("logged");

	/* A log that cannot be written any more stops nobody. */
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert(!failed(console_open(&console, "null")));
	(void)snprintf(option, sizeof(option), "fd:%d", ends[1]);
	ck_assert(!failed(console_open_log(&console, option)));
	put("piped");
	expect_read(ends[0], "piped");
	close(ends[0]);
	put("broken");
	ck_assert_ptr_null(console.log);
}
END_TEST

START_TEST(bad_places)
{
	static const char *const bad[] = {
		"", "frob", "file:", "unix:", "unix-fd:x", "fd:-1", "fd:1x", "fd:99999999999",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		result r = console_open(&console, bad[i]);

		ck_assert_msg(failed(r) && r.failure->status == STATUS_USAGE, "'%s' is taken", bad[i]);
	}
	/* Standard input is no listening socket. */
	ck_assert(failed(console_open(&console, "unix-fd:0")));
	ck_assert(failed(console_open(&console, "fd:1000")));
	open_as("unix");
	struct console second;
	char option[96];

	(void)snprintf(option, sizeof(option), "unix:%s", path);
	result r = console_open(&second, option);

	ck_assert(failed(r) && r.failure->status == STATUS_INPUT);
	/* The first one's socket stays. */
	ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("console");
	TCase *tests = tcase_create("backends");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, a_client_at_a_time);
	tcase_add_test(tests, files);
	tcase_add_test(tests, nobody_reads);
	tcase_add_test(tests, a_patient_one);
	tcase_add_test(tests, a_log_beside);
	tcase_add_test(tests, bad_places);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
