#include "lockstep/fail_stop_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "devices/board.h"
#include "lockstep/fail_stop_tape.h"
#include "lockstep/report_json.h"

enum { FORMAT = 1 };

static void put(json_t *object, const char *key, json_t *value)
{
	(void)json_object_set_new(object, key, value);
}

static void put_number(json_t *object, const char *key, uint64_t value)
{
	put(object, key, json_integer((json_int_t)value));
}

/* Text that need not be UTF-8, as JSON's must: what is not becomes '?'. */
static json_t *any_text(const char *text)
{
	json_t *string = json_string(text);
	char *plain;

	if (string)
		return string;
	plain = strdup(text);
	for (char *c = plain; c && *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	string = plain ? json_string(plain) : NULL;
	free(plain);
	return string;
}

/* Bytes in the order in which they stand, as digits. */
static json_t *hex_text(const uint8_t *bytes, size_t length)
{
	char *text = malloc(2 * length + 1);
	json_t *string;

	if (!text)
		return NULL;
	text[0] = '\0';
	for (size_t i = 0; i < length; i++)
		(void)snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	string = json_string(text);
	free(text);
	return string;
}

void fail_stop_json_time(int64_t time, char *text, size_t size)
{
	time_t seconds = (time_t)time;
	struct tm parts;

	if (!gmtime_r(&seconds, &parts) || parts.tm_year < -900 || parts.tm_year > 8099 ||
	    strftime(text, size, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
		(void)snprintf(text, size, "unknown");
}

/* --- one replica --- */

static json_t *digests_json(const struct vote_record *record)
{
	json_t *object = json_object();

	for (unsigned d = 0; d < VOTE_DIGESTS; d++)
		put(object, vote_digest_name((enum vote_digest)d),
		    hex_text(record->ballot.digests[d].bytes, DIGEST_SIZE));
	return object;
}

static json_t *registers_json(const struct vote_record *record)
{
	json_t *object = json_object();

	for (size_t i = 0; i < register_count; i++)
		put(object, register_table[i].name,
		    report_json_bytes((const uint8_t *)&record->cpu + register_table[i].offset,
				      register_table[i].width));
	return object;
}

static json_t *devices_json(const struct vote_record *record)
{
	json_t *object = json_object();

	for (size_t i = 0; i < board_device_count(NULL); i++) {
		size_t offset, length;

		if (board_saved_device(record->devices, record->devices_size, i, &offset, &length))
			put(object, board_device_name(NULL, i), hex_text(record->devices + offset, length));
	}
	return object;
}

static json_t *vote_json(const struct vote_record *record)
{
	json_t *object;

	if (!record)
		return json_null();
	object = json_object();
	put_number(object, "number", record->number);
	put_number(object, "position", record->position);
	put(object, "cause", json_string(vote_cause_name((enum vote_cause)record->cause)));
	put(object, "end", json_string(fail_stop_copy_end_name(record->end)));
	put_number(object, "end_value", record->end_value);
	put_number(object, "guest_ns", record->guest_ns);
	put_number(object, "output_end", record->output_end);
	put_number(object, "console_taken", record->console_taken);
	put_number(object, "buttons_taken", record->buttons_taken);
	put_number(object, "inbox_taken", record->inbox_taken);
	put_number(object, "halted", record->halted);
	put_number(object, "resets_taken", record->resets_taken);
	put_number(object, "boots", record->boots);
	put_number(object, "epoch", record->epoch);
	put_number(object, "tape_at", record->tape_at);
	put_number(object, "core", record->core);
	put(object, "digests", digests_json(record));
	put(object, "registers", registers_json(record));
	put(object, "devices", devices_json(record));
	return object;
}

static json_t *exit_json(const struct fail_stop_exit *exit)
{
	static const char *const states[] = {
		[FAIL_STOP_EXIT_ALIKE] = "alike",
		[FAIL_STOP_EXIT_DIFFERS] = "differs",
		[FAIL_STOP_EXIT_DAMAGED] = "damaged",
	};
	const struct exit_record *record = &exit->record;
	json_t *object = json_object();

	put_number(object, "position", exit->position);
	put(object, "state", json_string(states[exit->state]));
	put(object, "reason", json_string(exit_reason_name((enum exit_reason)record->reason)));
	put(object, "address", report_json_hex(record->address));
	put_number(object, "size", record->size);
	put(object, "data", report_json_hex(record->data));
	put(object, "event", report_json_hex(record->event));
	/* The register table has the general registers first. */
	for (size_t i = 0; i < GPR_COUNT; i++)
		put(object, register_table[i].name, report_json_hex(record->gpr[i]));
	put(object, "rip", report_json_hex(record->rip));
	put(object, "rflags", report_json_hex(record->rflags));
	return object;
}

static json_t *exits_json(const struct fail_stop_side *side)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < side->exit_count; i++)
		(void)json_array_append_new(list, exit_json(&side->exits[i]));
	return list;
}

static json_t *tape_json(const struct fail_stop_side *side)
{
	struct fail_stop_tape tape = fail_stop_tape_of(side);
	struct fail_stop_tape_item item;
	json_t *list = json_array();

	while (fail_stop_tape_next(&tape, &item)) {
		json_t *object = json_object();

		put_number(object, "at", item.at);
		put(object, "damaged", json_boolean(item.damaged));
		if (!item.damaged) {
			put_number(object, "position", item.position);
			put(object, "kind", json_string(tape_kind_name((enum tape_kind)item.kind)));
		}
		put(object, "bytes",
		    item.damaged ? hex_text(item.bytes, item.size) : hex_text(item.payload, item.length));
		(void)json_array_append_new(list, object);
	}
	return list;
}

static json_t *side_json(const struct fail_stop_side *side)
{
	json_t *object = json_object();

	put_number(object, "replica", side->replica);
	if (side->area) {
		put(object, "damaged", json_boolean(side->damaged));
		put_number(object, "reached", side->reached);
		put_number(object, "votes", side->votes);
		put(object, "failure", json_string(side->failure));
	}
	put(object, "vote", vote_json(side->record));
	put(object, "exits", exits_json(side));
	put(object, "tape", tape_json(side));
	return object;
}

/* --- all --- */

static json_t *pages_json(const struct fail_stop_copy *copy)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < copy->page_count; i++)
		(void)json_array_append_new(list, report_json_hex(copy->pages[i]));
	return list;
}

