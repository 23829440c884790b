#include "manage/qmp_commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "manage/qmp_control.h"
#include "manage/qmp_probe.h"
#include "manage/qmp_query.h"

static result query_version(void *context, json_t *arguments, struct qmp_answer *answer)
{
	(void)context;
	(void)arguments;
	return qmp_answer(answer, qmp_version());
}

static result query_name(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;

	(void)arguments;
	return qmp_answer(answer, json_pack("{s:o}", "name", qmp_text(machine->name)));
}

static result tercet_status(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;

	(void)arguments;
	return qmp_answer(answer, machine->status(machine->supervisor));
}

static const char *const inject_parameters[] = { "replica", "target", "at", NULL };

/* A position is given as a number or, like "now", as text. */
static result position_text(const json_t *at, char *text, size_t size)
{
	const char *string = at ? json_string_value(at) : "now";
	int length = json_is_integer(at) ? snprintf(text, size, "%" JSON_INTEGER_FORMAT, json_integer_value(at)) :
					   snprintf(text, size, "%s", string ? string : "");

	if ((!string && !json_is_integer(at)) || length < 0 || (size_t)length >= size)
		return fail(STATUS_USAGE, "\"at\" is a position, or \"now\"");
	return OK;
}

static result tercet_inject(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;
	const json_t *replica = json_object_get(arguments, "replica");
	const char *target = json_string_value(json_object_get(arguments, "target"));
	struct inject_fault fault;
	char at[32];

	(void)answer;
	if (!json_is_integer(replica) || json_integer_value(replica) < 0 || json_integer_value(replica) > UINT32_MAX)
		return fail(STATUS_USAGE, "\"replica\" is the number of a replica");
	if (!target)
		return fail(STATUS_USAGE, "\"target\" is a text that says what to hit");
	TRY(position_text(json_object_get(arguments, "at"), at, sizeof(at)));
	TRY(inject_parse_target(target, at, &fault));
	fault.replica = (uint32_t)json_integer_value(replica);
	TRY(inject_check(&fault));
	return machine->inject(machine->supervisor, &fault);
}

static must_check result query_commands(void *context, json_t *arguments, struct qmp_answer *answer);

static const struct qmp_command commands[] = {
	{ "cont", NULL, qmp_control_cont },
	{ "query-commands", NULL, query_commands },
	{ "query-name", NULL, query_name },
	{ "query-status", NULL, qmp_control_query_status },
	{ "query-version", NULL, query_version },
	{ "quit", NULL, qmp_control_quit },
	{ "stop", NULL, qmp_control_stop },
	{ "system_powerdown", NULL, qmp_control_system_powerdown },
	{ "system_reset", NULL, qmp_control_system_reset },
	{ "tercet-inject", inject_parameters, tercet_inject },
	{ "tercet-status", NULL, tercet_status },
};

/* What can be asked for before there is a machine. */
static const struct qmp_command without_machine[] = {
	{ "query-commands", NULL, query_commands },
	{ "query-version", NULL, query_version },
};

static result query_commands(void *context, json_t *arguments, struct qmp_answer *answer)
{
	json_t *list = json_pack("[{s:s}]", "name", "qmp_capabilities");
	const struct qmp_interface all = qmp_commands_interface(context);

	(void)arguments;
	for (const struct qmp_interface *part = &all; part && list; part = part->next)
		for (size_t i = 0; i < part->count && list; i++) {
			if (json_array_append_new(list, json_pack("{s:s}", "name", part->commands[i].name)) < 0) {
				json_decref(list);
				list = NULL;
			}
		}
	return qmp_answer(answer, list);
}

struct qmp_interface qmp_commands_interface(struct qmp_machine *machine)
{
	return (struct qmp_interface){
		.commands = commands,
		.count = ARRAY_SIZE(commands),
		.context = machine,
		.next = &qmp_query_commands,
	};
}

struct qmp_interface qmp_commands_without_machine(struct qmp_machine *machine)
{
	return (struct qmp_interface){
		.commands = without_machine,
		.count = ARRAY_SIZE(without_machine),
		.context = machine,
		.next = &qmp_probe_commands,
	};
}
