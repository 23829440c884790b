/* Reports of stopped machines: that everything is in them. */
#include "tests/unit/stopped_machine.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/checked_word.h"
#include "devices/board.h"
#include "lockstep/fail_stop_copy.h"

/* --- the parts of a report --- */

/* The line of a table that begins with this label, less the mark before it. */
static bool row_is_marked(const char *name, const char *label)
{
	char *lines = stopped_machine_text(name, NULL);
	char *rest;

	for (char *line = strtok_r(lines, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		size_t length = strlen(label);

		if (strlen(line) > 2 + length && strncmp(line + 2, label, length) == 0 &&
		    line[2 + length] == ' ')
			return line[0] == '*';
	}
	ck_abort_msg("there is no %s in %s", label, name);
	return false;
}

START_TEST(whole)
{
	static const char *const names[] = { "summary.txt",   "command",     "digests.txt",
					     "registers.txt", "devices.txt", "exits.txt",
					     "tape.txt",      "report.json", "pages" };
	struct stat information;

	stopped_machine_damage();
	stopped_machine_report();
	ck_assert_ptr_nonnull(strstr(stopped.path, "/tercet-db1-20261122-123348"));
	ck_assert_int_eq(stat(stopped.path, &information), 0);
	ck_assert_uint_eq(information.st_mode & 0777, 0700);
	ck_assert_uint_eq(stopped_machine_entries(stopped.path, false), ARRAY_SIZE(names));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		ck_assert_int_eq(stat(stopped_machine_file(names[i]), &information), 0);
		ck_assert_uint_eq(information.st_mode & 077, 0);
	}
	ck_assert_int_eq(stat(stopped_machine_file("command"), &information), 0);
	ck_assert_uint_eq(information.st_mode & 0700, 0700);
}
END_TEST

START_TEST(summary)
{
	(void)snprintf(stopped.areas[1].control->failure, sizeof(stopped.areas[1].control->failure),
		       "KVM said no");
	stopped_machine_damage();
	stopped_machine_report();
	must_have("summary.txt", "stopped the machine db1 at 2026-11-22T12:33:48Z");
	must_have("summary.txt", "  no majority at vote 12\n");
	must_have("summary.txt", "Everything up to vote 11 at position 2900");
	must_have("summary.txt",
		  "replica 1: vote 12 at position 3000, reached position 3100, on core 3\n    it says: KVM said no");
	must_have("summary.txt", "replica 2 and replica 0, vote 12 at position 3000\n    digests: cpu\n");
	must_have("summary.txt", "registers: rbx\n    devices: i8259\n    pages: 0x7000\n");
	stopped.facts.agreed_votes = 0;
	stopped_machine_report();
	must_have("summary.txt", "Nothing: no vote had been decided.");
}
END_TEST

START_TEST(tables)
{
	stopped_machine_damage();
	stopped_machine_report();
	ck_assert(row_is_marked("registers.txt", "rbx"));
	ck_assert(!row_is_marked("registers.txt", "rax"));
	ck_assert(!row_is_marked("registers.txt", "xmm15"));
	must_have("registers.txt", "0000000000020000");
	must_have("registers.txt", "1122334455667788");
	ck_assert(row_is_marked("digests.txt", "cpu"));
	ck_assert(!row_is_marked("digests.txt", "ram"));
	ck_assert(!row_is_marked("digests.txt", "vote"));
	must_have("digests.txt", "5b5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a");
	must_have("digests.txt", "output (2)");

	/* One device differs, in its last row, of which all three are shown. */
	char line[64];

	(void)snprintf(line, sizeof(line), "\n* %s\n", board_device_name(NULL, 1));
	must_have("devices.txt", line);
	(void)snprintf(line, sizeof(line), "\n  %s\n", board_device_name(NULL, 0));
	must_have("devices.txt", line);
	unsigned shown = 0;

	for (const char *at = stopped_machine_text("devices.txt", NULL); (at = strstr(at, "\n* 0")) != NULL;
	     at++)
		shown++;
	ck_assert_uint_eq(shown, STOPPED_REPLICAS);
}
END_TEST

