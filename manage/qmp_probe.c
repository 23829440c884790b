#include "manage/qmp_probe.h"

#include <fcntl.h>

#include "base/fd.h"
#include "manage/qmp_commands.h"

const struct qmp_probe_machine qmp_probe_machines[QMP_PROBE_MACHINES] = {
	{ "pc-i440fx-tercet-1.0", "pc" },
	{ "tercet-1.0", "tercet" },
};

static result query_target(void *context, json_t *arguments, struct qmp_answer *answer)
{
	(void)context;
	(void)arguments;
	return qmp_answer(answer, json_pack("{s:s}", "arch", "x86_64"));
}

static result answer_nothing(void *context, json_t *arguments, struct qmp_answer *answer)
{
	(void)context;
	(void)arguments;
	return qmp_answer(answer, json_array());
}

static result query_kvm(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	bool present = fd >= 0;

	(void)arguments;
	fd_close(&fd);
	return qmp_answer(answer,
			  json_pack("{s:b, s:b}", "enabled", present && machine->kvm, "present", present));
}

/* Types of devices: what they let a machine's description ask for. */
static result list_types(void *context, json_t *arguments, struct qmp_answer *answer)
{
	static const char *const types[] = {
		"virtio-blk-pci", "virtio-net-pci", "virtio-rng-pci", "isa-serial", "rng-random", "rng-builtin",
	};
	json_t *list = json_array();

	(void)context;
	(void)arguments;
	for (size_t i = 0; i < ARRAY_SIZE(types) && list; i++)
		(void)json_array_append_new(list, json_pack("{s:s}", "name", types[i]));
	return qmp_answer(answer, list);
}

static result list_properties_of_device(void *context, json_t *arguments, struct qmp_answer *answer)
{
	(void)context;
	return qmp_not_found(answer, "device", json_string_value(json_object_get(arguments, "typename")));
}

/* One machine by two names. */
static result query_machines(void *context, json_t *arguments, struct qmp_answer *answer)
{
	json_t *list = json_array();

	(void)context;
	(void)arguments;
	for (size_t i = 0; i < QMP_PROBE_MACHINES && list; i++)
		(void)json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:i, s:b, s:b, s:b}", "name",
							    qmp_probe_machines[i].name, "alias",
							    qmp_probe_machines[i].alias, "is-default", i == 0,
							    "cpu-max", 1, "hotpluggable-cpus", 0,
							    "numa-mem-supported", 0, "deprecated", 0));
	return qmp_answer(answer, list);
}

static result query_processors(void *context, json_t *arguments, struct qmp_answer *answer)
{
	(void)context;
	(void)arguments;
	return qmp_answer(answer, json_pack("[{s:s, s:s, s:[]}]", "name", "host", "typename", "host-x86_64-cpu",
					    "unavailable-features"));
}

static const char *const typename[] = { "typename", NULL };
static const char *const option[] = { "option", NULL };
static const char *const selection[] = { "implements", "abstract", NULL };

static const struct qmp_command commands[] = {
	{ "device-list-properties", typename, list_properties_of_device },
	{ "qom-list-properties", typename, answer_nothing },
	{ "qom-list-types", selection, list_types },
	{ "query-command-line-options", option, answer_nothing },
	{ "query-cpu-definitions", NULL, query_processors },
	{ "query-kvm", NULL, query_kvm },
	{ "query-machines", NULL, query_machines },
	{ "query-migrate-capabilities", NULL, answer_nothing },
	{ "query-qmp-schema", NULL, answer_nothing },
	{ "query-target", NULL, query_target },
};

const struct qmp_interface qmp_probe_commands = { .commands = commands, .count = ARRAY_SIZE(commands) };
