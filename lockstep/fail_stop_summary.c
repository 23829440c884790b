#include "lockstep/fail_stop_summary.h"

#include <inttypes.h>
#include <string.h>

#include "lockstep/fail_stop_json.h"

enum { NAMES_MAX = 8 };

/* --- the command --- */

static void put_quoted(FILE *file, const char *word)
{
	static const char harmless[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-";

	if (*word && strspn(word, harmless) == strlen(word)) {
		(void)fputs(word, file);
		return;
	}
	(void)fputc('\'', file);
	for (; *word; word++) {
		if (*word == '\'')
			(void)fputs("'\\''", file);
		else
			(void)fputc(*word, file);
	}
	(void)fputc('\'', file);
}

void fail_stop_summary_command(FILE *file, const struct fail_stop_copy *copy)
{
	const struct fail_stop_facts *facts = copy->facts;

	(void)fprintf(file, "#!/bin/sh\n# Runs the machine %s again, as tercet %s did.\n", copy->name, TERCET_VERSION);
	if (facts->working_folder) {
		(void)fputs("cd -- ", file);
		put_quoted(file, facts->working_folder);
		(void)fputs(" || exit\n", file);
	}
	(void)fputs("exec", file);
	for (int i = 0; i < facts->argc; i++) {
		(void)fputc(' ', file);
		put_quoted(file, facts->argv[i]);
	}
	(void)fputc('\n', file);
}

/* --- what happened --- */

static void put_replicas(FILE *file, const struct fail_stop_copy *copy)
{
	for (unsigned i = 0; i < copy->side_count; i++) {
		const struct fail_stop_side *side = &copy->sides[i];

		(void)fprintf(file, "  replica %u: ", side->replica);
		if (side->record)
			(void)fprintf(file, "vote %" PRIu64 " at position %" PRIu64, side->record->number,
				      side->record->position);
		else
			(void)fprintf(file, "no ballot");
		if (side->area)
			(void)fprintf(file, ", reached position %" PRIu64 "%s", side->reached,
				      side->damaged ? ", its control page is damaged" : "");
		if (side->record)
			(void)fprintf(file, ", on core %" PRIu32, side->record->core);
		if (side->failure[0])
			(void)fprintf(file, "\n    it says: %s", side->failure);
		(void)fprintf(file, "\n");
	}
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "?";
}

/* "label: a, b, c, ... (17)", of strings or of objects that have `key`. */
static void put_names(FILE *file, const char *label, const json_t *list, const char *key)
{
	const json_t *item;
	size_t index;

	if (json_array_size(list) == 0)
		return;
	(void)fprintf(file, "    %s: ", label);
	json_array_foreach(list, index, item) {
		if (index == NAMES_MAX)
			break;
		(void)fprintf(file, "%s%s", index ? ", " : "",
			      json_is_string(item) ? json_string_value(item) : text_of(item, key));
	}
	if (json_array_size(list) > NAMES_MAX)
		(void)fprintf(file, ", ... (%zu in report.json)", json_array_size(list));
	(void)fprintf(file, "\n");
}

static void put_difference(FILE *file, const json_t *difference)
{
	const json_t *vote = json_object_get(difference, "vote");
	const json_t *exit = json_object_get(difference, "first_exit");

	(void)fprintf(file, "  replica %" JSON_INTEGER_FORMAT " and replica %" JSON_INTEGER_FORMAT,
		      json_integer_value(json_object_get(difference, "replica")),
		      json_integer_value(json_object_get(difference, "reference")));
	if (json_is_integer(vote))
		(void)fprintf(file, ", vote %" JSON_INTEGER_FORMAT " at position %" JSON_INTEGER_FORMAT,
			      json_integer_value(vote),
			      json_integer_value(json_object_get(difference, "position")));
	(void)fprintf(file, "\n");
	put_names(file, "digests", json_object_get(difference, "digests"), "name");
	put_names(file, "registers", json_object_get(difference, "registers"), "name");
	put_names(file, "devices", json_object_get(difference, "devices"), "name");
	put_names(file, "pages", json_object_get(difference, "pages"), "address");
	if (json_is_object(exit))
		(void)fprintf(file, "    first exit that differs: position %" JSON_INTEGER_FORMAT ", %s and %s\n",
			      json_integer_value(json_object_get(exit, "position")), text_of(exit, "suspect"),
			      text_of(exit, "reference"));
}

static void put_differences(FILE *file, const struct fail_stop_copy *copy)
{
	const json_t *difference;
	size_t index;

	(void)fprintf(file, "\nWhat differed\n");
	if (json_array_size(copy->facts->differences) == 0)
		(void)fprintf(file, "  nothing that a vote named\n");
	json_array_foreach(copy->facts->differences, index, difference)
		put_difference(file, difference);
}

void fail_stop_summary(FILE *file, const struct fail_stop_copy *copy)
{
	const struct fail_stop_facts *facts = copy->facts;
	char time[32];

	fail_stop_json_time(facts->time, time, sizeof(time));
	(void)fprintf(file, "tercet %s stopped the machine %s at %s.\n\nWhy\n  %s\n", TERCET_VERSION, copy->name, time,
		      copy->why);
	(void)fprintf(file, "\nWhat left the machine\n");
	if (facts->agreed_votes > 0)
		(void)fprintf(file,
			      "  Everything up to vote %" PRIu64 " at position %" PRIu64
			      ", which was decided. Nothing that was\n"
			      "  made later has left it or will.\n",
			      facts->agreed_votes - 1, facts->agreed_position);
	else
		(void)fprintf(file, "  Nothing: no vote had been decided.\n");
	(void)fprintf(file, "\nReplicas\n");
	put_replicas(file, copy);
	put_differences(file, copy);
	(void)fprintf(file,
		      "\nWhat to do\n"
		      "  1. Start the machine again. To its disks and its peers this stop is a loss of power.\n"
		      "     ./command is the command line it had.\n"
		      "  2. Look for a sick host: `dmesg` and, where rasdaemon runs, `ras-mc-ctl --errors` tell of\n"
		      "     memory and processor errors. If machines stop on this host again, test its memory, and\n"
		      "     keep tercet off the cores that its messages named (--pin).\n"
		      "  3. If it stops in the same way on another host too, or at the same position each time, then\n"
		      "     the hardware is not at fault: report a defect of tercet, with this folder. Mind that it\n"
		      "     holds what was in the guest's memory and registers, and what was typed.\n"
		      "\nFiles\n"
		      "  digests.txt    what each replica voted\n"
		      "  registers.txt  the guest's registers, replica by replica\n"
		      "  devices.txt    the devices' state\n"
		      "  exits.txt      the last exits of each replica\n"
		      "  tape.txt       the last inputs\n"
		      "  pages/         memory that differs, page by page: %u\n"
		      "  report.json    all but the pages, for programs\n",
		      copy->page_count);
}
