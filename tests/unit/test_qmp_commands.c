/* The commands of a monitor, about a machine that only seems to be one. */
#include "tests/unit/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manage/qmp.c"
#include "manage/qmp_commands.c"
#include "manage/qmp_stream.c"

static struct qmp qmp;
static struct qmp_machine fake;
static struct qmp_interface interface;

static int machine_stands_for;
static const char *machine_state;
static unsigned faults;
static struct inject_fault last_fault;

static json_t *give_status(const struct supervisor *supervisor)
{
	ck_assert_ptr_eq(supervisor, &machine_stands_for);
	return machine_state ? json_pack("{s:s, s:s}", "name", "unit", "state", machine_state) : NULL;
}

static result take_fault(struct supervisor *supervisor, const struct inject_fault *fault)
{
	ck_assert_ptr_eq(supervisor, &machine_stands_for);
	if (fault->replica > 2)
		return fail(STATUS_USAGE, "there is no replica %u", fault->replica);
	last_fault = *fault;
	faults++;
	return OK;
}

static void say(const char *text)
{
	qmp_receive(&qmp, text, strlen(text));
}

/* Takes all output; valid until the next call. */
static const char *take(void)
{
	static char text[4096];
	size_t length;
	const char *output = qmp_output(&qmp, &length);

	ck_assert_uint_lt(length, sizeof(text));
	memcpy(text, output, length);
	text[length] = '\0';
	qmp_output_taken(&qmp, length);
	return text;
}

static void expect(const char *text, const char *wanted)
{
	say(text);
	ck_assert_str_eq(take(), wanted);
}

static void setup(void)
{
	fake = (struct qmp_machine){ "unit", (struct supervisor *)&machine_stands_for, give_status, take_fault };
	interface = qmp_commands_interface(&fake);
	machine_state = "running";
	faults = 0;
	qmp_begin(&qmp, &interface);
	say("{\"execute\": \"qmp_capabilities\"}");
	(void)take();
}

static void teardown(void)
{
	ck_assert(!qmp.broken);
	qmp_end(&qmp);
}

START_TEST(queries)
{
	expect("{\"execute\": \"query-name\"}", "{\"return\": {\"name\": \"unit\"}}\r\n");
	expect("{\"execute\": \"tercet-status\"}",
	       "{\"return\": {\"name\": \"unit\", \"state\": \"running\"}}\r\n");
	expect("{\"execute\": \"query-version\"}",
	       "{\"return\": {\"qemu\": {\"major\": 4, \"minor\": 2, \"micro\": 0}, "
	       "\"package\": \" (tercet " TERCET_VERSION ")\"}}\r\n");
}
END_TEST

/* A machine without memory for its status is a reason for an error, not for a crash. */
START_TEST(no_status)
{
	machine_state = NULL;
	say("{\"execute\": \"tercet-status\"}");
	ck_assert_ptr_nonnull(strstr(take(), "\"class\": \"GenericError\", \"desc\": \"no memory"));
	say("{\"execute\": \"query-status\"}");
	ck_assert_ptr_nonnull(strstr(take(), "\"class\": \"GenericError\", \"desc\": \"no memory"));
}
END_TEST

