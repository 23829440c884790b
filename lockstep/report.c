#include "lockstep/report.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "devices/board.h"
#include "lockstep/page_report.h"
#include "lockstep/report_json.h"

enum { EXITS_BEFORE = 12 };

/* --- digests, exits --- */

static json_t *differing_digests(const struct report_side *suspect, const struct report_side *reference)
{
	json_t *list = json_array();

	for (unsigned d = 0; d < VOTE_DIGESTS; d++)
		if (memcmp(&suspect->record->ballot.digests[d], &reference->record->ballot.digests[d],
			   sizeof(struct digest)) != 0)
			report_json_append(list, json_string(vote_digest_name((enum vote_digest)d)));
	return list;
}

static void add_field(json_t *fields, const char *name, uint64_t suspect, uint64_t reference)
{
	if (suspect != reference)
		report_json_append(fields, json_pack("{s:s, s:o, s:o}", "name", name, "suspect",
						     report_json_hex(suspect), "reference",
						     report_json_hex(reference)));
}

/* Names of the general registers, as the register table has them first. */
static json_t *differing_fields(const struct exit_record *a, const struct exit_record *b)
{
	json_t *fields = json_array();

	add_field(fields, "reason", a->reason, b->reason);
	add_field(fields, "address", a->address, b->address);
	add_field(fields, "size", a->size, b->size);
	add_field(fields, "data", a->data, b->data);
	add_field(fields, "event", a->event, b->event);
	for (size_t i = 0; i < GPR_COUNT; i++)
		add_field(fields, register_table[i].name, a->gpr[i], b->gpr[i]);
	add_field(fields, "rip", a->rip, b->rip);
	add_field(fields, "rflags", a->rflags, b->rflags);
	return fields;
}

/* The exits that led there, alike on both sides. */
static json_t *exits_before(const struct area *area, uint64_t position)
{
	json_t *list = json_array();

	for (uint64_t p = position > EXITS_BEFORE ? position - EXITS_BEFORE : 1; p < position; p++) {
		struct exit_record e = area->exit_log[p % CONTROL_EXIT_LOG];

		report_json_append(list, json_pack("{s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "position",
						   (json_int_t)p, "reason",
						   exit_reason_name((enum exit_reason)e.reason), "address",
						   report_json_hex(e.address), "data", report_json_hex(e.data),
						   "rip", report_json_hex(e.rip), "rflags", report_json_hex(e.rflags),
						   "rsp", report_json_hex(e.gpr[GPR_RSP]), "event",
						   report_json_hex(e.event)));
	}
	return list;
}

static json_t *first_exit(const struct area *suspect, const struct area *reference, uint64_t agreed_position,
			  uint64_t end)
{
	/* The logs are rings: what is older than they are long is gone. */
	if (end > CONTROL_EXIT_LOG && agreed_position < end - CONTROL_EXIT_LOG)
		agreed_position = end - CONTROL_EXIT_LOG;
	for (uint64_t position = agreed_position + 1; position <= end; position++) {
		struct exit_record a = suspect->exit_log[position % CONTROL_EXIT_LOG];
		struct exit_record b = reference->exit_log[position % CONTROL_EXIT_LOG];

		if (memcmp(&a, &b, sizeof(a)) == 0)
			continue;
		return json_pack("{s:I, s:s, s:s, s:o, s:o}", "position", (json_int_t)position, "suspect",
				 exit_reason_name((enum exit_reason)a.reason), "reference",
				 exit_reason_name((enum exit_reason)b.reason), "fields", differing_fields(&a, &b),
				 "before", exits_before(reference, position));
	}
	return json_null();
}

/* --- registers, devices --- */

static void add_register(void *context, const struct register_info *info, const uint8_t *a, const uint8_t *b)
{
	json_t *list = context;
	uint64_t count;

	report_json_append(list, json_pack("{s:s, s:o, s:o, s:o}", "name", info->name, "suspect",
					   report_json_bytes(a, info->width), "reference",
					   report_json_bytes(b, info->width), "bits",
					   report_json_bits(a, b, info->width, &count)));
}

static json_t *differing_registers(const struct report_side *suspect, const struct report_side *reference)
{
	json_t *list = json_array();

	(void)registers_compare(&suspect->record->cpu, &reference->record->cpu, add_register, list);
	return list;
}

static json_t *differing_devices(const struct report_side *suspect, const struct report_side *reference)
{
	const struct vote_record *a = suspect->record;
	const struct vote_record *b = reference->record;
	json_t *list = json_array();

	for (size_t i = 0; i < board_device_count(NULL); i++) {
		size_t a_at, b_at, a_length, b_length;
		uint64_t count;

		if (!board_saved_device(a->devices, a->devices_size, i, &a_at, &a_length) ||
		    !board_saved_device(b->devices, b->devices_size, i, &b_at, &b_length))
			continue;
		size_t length = a_length < b_length ? a_length : b_length;

		if (a_length == b_length && memcmp(a->devices + a_at, b->devices + b_at, length) == 0)
			continue;
		report_json_append(list, json_pack("{s:s, s:o}", "name", board_device_name(NULL, i), "bits",
						   report_json_bits(a->devices + a_at, b->devices + b_at, length,
								    &count)));
	}
	return list;
}