static json_t *list_or_empty(json_t *list)
{
	return list ? json_incref(list) : json_array();
}

json_t *fail_stop_json(const struct fail_stop_copy *copy)
{
	const struct fail_stop_facts *facts = copy->facts;
	json_t *object = json_object();
	json_t *command = json_array();
	json_t *agreed = json_object();
	json_t *replicas = json_array();
	char time[32];

	fail_stop_json_time(facts->time, time, sizeof(time));
	for (int i = 0; i < facts->argc; i++)
		(void)json_array_append_new(command, any_text(facts->argv[i]));
	put_number(agreed, "votes", facts->agreed_votes);
	put_number(agreed, "position", facts->agreed_position);
	for (unsigned i = 0; i < copy->side_count; i++)
		(void)json_array_append_new(replicas, side_json(&copy->sides[i]));
	put_number(object, "format", FORMAT);
	put(object, "version", json_string(TERCET_VERSION));
	put(object, "name", any_text(facts->name));
	put(object, "time", json_string(time));
	put(object, "why", any_text(copy->why));
	put(object, "command", command);
	if (facts->working_folder)
		put(object, "working_folder", any_text(facts->working_folder));
	put(object, "agreed", agreed);
	put(object, "differences", list_or_empty(facts->differences));
	put(object, "events", list_or_empty(facts->events));
	put(object, "pages", pages_json(copy));
	put(object, "pages_by", json_string(copy->pages_by_hash ? "page_hashes" : "votes"));
	put(object, "replicas", replicas);
	return object;
}