/* The last device's state has a byte more in one replica; none at all in another. */
START_TEST(device_lengths)
{
	const size_t last = board_device_count(NULL) - 1;
	struct vote_record *record = &stopped.records[1];
	size_t offset, length;
	char line[64];

	ck_assert(board_saved_device(record->devices, record->devices_size, last, &offset, &length));
	bytes_store_u32(record->devices + offset - 4, (uint32_t)length + 1);
	record->devices_size++;
	stopped_machine_report();
	(void)snprintf(line, sizeof(line), "\n* %s\n", board_device_name(NULL, last));
	must_have("devices.txt", line);
	ck_assert_uint_eq(length % 16, 0);
	(void)snprintf(line, sizeof(line), "\n* %04zx  replica 1  00\n", length);
	must_have("devices.txt", line);
	record->devices_size -= (uint32_t)length + 2;
	stopped_machine_report();
	(void)snprintf(line, sizeof(line), "\n* %s\n* replica 1: damaged", board_device_name(NULL, last));
	must_have("devices.txt", line);
}
END_TEST

START_TEST(exits)
{
	struct exit_record *lost = &stopped.areas[1].exit_log[STOPPED_REACHED - 7];

	stopped_machine_damage();
	lost->position = 17;
	stopped_machine_report();
	must_have("exits.txt", "*         3095  port_out");
	must_have("exits.txt", "!         3093  port_out");
	must_have("exits.txt", "          3100  port_out");
	must_have("exits.txt", "          3037  port_out");
	must_not_have("exits.txt", "3036  port_out");
	must_not_have("exits.txt", "*         3094");
	/* What one log has lost makes no difference to the others. */
	must_not_have("exits.txt", "*         3093");

	json_t *report = stopped_machine_json();
	const json_t *list = json_object_get(json_array_get(json_object_get(report, "replicas"), 2), "exits");
	const json_t *exit = json_array_get(list, 58);

	ck_assert_uint_eq(json_array_size(list), FAIL_STOP_EXITS);
	ck_assert_int_eq(json_integer_value(json_object_get(exit, "position")), 3095);
	ck_assert_str_eq(json_string_value(json_object_get(exit, "state")), "differs");
	ck_assert_str_eq(json_string_value(json_object_get(exit, "rip")), "0x1234");
	ck_assert_str_eq(json_string_value(json_object_get(exit, "data")), "0xc17");
	json_decref(report);
}
END_TEST

START_TEST(few_exits)
{
	for (unsigned i = 0; i < STOPPED_REPLICAS; i++)
		checked_word_store(&stopped.areas[i].control->reached, i);
	stopped_machine_report();
	json_t *report = stopped_machine_json();
	const json_t *replicas = json_object_get(report, "replicas");

	for (unsigned i = 0; i < STOPPED_REPLICAS; i++)
		ck_assert_uint_eq(json_array_size(json_object_get(json_array_get(replicas, i), "exits")), i);
	json_decref(report);
}
END_TEST