json_t *report_exits(const struct report_side *suspect, const struct report_side *reference,
		     uint64_t agreed_position)
{
	uint64_t a = checked_word_load(&suspect->area->control->reached, agreed_position);
	uint64_t b = checked_word_load(&reference->area->control->reached, agreed_position);
	uint64_t end = a < b ? a : b;

	/* The same members as those of a vote, so that who reads it has one shape to deal with. */
	return json_pack("{s:n, s:I, s:i, s:i, s:[], s:o, s:[], s:[], s:[], s:i}", "vote", "position",
			 (json_int_t)end, "replica", (int)suspect->replica, "reference", (int)reference->replica,
			 "digests", "first_exit",
			 first_exit(suspect->area, reference->area, agreed_position, end), "registers", "devices",
			 "pages", "page_count", 0);
}

json_t *report_difference(const struct report_side *suspect, const struct report_side *reference,
			  uint64_t agreed_position, struct digest_context *digests)
{
	uint64_t page_count;
	json_t *pages = page_report(suspect, reference, digests, &page_count);
	uint64_t end = suspect->record->position < reference->record->position ? suspect->record->position :
										  reference->record->position;

	return json_pack("{s:I, s:I, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:I}", "vote",
			 (json_int_t)reference->record->number, "position", (json_int_t)reference->record->position,
			 "replica", (int)suspect->replica, "reference", (int)reference->replica, "digests",
			 differing_digests(suspect, reference), "first_exit",
			 first_exit(suspect->area, reference->area, agreed_position, end), "registers",
			 differing_registers(suspect, reference), "devices", differing_devices(suspect, reference),
			 "pages", pages, "page_count", (json_int_t)page_count);
}

/* --- for people --- */

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "?";
}

static long long integer_of(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

/* "3, 17, ..." */
static void list_text(const json_t *list, char *text, size_t size)
{
	size_t used = 0;
	size_t index;
	const json_t *item;

	text[0] = '\0';
	json_array_foreach(list, index, item) {
		int written;

		if (index == 8 || used + 32 > size) {
			(void)snprintf(text + used, size - used, ", ...");
			return;
		}
		if (json_is_string(item))
			written = snprintf(text + used, size - used, "%s%s", index ? ", " : "",
					   json_string_value(item));
		else
			written = snprintf(text + used, size - used, "%s%lld", index ? ", " : "",
					   (long long)json_integer_value(item));
		used += (size_t)written;
	}
}

static void log_exit(const json_t *exit)
{
	const json_t *before = json_object_get(exit, "before");
	const json_t *fields = json_object_get(exit, "fields");
	const json_t *field;
	size_t index;

	if (!json_is_object(exit))
		return;
	json_array_foreach(before, index, field)
		log_error("  exit %lld: %s %s data %s, rip %s, rflags %s, rsp %s, event %s",
			  (long long)json_integer_value(json_object_get(field, "position")), text_of(field, "reason"),
			  text_of(field, "address"), text_of(field, "data"), text_of(field, "rip"),
			  text_of(field, "rflags"), text_of(field, "rsp"), text_of(field, "event"));
	log_error("  first differing exit: position %lld, %s (reference: %s)",
		  (long long)json_integer_value(json_object_get(exit, "position")), text_of(exit, "suspect"),
		  text_of(exit, "reference"));
	json_array_foreach(fields, index, field)
		log_error("    %s: %s (reference: %s)", text_of(field, "name"), text_of(field, "suspect"),
			  text_of(field, "reference"));
}

static void log_items(const json_t *list, const char *what, const char *key)
{
	const json_t *item;
	size_t index;
	char bits[256];

	json_array_foreach(list, index, item) {
		list_text(json_object_get(item, "bits"), bits, sizeof(bits));
		if (json_object_get(item, "suspect"))
			log_error("  %s %s: %s (reference: %s), bits %s", what, text_of(item, key),
				  text_of(item, "suspect"), text_of(item, "reference"), bits);
		else
			log_error("  %s %s: %s%s", what, text_of(item, key), bits[0] ? "bits " : "changed since",
				  bits);
	}
}

void report_log(const json_t *difference)
{
	char digests[128];

	list_text(json_object_get(difference, "digests"), digests, sizeof(digests));
	if (json_is_integer(json_object_get(difference, "vote")))
		log_error("vote %lld at position %lld: replica %lld differs from replica %lld in: %s",
			  integer_of(difference, "vote"), integer_of(difference, "position"),
			  integer_of(difference, "replica"), integer_of(difference, "reference"), digests);
	else
		log_error("replica %lld went another way than replica %lld, which it follows:",
			  integer_of(difference, "replica"), integer_of(difference, "reference"));
	log_exit(json_object_get(difference, "first_exit"));
	log_items(json_object_get(difference, "registers"), "register", "name");
	log_items(json_object_get(difference, "devices"), "device", "name");
	log_items(json_object_get(difference, "pages"), "page", "address");
}