START_TEST(run_states)
{
	static const char *const states[][2] = {
		{ "running", "{\"return\": {\"status\": \"running\", \"running\": true, \"singlestep\": false}}\r\n" },
		{ "degraded", "{\"return\": {\"status\": \"running\", \"running\": true, \"singlestep\": false}}\r\n" },
		{ "ended", "{\"return\": {\"status\": \"shutdown\", \"running\": false, \"singlestep\": false}}\r\n" },
		{ "stopped",
		  "{\"return\": {\"status\": \"internal-error\", \"running\": false, \"singlestep\": false}}\r\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		machine_state = states[i][0];
		expect("{\"execute\": \"query-status\"}", states[i][1]);
	}
}
END_TEST

/* Every command that is listed can be found, and the other way round. */
START_TEST(command_list)
{
	json_t *reply, *list, *entry;
	size_t index;

	say("{\"execute\": \"query-commands\"}");
	reply = json_loads(take(), 0, NULL);
	list = json_object_get(reply, "return");
	ck_assert_uint_eq(json_array_size(list), ARRAY_SIZE(commands) + 1);
	json_array_foreach(list, index, entry) {
		const char *name = json_string_value(json_object_get(entry, "name"));
		char text[100];

		ck_assert_ptr_nonnull(name);
		(void)snprintf(text, sizeof(text), "{\"execute\": \"%s\", \"arguments\": {\"\": 1}}", name);
		say(text);
		/* It is the argument that is not known. */
		if (strcmp(name, "qmp_capabilities") != 0)
			ck_assert_ptr_nonnull(strstr(take(), "{\"class\": \"GenericError\""));
		else
			(void)take();
	}
	json_decref(reply);
}
END_TEST

START_TEST(injection)
{
	static const char *const bad[] = {
		"{}",
		"{\"replica\": 1}",
		"{\"target\": \"reg:rax:1\"}",
		"{\"replica\": \"1\", \"target\": \"reg:rax:1\"}",
		"{\"replica\": -1, \"target\": \"reg:rax:1\"}",
		"{\"replica\": 4294967296, \"target\": \"reg:rax:1\"}",
		"{\"replica\": 1.5, \"target\": \"reg:rax:1\"}",
		"{\"replica\": 1, \"target\": 5}",
		"{\"replica\": 1, \"target\": \"\"}",
		"{\"replica\": 1, \"target\": \"reg:rax\"}",
		"{\"replica\": 1, \"target\": \"reg:rux:1\"}",
		"{\"replica\": 1, \"target\": \"reg:rax:64\"}",
		"{\"replica\": 1, \"target\": \"reg:rax:1\", \"at\": null}",
		"{\"replica\": 1, \"target\": \"reg:rax:1\", \"at\": -1}",
		"{\"replica\": 1, \"target\": \"reg:rax:1\", \"at\": 1.0}",
		"{\"replica\": 1, \"target\": \"reg:rax:1\", \"at\": \"soon\"}",
		"{\"replica\": 1, \"target\": \"reg:rax:1\", \"at\": \"1111111111111111111111111111111111111111\"}",
		"{\"replica\": 1, \"target\": \"reg:rax:1\", \"when\": 5}",
		"{\"replica\": 3, \"target\": \"reg:rax:1\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char text[256];

		(void)snprintf(text, sizeof(text), "{\"execute\": \"tercet-inject\", \"arguments\": %s}", bad[i]);
		say(text);
		const char *got = take();

		ck_assert_msg(strncmp(got, "{\"error\": {\"class\": \"GenericError\"", 33) == 0, "%s: %s",
			      bad[i], got);
	}
	ck_assert_uint_eq(faults, 0);
	expect("{\"execute\": \"tercet-inject\", \"arguments\": {\"replica\": 2, \"target\": \"reg:rax:3\","
		     " \"at\": 12345}}",
	       "{\"return\": {}}\r\n");
	ck_assert_uint_eq(last_fault.replica, 2);
	ck_assert_str_eq(last_fault.name, "rax");
	ck_assert_uint_eq(last_fault.bit, 3);
	ck_assert_uint_eq(last_fault.position, 12345);
	expect("{\"execute\": \"tercet-inject\", \"arguments\": {\"replica\": 0, \"target\": \"mem:0x1000:7\","
		     " \"at\": \"77\"}}",
	       "{\"return\": {}}\r\n");
	ck_assert_uint_eq(last_fault.address, 0x1000);
	ck_assert_uint_eq(last_fault.position, 77);
	expect("{\"execute\": \"tercet-inject\", \"arguments\": {\"replica\": 1, \"target\": \"reg:rbx:0\"}}",
	       "{\"return\": {}}\r\n");
	ck_assert_uint_eq(last_fault.position, 0);
	ck_assert_uint_eq(faults, 3);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("qmp_commands");
	TCase *tests = tcase_create("commands");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, queries);
	tcase_add_test(tests, no_status);
	tcase_add_test(tests, run_states);
	tcase_add_test(tests, command_list);
	tcase_add_test(tests, injection);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
