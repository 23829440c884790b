/* The commands of a monitor, about a machine that only seems to be one. */
#include "tests/unit/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manage/qmp.c"
#include "manage/qmp_commands.c"
#include "manage/qmp_control.c"
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

static unsigned controls[5];
static bool refuses;
static enum life_state life;

static result control_machine(struct supervisor *supervisor, unsigned which)
{
	ck_assert_ptr_eq(supervisor, &machine_stands_for);
	if (refuses)
		return fail(STATUS_FAILED, "not now");
	controls[which]++;
	return OK;
}

static result pause_machine(struct supervisor *supervisor)
{
	return control_machine(supervisor, 0);
}

static result resume_machine(struct supervisor *supervisor)
{
	return control_machine(supervisor, 1);
}

static result reset_machine(struct supervisor *supervisor)
{
	return control_machine(supervisor, 2);
}

static result press_power_button(struct supervisor *supervisor)
{
	return control_machine(supervisor, 3);
}

static result end_machine(struct supervisor *supervisor)
{
	return control_machine(supervisor, 4);
}

static enum life_state give_state(const struct supervisor *supervisor)
{
	ck_assert_ptr_eq(supervisor, &machine_stands_for);
	return life;
}

static const struct machine_control fake_control = {
	.pause = pause_machine, .resume = resume_machine, .reset = reset_machine,
	.power_button = press_power_button, .end = end_machine, .state = give_state,
};

static void say(const char *text)
{
	qmp_receive(&qmp, text, strlen(text));
}

/* Takes all output; valid until the next call. */
static const char *take(void)
{
	static char text[16384];
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
	fake = (struct qmp_machine){
		.name = "unit",
		.supervisor = (struct supervisor *)&machine_stands_for,
		.status = give_status,
		.inject = take_fault,
		.control = &fake_control,
	};
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
}
END_TEST

START_TEST(run_states)
{
	static const struct {
		enum life_state state;
		const char *members;
	} states[] = {
		{ LIFE_RUNNING, "\"running\", \"running\": true" },
		{ LIFE_PRELAUNCH, "\"prelaunch\", \"running\": false" },
		{ LIFE_PAUSED, "\"paused\", \"running\": false" },
		{ LIFE_SHUTDOWN, "\"shutdown\", \"running\": false" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		char reply[128];

		life = states[i].state;
		(void)snprintf(reply, sizeof(reply), "{\"return\": {\"status\": %s, \"singlestep\": false}}\r\n",
			       states[i].members);
		expect("{\"execute\": \"query-status\"}", reply);
	}
}
END_TEST

/* Each goes to its function, once, and to no other; what that says against it is told. */
START_TEST(control)
{
	static const char *const names[] = { "stop", "cont", "system_reset", "system_powerdown", "quit" };
	char text[64];

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(text, sizeof(text), "{\"execute\": \"%s\"}", names[i]);
		memset(controls, 0, sizeof(controls));
		expect(text, "{\"return\": {}}\r\n");
		for (unsigned j = 0; j < ARRAY_SIZE(controls); j++)
			ck_assert_uint_eq(controls[j], i == j);
		refuses = true;
		expect(text, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"not now\"}}\r\n");
		refuses = false;
	}
}
END_TEST

/* Every command that is listed can be found, and the other way round. */
START_TEST(command_list)
{
	json_t *reply, *list, *entry;
	size_t index, all = 1; /* qmp_capabilities */

	say("{\"execute\": \"query-commands\"}");
	reply = json_loads(take(), 0, NULL);
	list = json_object_get(reply, "return");
	for (const struct qmp_interface *part = &interface; part; part = part->next)
		all += part->count;
	ck_assert_uint_eq(json_array_size(list), all);
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
	tcase_add_test(tests, control);
	tcase_add_test(tests, command_list);
	tcase_add_test(tests, injection);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
