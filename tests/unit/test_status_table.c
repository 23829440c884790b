/* The table of a status: what it says, and what becomes of an object that is not what it should be. */
#include "tests/unit/fixture.h"

#include <stdlib.h>
#include <string.h>

#include "manage/client.c"
#include "manage/places.c"
#include "manage/qmp_stream.c"
#include "manage/status_table.c"

static const char whole[] =
	"{\"name\": \"db\", \"state\": \"degraded\", \"end\": null, \"leader\": 1, \"replicas\": 3, \"live\": 2,"
	" \"position\": 123456, \"uptime_ns\": 93784000000000, \"votes\": {\"total\": 10, \"unanimous\": 7,"
	" \"minority\": 2, \"no_majority\": 0, \"unconfirmed\": 1}, \"repairs\": 1, \"failovers\": 2, \"respawns\": 0,"
	" \"rollbacks\": 0, \"last_fault\": \"replica 0 was killed\", \"replica\": ["
	"{\"index\": 0, \"role\": \"follower\", \"state\": \"joining\", \"pid\": 77, \"core\": -1, \"position\": 0,"
	" \"lag\": 123456, \"votes\": 4, \"repairs\": 0, \"respawns\": 1, \"last_fault\": \"killed by signal 9\"},"
	"{\"index\": 1, \"role\": \"leader\", \"state\": \"running\", \"pid\": 78, \"core\": 5, \"position\": 123456,"
	" \"lag\": 0, \"votes\": 10, \"repairs\": 1, \"respawns\": 0, \"last_fault\": null}]}";

static char *table_of(const char *text)
{
	json_t *status = json_loads(text, 0, NULL);

	ck_assert_ptr_nonnull(status);
	char *table = status_table(status);

	json_decref(status);
	ck_assert_ptr_nonnull(table);
	return table;
}

static void expect_line(const char *table, unsigned number, const char *wanted)
{
	while (number-- > 0) {
		table = strchr(table, '\n');
		ck_assert_ptr_nonnull(table);
		table++;
	}
	ck_assert_msg(strncmp(table, wanted, strlen(wanted)) == 0 && table[strlen(wanted)] == '\n',
		      "not \"%s\":\n%s", wanted, table);
}

START_TEST(says_all)
{
	char *table = table_of(whole);

	expect_line(table, 0, "db: degraded, 2 of 3 replicas live, replica 1 leads, position 123456, "
			      "up 1 d 2 h 3 min 4 s");
	expect_line(table, 1, "votes: 10 (7 unanimous, 2 with a minority, 0 without a majority, 1 unconfirmed)");
	expect_line(table, 2, "mended: 1 repair, 2 failovers, 0 respawns, 0 rollbacks");
	expect_line(table, 3, "last fault: replica 0 was killed");
	expect_line(table, 4, "replica  role      core      position       lag      votes  repairs  state      "
			      "last fault");
	expect_line(table, 5, "      0  follower     -             0    123456          4        0  joining    "
			      "killed by signal 9");
	expect_line(table, 6, "      1  leader       5        123456         0         10        1  running    -");
	ck_assert_str_eq(strrchr(table, '-'), "-\n");
	free(table);
}
END_TEST

START_TEST(ended)
{
	char *table = table_of("{\"name\": \"x\", \"state\": \"ended\", \"end\": \"power_off\", \"live\": 3,"
			       " \"replicas\": 3, \"leader\": 0, \"position\": 5, \"uptime_ns\": 1000000000}");

	expect_line(table, 0, "x: ended (power_off), 3 of 3 replicas live, replica 0 leads, position 5, up 1 s");
	free(table);
}
END_TEST

/* Nothing that a hostile machine says acts on the terminal, or ends the program. */
START_TEST(hostile)
{
	static const char *const texts[] = {
		"{}",
		"[]",
		"{\"replica\": [null, 5, [], {}]}",
		"{\"name\": 5, \"state\": [], \"votes\": 7, \"replica\": {}}",
		("{\"name\": \"\\u001b[2J\\u009b1A\\n\\u007f\","
		 " \"replica\": [{\"index\": -7, \"state\": \"\\r\\u0085\"}]}"),
		"{\"uptime_ns\": -9223372036854775808, \"position\": 9223372036854775807}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		char *table = table_of(texts[i]);

		for (const unsigned char *c = (const unsigned char *)table; *c; c++) {
			ck_assert_msg(*c == '\n' || (*c >= 0x20 && *c != 0x7f), "%s", texts[i]);
			ck_assert_msg(*c != 0xc2 || c[1] >= 0xa0, "%s", texts[i]);
		}
		free(table);
	}
}
END_TEST

START_TEST(long_texts)
{
	char text[5000];
	int length = snprintf(text, sizeof(text), "{\"name\": \"%01000d\", \"last_fault\": \"%02000d\"}", 0, 0);

	ck_assert_int_lt(length, (int)sizeof(text));
	char *table = table_of(text);

	ck_assert_uint_lt(strlen(table), 1000);
	free(table);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("status_table");
	TCase *tests = tcase_create("tables");

	tcase_add_test(tests, says_all);
	tcase_add_test(tests, ended);
	tcase_add_test(tests, hostile);
	tcase_add_test(tests, long_texts);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
