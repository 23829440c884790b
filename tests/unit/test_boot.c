/* The command line that a Linux guest gets: the user's and ours, within the kernel's limit. */
#include "tests/unit/guest_memory.h"

#include <stdio.h>
#include <string.h>

#include "vmm/boot.h"

#define ADDITION boot_command_line_addition("", false)

START_TEST(addition)
{
	char line[BOOT_COMMAND_LINE_MAX];

	must_succeed(boot_command_line("", false, line, sizeof(line)));
	ck_assert_str_eq(line, "lpj=1000000");
	must_succeed(boot_command_line("a b=c", false, line, sizeof(line)));
	ck_assert_str_eq(line, "a b=c lpj=1000000");
	must_succeed(boot_command_line("a lpj", false, line, sizeof(line)));
	ck_assert_str_eq(line, "a lpj lpj=1000000");
	must_succeed(boot_command_line("xlpj=5", false, line, sizeof(line)));
	ck_assert_str_eq(line, "xlpj=5 lpj=1000000");
}
END_TEST

/* Where the user says it, and where it need not be said. */
START_TEST(no_addition)
{
	char line[BOOT_COMMAND_LINE_MAX];

	must_succeed(boot_command_line("lpj=7", false, line, sizeof(line)));
	ck_assert_str_eq(line, "lpj=7");
	must_succeed(boot_command_line("xlpj=5 lpj=7 b", false, line, sizeof(line)));
	ck_assert_str_eq(line, "xlpj=5 lpj=7 b");
	must_succeed(boot_command_line("a b", true, line, sizeof(line)));
	ck_assert_str_eq(line, "a b");
	must_succeed(boot_command_line("", true, line, sizeof(line)));
	ck_assert_str_eq(line, "");
	must_succeed(boot_command_line("abc", true, line, 4));
	ck_assert_str_eq(line, "abc");
	must_fail(boot_command_line("abc", true, line, 3), STATUS_USAGE, "--append");
}
END_TEST

/* Every length around the limit: it fits whole with its final NUL, or it is refused. */
START_TEST(limit)
{
	static char users[BOOT_COMMAND_LINE_MAX + 10], line[BOOT_COMMAND_LINE_MAX + 10];
	const size_t most = BOOT_COMMAND_LINE_MAX - 2 - strlen(ADDITION);
	char words[64];

	(void)snprintf(words, sizeof(words), "may have %zu characters", most);
	for (size_t length = 0; length < sizeof(users); length++) {
		memset(users, 'x', length);
		users[length] = '\0';
		memset(line, 'G', sizeof(line));
		result r = boot_command_line(users, false, line, sizeof(line));

		if (length > most) {
			must_fail(r, STATUS_USAGE, words);
			continue;
		}
		must_succeed(r);
		ck_assert_uint_lt(strlen(line), BOOT_COMMAND_LINE_MAX);
		ck_assert_int_eq(line[BOOT_COMMAND_LINE_MAX], 'G');
		ck_assert_int_eq(memcmp(line, users, length), 0);
		ck_assert_ptr_nonnull(strstr(line, ADDITION));
	}
}
END_TEST

START_TEST(small_room)
{
	char line[64];
	size_t needed = strlen("abc") + 1 + strlen(ADDITION) + 1;

	must_succeed(boot_command_line("abc", false, line, needed));
	ck_assert_uint_eq(strlen(line) + 1, needed);
	must_fail(boot_command_line("abc", false, line, needed - 1), STATUS_USAGE, "--append");
	must_fail(boot_command_line("abc", false, line, 0), STATUS_USAGE, "--append");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boot");
	TCase *tests = tcase_create("command line");

	tcase_add_test(tests, addition);
	tcase_add_test(tests, no_addition);
	tcase_add_test(tests, limit);
	tcase_add_test(tests, small_room);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