START_TEST(json)
{
	stopped_machine_damage();
	stopped.facts.working_folder = "over there";
	stopped_machine_report();
	json_t *report = stopped_machine_json();
	const json_t *vote = json_object_get(json_array_get(json_object_get(report, "replicas"), 2), "vote");
	size_t offset, length;

	ck_assert_str_eq(json_string_value(json_object_get(report, "name")), "db1");
	ck_assert_str_eq(json_string_value(json_object_get(report, "why")), "no majority at vote 12");
	ck_assert_str_eq(json_string_value(json_object_get(report, "time")), "2026-11-22T12:33:48Z");
	ck_assert_str_eq(json_string_value(json_object_get(report, "working_folder")), "over there");
	ck_assert_uint_eq(json_array_size(json_object_get(report, "command")), 4);
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(report, "agreed"), "position")),
			 2900);
	ck_assert(json_equal(json_object_get(report, "differences"), stopped.facts.differences));
	ck_assert(json_equal(json_object_get(report, "events"), stopped.facts.events));
	ck_assert_int_eq(json_integer_value(json_object_get(vote, "number")), STOPPED_VOTE);
	ck_assert_str_eq(json_string_value(json_object_get(vote, "cause")), "output");
	ck_assert_str_eq(json_string_value(json_object_get(vote, "end")), "running");
	ck_assert_uint_eq(json_object_size(json_object_get(vote, "registers")), register_count);
	ck_assert_str_eq(json_string_value(json_object_get(json_object_get(vote, "registers"), "rbx")),
			 "0x0000000000020000");
	ck_assert_uint_eq(json_object_size(json_object_get(vote, "devices")), board_device_count(NULL));
	ck_assert(board_saved_device(stopped.records[2].devices, stopped.records[2].devices_size, 1, &offset,
				     &length));
	const char *state = json_string_value(
		json_object_get(json_object_get(vote, "devices"), board_device_name(NULL, 1)));

	ck_assert_uint_eq(strlen(state), 2 * length);
	ck_assert_uint_eq(strtoul(state + 2 * length - 2, NULL, 16),
			  stopped.records[2].devices[offset + length - 1]);
	json_decref(report);
}
END_TEST

/* --- pages --- */

static void must_hold_page(const char *name, const uint8_t *expected)
{
	size_t size;
	const char *bytes = stopped_machine_text(name, &size);

	ck_assert_uint_eq(size, RAM_PAGE_SIZE);
	ck_assert_mem_eq(bytes, expected, RAM_PAGE_SIZE);
}

START_TEST(pages)
{
	stopped_machine_damage();
	stopped_machine_report();
	ck_assert_uint_eq(stopped_machine_pages(), STOPPED_REPLICAS);
	must_hold_page("pages/0x000000007000-replica0.bin", ram_page(&stopped.rams[0], 7));
	must_hold_page("pages/0x000000007000-replica2.bin", ram_page(&stopped.rams[2], 7));
	ck_assert_int_eq(stopped_machine_text("pages/0x000000007000-replica2.bin", NULL)[3], 0x55);
}
END_TEST

/* What a report says of pages is not believed, either. */
START_TEST(no_such_pages)
{
	stopped.facts.differences =
		json_pack("[{s:[s], s:[{s:s}, {s:s}, {s:s}, {s:i}, {}, s, {s:s}]}]", "digests", "ram",
			  "pages", "address", "0xfffffffffffffff0", "address", "nonsense", "address",
			  "0x1000000", "address", 5, "0x3000", "address", "0x0");
	ck_assert_ptr_nonnull(stopped.facts.differences);
	stopped_machine_report();
	/* "nonsense" is as good as 0. */
	ck_assert_uint_eq(stopped_machine_pages(), STOPPED_REPLICAS);
}
END_TEST

START_TEST(many_pages)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < 2 * FAIL_STOP_PAGES; i++) {
		char text[32];

		(void)snprintf(text, sizeof(text), "0x%x", i / 2 * 0x1000 * 3);
		(void)json_array_append_new(list, json_pack("{s:s}", "address", text));
	}
	for (unsigned i = 0; i < 10; i++)
		(void)json_array_append(list, json_array_get(list, i));
	(void)json_array_append_new(list, json_pack("{s:s}", "address", "0xfff000"));
	stopped.facts.differences = json_pack("[{s:[s], s:o}]", "digests", "ram", "pages", list);
	stopped_machine_report();
	ck_assert_uint_eq(stopped_machine_pages(), FAIL_STOP_PAGES * STOPPED_REPLICAS);
	must_have("summary.txt", "page by page: 64");
}
END_TEST

