#include "manage/status_table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/futex.h"
#include "manage/client.h"

enum { CELL = 32, REMARK = 256 };

static json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static const char *plural(json_int_t count)
{
	return count == 1 ? "" : "s";
}

/* A member as the text of a cell. */
static void read_cell(const json_t *object, const char *key, char *text, size_t size)
{
	const json_t *value = json_object_get(object, key);

	if (json_string_length(value) > 0)
		(void)snprintf(text, size, "%s", json_string_value(value));
	else if (json_is_integer(value) && json_integer_value(value) >= 0)
		(void)snprintf(text, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else
		(void)snprintf(text, size, "-");
	client_clean_text(text);
}

static void print_uptime(FILE *file, json_int_t ns)
{
	const unsigned long long seconds = ns > 0 ? (unsigned long long)ns / NS_PER_S : 0;

	if (seconds >= 86400)
		(void)fprintf(file, "%llu d ", seconds / 86400);
	if (seconds >= 3600)
		(void)fprintf(file, "%llu h ", seconds / 3600 % 24);
	if (seconds >= 60)
		(void)fprintf(file, "%llu min ", seconds / 60 % 60);
	(void)fprintf(file, "%llu s", seconds % 60);
}

static void print_head(FILE *file, const json_t *status)
{
	const json_t *votes = json_object_get(status, "votes");
	char name[CELL * 3], state[CELL], end[CELL], leader[CELL], remark[REMARK];

	read_cell(status, "name", name, sizeof(name));
	read_cell(status, "state", state, sizeof(state));
	read_cell(status, "end", end, sizeof(end));
	read_cell(status, "leader", leader, sizeof(leader));
	read_cell(status, "last_fault", remark, sizeof(remark));
	(void)fprintf(file, "%s: %s", name, state);
	if (json_string_length(json_object_get(status, "end")) > 0)
		(void)fprintf(file, " (%s)", end);
	(void)fprintf(file, ", %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " replicas live, replica %s leads, "
		      "position %" JSON_INTEGER_FORMAT ", up ",
		      number_of(status, "live"), number_of(status, "replicas"), leader,
		      number_of(status, "position"));
	print_uptime(file, number_of(status, "uptime_ns"));
	(void)fprintf(file, "\nvotes: %" JSON_INTEGER_FORMAT " (%" JSON_INTEGER_FORMAT " unanimous, "
		      "%" JSON_INTEGER_FORMAT " with a minority, %" JSON_INTEGER_FORMAT " without a majority, "
		      "%" JSON_INTEGER_FORMAT " unconfirmed)\n",
		      number_of(votes, "total"), number_of(votes, "unanimous"), number_of(votes, "minority"),
		      number_of(votes, "no_majority"), number_of(votes, "unconfirmed"));

	const json_int_t repairs = number_of(status, "repairs"), failovers = number_of(status, "failovers");
	const json_int_t respawns = number_of(status, "respawns"), rollbacks = number_of(status, "rollbacks");

	(void)fprintf(file, "mended: %" JSON_INTEGER_FORMAT " repair%s, %" JSON_INTEGER_FORMAT
		      " failover%s, %" JSON_INTEGER_FORMAT " respawn%s, %" JSON_INTEGER_FORMAT " rollback%s\n",
		      repairs, plural(repairs), failovers, plural(failovers), respawns, plural(respawns), rollbacks,
		      plural(rollbacks));
	if (json_string_length(json_object_get(status, "last_fault")) > 0)
		(void)fprintf(file, "last fault: %s\n", remark);
}

/* Columns of the table: negative widths are aligned left, the last one takes what it needs. */
static const struct {
	const char *title, *key;
	int width;
} columns[] = {
	{ "replica", "index", 7 },
	{ "role", "role", -8 },
	{ "core", "core", 4 },
	{ "position", "position", 12 },
	{ "lag", "lag", 8 },
	{ "votes", "votes", 9 },
	{ "repairs", "repairs", 7 },
	{ "state", "state", -9 },
	{ "last fault", "last_fault", 0 },
};

static void print_row(FILE *file, const json_t *replica)
{
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		char text[REMARK];

		if (replica)
			read_cell(replica, columns[i].key, text, sizeof(text));
		else
			(void)snprintf(text, sizeof(text), "%s", columns[i].title);
		(void)fprintf(file, "%s%*s", i == 0 ? "" : "  ", columns[i].width, text);
	}
	(void)fputc('\n', file);
}

char *status_table(const json_t *status)
{
	const json_t *replicas = json_object_get(status, "replica");
	char *text = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);

	if (!file)
		return NULL;
	print_head(file, status);
	print_row(file, NULL);
	for (size_t i = 0; i < json_array_size(replicas); i++)
		print_row(file, json_array_get(replicas, i));
	/* What did not fit into memory is an error of the stream. */
	bool bad = ferror(file) != 0;

	if (fclose(file) != 0 || bad) {
		free(text);
		return NULL;
	}
	return text;
}
