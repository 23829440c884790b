#include "manage/qmp_commands.h"

#include "lockstep/supervisor.h"
#include "manage/qmp_control.h"
#include "manage/qmp_lockstep.h"
#include "manage/qmp_probe.h"

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

struct qmp_machine qmp_commands_machine(uint64_t memory)
{
	return (struct qmp_machine){
		.status = supervisor_status,
		.inject = supervisor_inject,
		.control = &supervisor_control,
		.requests = &supervisor_requests,
		.console = supervisor_console,
		.devices = supervisor_devices,
		.memory = memory,
		.kvm = true,
	};
}

struct qmp_interface qmp_commands_interface(struct qmp_machine *machine)
{
	return (struct qmp_interface){
		.commands = commands,
		.count = ARRAY_SIZE(commands),
		.context = machine,
		.next = &qmp_lockstep_commands,
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
