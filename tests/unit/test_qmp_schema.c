/* docs/qmp-schema.json names the commands, their arguments and the events that the code has, and no others. */
#include "tests/unit/fixture.h"

#include <string.h>

#include "lockstep/event.h"
#include "manage/qmp_commands.h"

static json_t *schema;

static void setup(void)
{
	json_error_t error;

	schema = json_load_file("docs/qmp-schema.json", JSON_REJECT_DUPLICATES, &error);
	ck_assert_msg(schema != NULL, "docs/qmp-schema.json: %s, line %d", error.text, error.line);
}

static void teardown(void)
{
	json_decref(schema);
}

static void expect_arguments(const struct qmp_command *command, const json_t *described)
{
	const json_t *arguments = json_object_get(described, "arguments");
	size_t count = 0;

	for (const char *const *name = command->parameters; name && *name; name++, count++)
		ck_assert_msg(json_object_get(arguments, *name) != NULL, "%s: \"%s\" is not described",
			      command->name, *name);
	ck_assert_msg(json_object_size(arguments) == count, "%s: arguments are described that it does not take",
		      command->name);
	ck_assert_msg(json_is_string(json_object_get(described, "returns")),
		      "%s: what it returns is not described", command->name);
}

START_TEST(all_commands)
{
	struct qmp_machine machine = { .name = "unit" };
	const struct qmp_interface all = qmp_commands_interface(&machine);
	const json_t *commands = json_object_get(schema, "commands");
	size_t count = 1; /* qmp_capabilities, which every conversation has */

	for (const struct qmp_interface *part = &all; part; part = part->next)
		for (size_t i = 0; i < part->count; i++, count++) {
			const json_t *described = json_object_get(commands, part->commands[i].name);

			ck_assert_msg(described != NULL, "%s is not described", part->commands[i].name);
			expect_arguments(&part->commands[i], described);
		}
	ck_assert_uint_eq(json_object_size(commands), count);
}
END_TEST

START_TEST(all_events)
{
	const json_t *events = json_object_get(schema, "events");

	for (unsigned i = 0; i < EVENTS; i++)
		ck_assert_msg(json_object_get(events, event_name((enum event_kind)i)) != NULL,
			      "%s is not described", event_name((enum event_kind)i));
	ck_assert_uint_eq(json_object_size(events), EVENTS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("qmp_schema");
	TCase *tests = tcase_create("schema");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, all_commands);
	tcase_add_test(tests, all_events);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
