#include "manage/qmp_lockstep.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "manage/options.h"
#include "manage/qmp_commands.h"
#include "manage/qmp_query.h"

/* --- how it does --- */

static result query_lockstep(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;

	(void)arguments;
	return qmp_answer(answer, machine->status(machine->supervisor));
}

static result query_replicas(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;
	json_t *status = machine->status(machine->supervisor);
	json_t *list = json_incref(json_object_get(status, "replica"));

	(void)arguments;
	json_decref(status);
	return qmp_answer(answer, list);
}

static result query_statistics(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;

	(void)arguments;
	return qmp_answer(answer, machine->requests->statistics(machine->supervisor));
}

/* --- what is asked of it --- */

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

static result inject_fault(void *context, json_t *arguments, struct qmp_answer *answer)
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

static const char *const replica_parameters[] = { "replica", NULL };

static result take_replica(const json_t *arguments, uint64_t *replica)
{
	const json_t *member = json_object_get(arguments, "replica");

	if (!json_is_integer(member) || json_integer_value(member) < 0)
		return fail(STATUS_USAGE, "\"replica\" is the number of a replica");
	*replica = (uint64_t)json_integer_value(member);
	return OK;
}

static result replica_retire(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;
	uint64_t replica;

	(void)answer;
	TRY(take_replica(arguments, &replica));
	return machine->requests->retire(machine->supervisor, replica);
}

static result replica_respawn(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;
	uint64_t replica;

	(void)answer;
	TRY(take_replica(arguments, &replica));
	return machine->requests->respawn(machine->supervisor, replica);
}

static result vote_now(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;

	(void)arguments;
	(void)answer;
	return machine->requests->vote(machine->supervisor);
}

static const char *const interval_parameters[] = { "interval", NULL };

static result set_vote_interval(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;
	const json_t *interval = json_object_get(arguments, "interval");
	uint64_t ns;

	(void)answer;
	if (!json_is_string(interval))
		return fail(STATUS_USAGE, "\"interval\" is a text such as \"10ms\"");
	TRY(options_duration("interval", json_string_value(interval), &ns));
	return machine->requests->set_vote_interval(machine->supervisor, ns);
}

/* The last two are what the first ones were called before. */
static const struct qmp_command commands[] = {
	{ "inject-fault", inject_parameters, inject_fault },
	{ "query-lockstep", NULL, query_lockstep },
	{ "query-replicas", NULL, query_replicas },
	{ "query-statistics", NULL, query_statistics },
	{ "replica-respawn", replica_parameters, replica_respawn },
	{ "replica-retire", replica_parameters, replica_retire },
	{ "set-vote-interval", interval_parameters, set_vote_interval },
	{ "vote-now", NULL, vote_now },
	{ "tercet-inject", inject_parameters, inject_fault },
	{ "tercet-status", NULL, query_lockstep },
};

const struct qmp_interface qmp_lockstep_commands = {
	.commands = commands,
	.count = ARRAY_SIZE(commands),
	.next = &qmp_query_commands,
};
