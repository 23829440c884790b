#include "manage/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/futex.h"
#include "base/result.h"

struct family {
	const char *name;
	bool counter; /* else a gauge */
	const char *unit;
	const char *help;
};

enum kind {
	NUMBER,  /* an integer */
	SECONDS, /* an integer of ns */
	IS,      /* 1 if it is the text `label_value`, else 0 */
	LENGTH,  /* of a list */
};

/* A sample of each machine, or of each of its replicas. All of a family stand together. */
struct sample {
	struct family family;
	enum kind kind;
	const char *path; /* to the value: members with dots between */
	const char *label, *label_value; /* or NULL */
};

#define COUNTER(name, help) { "tercet_" name, true, NULL, help }
#define GAUGE(name, help) { "tercet_" name, false, NULL, help }

static const struct sample machine_samples[] = {
	{ GAUGE("machine_state", "Whether the machine is in this state."), IS, "state", "state", "running" },
	{ GAUGE("machine_state", ""), IS, "state", "state", "degraded" },
	{ GAUGE("machine_state", ""), IS, "state", "state", "ended" },
	{ GAUGE("replicas", "Replicas that the machine has."), NUMBER, "replicas", NULL, NULL },
	{ GAUGE("replicas_live", "Replicas that take part in votes."), NUMBER, "live", NULL, NULL },
	{ GAUGE("leader", "Index of the replica that leads."), NUMBER, "leader", NULL, NULL },
	{ { "tercet_uptime_seconds", false, "seconds", "Time since the replicas were started." }, SECONDS, "uptime_ns",
	  NULL, NULL },
	{ COUNTER("positions", "Positions of the guest that were voted on."), NUMBER, "position", NULL, NULL },
	{ COUNTER("votes", "Votes, by their outcome."), NUMBER, "votes.unanimous", "outcome", "unanimous" },
	{ COUNTER("votes", ""), NUMBER, "votes.minority", "outcome", "minority" },
	{ COUNTER("votes", ""), NUMBER, "votes.no_majority", "outcome", "no_majority" },
	{ COUNTER("votes_unconfirmed", "Unanimous votes of a replica that was alone."), NUMBER, "votes.unconfirmed",
	  NULL, NULL },
	{ COUNTER("repairs", "Replicas that took over the state of a majority."), NUMBER, "repairs", NULL, NULL },
	{ COUNTER("failovers", "Changes of the leader."), NUMBER, "failovers", NULL, NULL },
	{ COUNTER("respawns", "Replica processes that were started anew."), NUMBER, "respawns", NULL, NULL },
	{ COUNTER("rollbacks", "Returns of two replicas to an agreed vote."), NUMBER, "rollbacks", NULL, NULL },
	{ GAUGE("cores_left", "Host cores that lost too many votes and are no longer used."), LENGTH, "cores.left",
	  NULL, NULL },
};

static const struct sample replica_samples[] = {
	{ GAUGE("replica_state", "Whether the replica is in this state."), IS, "state", "state", "starting" },
	{ GAUGE("replica_state", ""), IS, "state", "state", "running" },
	{ GAUGE("replica_state", ""), IS, "state", "state", "repairing" },
	{ GAUGE("replica_state", ""), IS, "state", "state", "joining" },
	{ GAUGE("replica_state", ""), IS, "state", "state", "retired" },
	{ GAUGE("replica_lag", "Positions that the leader is ahead of the replica."), NUMBER, "lag", NULL, NULL },
	{ GAUGE("replica_core", "Host core of the replica, -1 if it is not known."), NUMBER, "core", NULL, NULL },
	{ COUNTER("replica_positions", "Positions that the replica has reached."), NUMBER, "position", NULL, NULL },
	{ COUNTER("replica_votes", "Votes that the replica has cast."), NUMBER, "votes", NULL, NULL },
	{ COUNTER("replica_repairs", "Times that the replica took over a state."), NUMBER, "repairs", NULL, NULL },
	{ COUNTER("replica_respawns", "Processes of the replica that were started anew."), NUMBER, "respawns", NULL,
	  NULL },
};

static const struct family machine_up = GAUGE("machine_up", "Whether the machine's monitor answers.");
static const struct family core_faults = COUNTER("core_faults", "Votes that were lost on a host core.");

/* --- text --- */

static void put_head(FILE *file, const struct family *family)
{
	(void)fprintf(file, "# TYPE %s %s\n", family->name, family->counter ? "counter" : "gauge");
	if (family->unit)
		(void)fprintf(file, "# UNIT %s %s\n", family->name, family->unit);
	(void)fprintf(file, "# HELP %s %s\n", family->name, family->help);
}

/* As a label's value: a quotation mark, a backslash and a line feed are escaped. */
static void put_escaped(FILE *file, const char *text)
{
	for (; text && *text; text++) {
		if (*text == '\n')
			(void)fputs("\\n", file);
		else if (*text == '"' || *text == '\\')
			(void)fprintf(file, "\\%c", *text);
		else
			(void)fputc(*text, file);
	}
}

