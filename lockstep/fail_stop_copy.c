#include "lockstep/fail_stop_copy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked_word.h"

const char *fail_stop_copy_end_name(uint32_t end)
{
	static const char *const names[] = {
		[END_RUNNING] = "running", [END_POWER_OFF] = "power_off", [END_RESET] = "reset",
		[END_EXIT] = "exit",       [END_CRASHED] = "crashed",     [END_DEAD_HALT] = "halted",
	};

	return end < ARRAY_SIZE(names) ? names[end] : "unknown";
}

/* --- one replica --- */

/* A wrong check is no reason to give up: what stands at the place that the word names tells for itself whether it
 * fits. */
static uint64_t copy_word(struct fail_stop_side *side, const _Atomic uint64_t *word)
{
	uint64_t read = atomic_load(word);
	uint64_t value = read & CHECKED_WORD_MAX;

	side->damaged |= checked_word(value) != read;
	return value;
}

static void copy_failure(struct fail_stop_side *side, const struct control *control)
{
	memcpy(side->failure, control->failure, sizeof(side->failure));
	side->failure[sizeof(side->failure) - 1] = '\0';
	for (char *c = side->failure; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

static result copy_record(struct fail_stop_side *side, const struct vote_record *record)
{
	side->record = malloc(sizeof(*side->record));
	if (!side->record)
		return fail(STATUS_FAILED, "no memory for a vote record");
	memcpy(side->record, record, sizeof(*side->record));
	/* No replica writes so much; then no device can be told from another. */
	if (side->record->devices_size > CONTROL_DEVICES_MAX)
		side->record->devices_size = 0;
	return OK;
}

static result copy_tape(struct fail_stop_side *side, const struct area *area)
{
	uint64_t end = copy_word(side, &area->control->tape_written);
	uint64_t length = FAIL_STOP_TAPE < area->tape.size ? FAIL_STOP_TAPE : area->tape.size;

	side->tape_end = end;
	side->tape_begin = end > length ? end - length : 0;
	side->tape = malloc(FAIL_STOP_TAPE);
	if (!side->tape)
		return fail(STATUS_FAILED, "no memory for the tail of a tape");
	ring_get(&area->tape, side->tape_begin, side->tape, side->tape_end - side->tape_begin);
	return OK;
}

/* Whether any other replica's log has another exit at this position. */
static bool others_differ(const struct fail_stop_facts *facts, const struct area *own,
			  const struct exit_record *record)
{
	for (unsigned i = 0; i < facts->side_count; i++) {
		const struct area *area = facts->sides[i].area;

		if (!area || area == own)
			continue;
		struct exit_record other = area->exit_log[record->position % CONTROL_EXIT_LOG];

		if (other.position == record->position && memcmp(&other, record, sizeof(other)) != 0)
			return true;
	}
	return false;
}

static void copy_exits(struct fail_stop_side *side, const struct area *area, const struct fail_stop_facts *facts)
{
	/* Position 0 is where no exit has been yet. */
	uint64_t first = side->reached > FAIL_STOP_EXITS ? side->reached - FAIL_STOP_EXITS + 1 : 1;

	for (uint64_t position = first; position <= side->reached; position++) {
		struct fail_stop_exit *exit = &side->exits[side->exit_count++];

		exit->position = position;
		exit->record = area->exit_log[position % CONTROL_EXIT_LOG];
		if (exit->record.position != position)
			exit->state = FAIL_STOP_EXIT_DAMAGED;
		else if (others_differ(facts, area, &exit->record))
			exit->state = FAIL_STOP_EXIT_DIFFERS;
	}
}

static result copy_side(struct fail_stop_side *side, const struct report_side *from,
			const struct fail_stop_facts *facts)
{
	*side = (struct fail_stop_side){ .replica = from->replica, .ram = from->ram };
	if (from->record)
		TRY(copy_record(side, from->record));
	if (!from->area)
		return OK;
	const struct control *control = from->area->control;

	side->area = true;
	side->reached = copy_word(side, &control->reached);
	side->votes = atomic_load(&control->votes);
	copy_failure(side, control);
	copy_exits(side, from->area, facts);
	return copy_tape(side, from->area);
}

/* --- pages that differ --- */

static void add_page(struct fail_stop_copy *copy, uint64_t address)
{
	for (unsigned i = 0; i < copy->page_count; i++)
		if (copy->pages[i] == address)
			return;
	if (copy->page_count < FAIL_STOP_PAGES)
		copy->pages[copy->page_count++] = address;
}

/* Whether a vote says what differs: then it has also named the pages, if there were any. */
static bool pages_of_votes(struct fail_stop_copy *copy)
{
	const json_t *difference, *page;
	bool voted = false;
	size_t i, j;

	json_array_foreach(copy->facts->differences, i, difference) {
		voted |= json_array_size(json_object_get(difference, "digests")) > 0;
		json_array_foreach(json_object_get(difference, "pages"), j, page) {
			const char *text = json_string_value(json_object_get(page, "address"));

			if (text)
				add_page(copy, strtoull(text, NULL, 16) & ~(uint64_t)(RAM_PAGE_SIZE - 1));
		}
	}
	return voted;
}

/* Compares tables, and not memories: reading a page that was never written would cost the host one. */
static void pages_of_tables(struct fail_stop_copy *copy)
{
	const struct fail_stop_facts *facts = copy->facts;
	const struct report_side *first = NULL;

	copy->pages_by_hash = true;
	for (unsigned i = 0; i < facts->side_count; i++) {
		const struct report_side *side = &facts->sides[i];

		if (!side->area || !side->ram)
			continue;
		if (!first) {
			first = side;
			continue;
		}
		uint64_t pages = ram_pages(first->ram) < ram_pages(side->ram) ? ram_pages(first->ram) :
										  ram_pages(side->ram);

		for (uint64_t page = 0; page < pages && copy->page_count < FAIL_STOP_PAGES; page++)
			if (memcmp(&first->area->page_hashes[page], &side->area->page_hashes[page],
				   sizeof(struct digest)) != 0)
				add_page(copy, ram_page_address(first->ram, page));
	}
}

/* --- all --- */

/* It may quote a replica. */
static void copy_why(struct fail_stop_copy *copy, const char *why)
{
	(void)snprintf(copy->why, sizeof(copy->why), "%s", why);
	for (char *c = copy->why; *c; c++)
		if (*c == '\x7f' || (*c >= 0 && *c < ' '))
			*c = '?';
}

static void copy_name(struct fail_stop_copy *copy, const char *name)
{
	static const char fit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

	(void)snprintf(copy->name, sizeof(copy->name), "%s", name);
	for (char *c = copy->name; *c; c++)
		if (!strchr(fit, *c))
			*c = '_';
}

result fail_stop_copy_take(struct fail_stop_copy *copy, const struct fail_stop_facts *facts)
{
	invariant(facts->side_count <= VOTE_REPLICAS_MAX);
	*copy = (struct fail_stop_copy){ .facts = facts };
	copy_why(copy, facts->why);
	copy_name(copy, facts->name);
	for (unsigned i = 0; i < facts->side_count; i++) {
		copy->side_count++;
		TRY(copy_side(&copy->sides[i], &facts->sides[i], facts));
	}
	if (!pages_of_votes(copy))
		pages_of_tables(copy);
	return OK;
}

void fail_stop_copy_free(struct fail_stop_copy *copy)
{
	for (unsigned i = 0; i < copy->side_count; i++) {
		free(copy->sides[i].record);
		free(copy->sides[i].tape);
	}
	copy->side_count = 0;
}