/* No vote has named any: the tables of page hashes do. */
START_TEST(pages_by_hash)
{
	stopped.facts.differences = json_pack("[{s:[], s:[]}]", "digests", "pages");
	stopped.areas[1].page_hashes[100].bytes[3] = 1;
	stopped.areas[2].page_hashes[4095].bytes[15] = 1;
	stopped_machine_report();
	ck_assert_uint_eq(stopped_machine_pages(), 2 * STOPPED_REPLICAS);
	must_hold_page("pages/0x000000064000-replica1.bin", ram_page(&stopped.rams[1], 100));
	must_hold_page("pages/0x000000fff000-replica0.bin", ram_page(&stopped.rams[0], 4095));
	must_have("report.json", "\"pages_by\": \"page_hashes\"");
	/* Those of a vote are believed more, even if there are none. */
	json_decref(stopped.facts.differences);
	stopped.facts.differences = json_pack("[{s:[s], s:[]}]", "digests", "cpu", "pages");
	stopped_machine_report();
	ck_assert_uint_eq(stopped_machine_pages(), 0);
	must_have("report.json", "\"pages_by\": \"votes\"");
}
END_TEST

/* --- the command --- */

/* What the report's command prints. */
static size_t run_command(char *output, size_t size)
{
	int ends[2];
	int status;
	size_t used = 0;
	ssize_t got;
	pid_t pid;

	ck_assert_int_eq(pipe(ends), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)dup2(ends[1], STDOUT_FILENO);
		(void)execl("/bin/sh", "sh", stopped_machine_file("command"), NULL);
		_exit(127);
	}
	(void)close(ends[1]);
	while ((got = read(ends[0], output + used, size - used)) > 0)
		used += (size_t)got;
	(void)close(ends[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	return used;
}

/* Words that a shell would do something with arrive as they were. */
START_TEST(command)
{
	static char *words[] = { "printf",
				 "%s|",
				 "it's",
				 "",
				 "$HOME `id` $(id)",
				 "new\nline",
				 "\xc3\xa9\xff",
				 "--",
				 "a=b",
				 "-x",
				 "*",
				 "~",
				 "#",
				 "back\\slash",
				 "\"",
				 NULL };
	char expected[512];
	char output[512];
	size_t length = 0;

	for (size_t i = 2; words[i]; i++)
		length += (size_t)snprintf(expected + length, sizeof(expected) - length, "%s|", words[i]);
	stopped.facts.argv = words;
	stopped.facts.argc = (int)ARRAY_SIZE(words) - 1;
	stopped_machine_report();
	ck_assert_uint_eq(run_command(output, sizeof(output)), length);
	ck_assert_mem_eq(output, expected, length);

	json_t *report = stopped_machine_json();
	const json_t *list = json_object_get(report, "command");

	ck_assert_uint_eq(json_array_size(list), ARRAY_SIZE(words) - 1);
	ck_assert_str_eq(json_string_value(json_array_get(list, 5)), "new\nline");
	ck_assert_str_eq(json_string_value(json_array_get(list, 6)), "???");
	json_decref(report);
}
END_TEST

START_TEST(working_folder)
{
	static char *words[] = { "pwd", "-P", NULL };
	char inside[300];
	char output[512];

	(void)snprintf(inside, sizeof(inside), "%s/it's here", stopped.folder);
	ck_assert_int_eq(mkdir(inside, 0700), 0);
	stopped.facts.argv = words;
	stopped.facts.argc = 2;
	stopped.facts.working_folder = inside;
	stopped_machine_report();
	size_t length = run_command(output, sizeof(output));

	ck_assert_uint_ge(length, 10);
	ck_assert_mem_eq(output + length - 10, "it's here\n", 10);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fail_stop");
	TCase *tests = tcase_create("reports");

	tcase_add_checked_fixture(tests, stopped_machine_setup, stopped_machine_teardown);
	tcase_add_test(tests, whole);
	tcase_add_test(tests, summary);
	tcase_add_test(tests, tables);
	tcase_add_test(tests, device_lengths);
	tcase_add_test(tests, exits);
	tcase_add_test(tests, few_exits);
	tcase_add_test(tests, json);
	tcase_add_test(tests, pages);
	tcase_add_test(tests, no_such_pages);
	tcase_add_test(tests, many_pages);
	tcase_add_test(tests, pages_by_hash);
	tcase_add_test(tests, command);
	tcase_add_test(tests, working_folder);
	tcase_set_timeout(tests, 120);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
