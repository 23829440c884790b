/* Log lines: one write each, with the role and the level, however long the message. */
#include "tests/unit/fixture.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static int saved_stderr, reader;

/* Datagrams keep writes apart. */
static void setup(void)
{
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_DIRECT | O_NONBLOCK), 0);
	reader = ends[0];
	saved_stderr = dup(STDERR_FILENO);
	ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	close(ends[1]);
}

static void teardown(void)
{
	(void)dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(reader);
}

/* Takes what one write wrote. */
static size_t take(char *line, size_t size)
{
	ssize_t got = read(reader, line, size - 1);

	if (got < 0)
		got = 0;
	line[got] = '\0';
	return (size_t)got;
}

START_TEST(levels)
{
	char line[4096];

	log_error("%d and %s", 1, "two");
	log_warning("careful");
	log_info("hello");
	take(line, sizeof(line));
	ck_assert_str_eq(line, "tercet: error: 1 and two\n");
	take(line, sizeof(line));
	ck_assert_str_eq(line, "tercet: warning: careful\n");
	take(line, sizeof(line));
	ck_assert_str_eq(line, "tercet: hello\n");
	ck_assert_uint_eq(take(line, sizeof(line)), 0);
}
END_TEST

START_TEST(debug_only_when_wanted)
{
	char line[4096];

	log_debug("one");
	log_set_verbose(true);
	log_debug("two");
	log_set_verbose(false);
	log_debug("three");
	take(line, sizeof(line));
	ck_assert_str_eq(line, "tercet: debug: two\n");
	ck_assert_uint_eq(take(line, sizeof(line)), 0);
}
END_TEST

START_TEST(roles)
{
	char line[4096];
	char role[100];

	log_set_role("replica 1");
	log_info("a");
	log_set_role("");
	log_info("b");
	log_set_role("replica 2");
	log_set_role(NULL);
	log_info("c");
	memset(role, 'r', sizeof(role) - 1);
	role[sizeof(role) - 1] = '\0';
	log_set_role(role);
	log_info("d");
	log_set_role(NULL);
	take(line, sizeof(line));
	ck_assert_str_eq(line, "tercet[replica 1]: a\n");
	take(line, sizeof(line));
	ck_assert_str_eq(line, "tercet: b\n");
	take(line, sizeof(line));
	ck_assert_str_eq(line, "tercet: c\n");
	take(line, sizeof(line));
	ck_assert_str_eq(line, "tercet[rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr]: d\n");
}
END_TEST

START_TEST(long_messages_are_cut)
{
	static char message[5000];
	char line[4096];

	memset(message, 'm', sizeof(message) - 1);
	log_set_role("a role of thirty-one characters");
	log_error("%s", message);
	log_set_role(NULL);
	size_t length = take(line, sizeof(line));

	ck_assert_uint_gt(length, 2000);
	ck_assert_int_eq(line[length - 1], '\n');
	ck_assert_int_eq(line[length - 2], 'm');
	ck_assert_ptr_eq(strchr(line, '\n'), line + length - 1);
	ck_assert_uint_eq(take(line, sizeof(line)), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("log");
	TCase *tests = tcase_create("lines");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, levels);
	tcase_add_test(tests, debug_only_when_wanted);
	tcase_add_test(tests, roles);
	tcase_add_test(tests, long_messages_are_cut);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