static void put_labels(FILE *file, const struct family *family, const json_t *machine)
{
	(void)fprintf(file, "%s%s{name=\"", family->name, family->counter ? "_total" : "");
	put_escaped(file, json_string_value(json_object_get(machine, "name")));
	(void)fputc('"', file);
}

static const json_t *find(const json_t *object, const char *path)
{
	char key[32];

	while (path && object) {
		const char *dot = strchr(path, '.');
		const size_t length = dot ? (size_t)(dot - path) : strlen(path);

		invariant(length < sizeof(key));
		memcpy(key, path, length);
		key[length] = '\0';
		object = json_object_get(object, key);
		path = dot ? dot + 1 : NULL;
	}
	return object;
}

/* The value as text; false if there is none. */
static bool value_text(const struct sample *sample, const json_t *object, char *text, size_t size)
{
	const json_t *value = find(object, sample->path);
	const json_int_t number = json_integer_value(value);

	switch (sample->kind) {
	case IS:
		(void)snprintf(text, size, "%d",
			       json_is_string(value) && strcmp(json_string_value(value), sample->label_value) == 0);
		return json_is_string(value);
	case LENGTH:
		(void)snprintf(text, size, "%zu", json_array_size(value));
		return json_is_array(value);
	case SECONDS:
		(void)snprintf(text, size, "%" JSON_INTEGER_FORMAT ".%09" JSON_INTEGER_FORMAT,
			       number / (json_int_t)NS_PER_S, number % (json_int_t)NS_PER_S);
		return json_is_integer(value) && number >= 0;
	case NUMBER:
		break;
	}
	(void)snprintf(text, size, "%" JSON_INTEGER_FORMAT, number);
	return json_is_integer(value) && (number >= 0 || !sample->family.counter);
}

static void put_sample(FILE *file, const struct sample *sample, const json_t *machine, const json_t *replica)
{
	const json_t *object = replica ? replica : json_object_get(machine, "status");
	const json_t *index = json_object_get(replica, "index");
	char value[48];

	if (!value_text(sample, object, value, sizeof(value)) || (replica && !json_is_integer(index)))
		return;
	put_labels(file, &sample->family, machine);
	if (replica)
		(void)fprintf(file, ",replica=\"%" JSON_INTEGER_FORMAT "\"", json_integer_value(index));
	if (sample->label)
		(void)fprintf(file, ",%s=\"%s\"", sample->label, sample->label_value);
	(void)fprintf(file, "} %s\n", value);
}

/* --- families --- */

/* The samples of one family: its first one stands at `first`; gives the first of the next. */
static size_t put_family(FILE *file, const struct sample *samples, size_t count, size_t first, const json_t *machines,
			 bool of_replicas)
{
	size_t end = first, m, r;
	json_t *machine, *replica;

	while (end < count && strcmp(samples[end].family.name, samples[first].family.name) == 0)
		end++;
	put_head(file, &samples[first].family);
	json_array_foreach(machines, m, machine) {
		if (!of_replicas)
			for (size_t i = first; i < end; i++)
				put_sample(file, &samples[i], machine, NULL);
		json_array_foreach(find(machine, of_replicas ? "status.replica" : "none"), r, replica)
			for (size_t i = first; i < end; i++)
				put_sample(file, &samples[i], machine, replica);
	}
	return end;
}

static void put_up(FILE *file, const json_t *machines)
{
	json_t *machine;
	size_t i;

	put_head(file, &machine_up);
	json_array_foreach(machines, i, machine) {
		put_labels(file, &machine_up, machine);
		(void)fprintf(file, "} %d\n", json_is_object(json_object_get(machine, "status")));
	}
}

static void put_core_faults(FILE *file, const json_t *machines)
{
	json_t *machine, *fault;
	size_t m, i;

	put_head(file, &core_faults);
	json_array_foreach(machines, m, machine) {
		json_array_foreach(find(machine, "status.cores.faults"), i, fault) {
			const json_t *core = json_object_get(fault, "core");
			const json_t *faults = json_object_get(fault, "faults");

			if (!json_is_integer(core) || !json_is_integer(faults) || json_integer_value(faults) < 0)
				continue;
			put_labels(file, &core_faults, machine);
			(void)fprintf(file, ",core=\"%" JSON_INTEGER_FORMAT "\"} %" JSON_INTEGER_FORMAT "\n",
				      json_integer_value(core), json_integer_value(faults));
		}
	}
}

char *metrics_text(const json_t *machines)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	if (!file)
		return NULL;
	put_up(file, machines);
	for (size_t i = 0; i < ARRAY_SIZE(machine_samples);)
		i = put_family(file, machine_samples, ARRAY_SIZE(machine_samples), i, machines, false);
	put_core_faults(file, machines);
	for (size_t i = 0; i < ARRAY_SIZE(replica_samples);)
		i = put_family(file, replica_samples, ARRAY_SIZE(replica_samples), i, machines, true);
	(void)fputs("# EOF\n", file);
	if (fclose(file) == 0)
		return text;
	free(text);
	return NULL;
}
