#include "lockstep/fail_stop_text.h"

#include <inttypes.h>
#include <string.h>

#include "devices/board.h"
#include "lockstep/fail_stop_tape.h"

enum { CELL_SIZE = 40, LABEL_WIDTH = 20, CELL_WIDTH = 35, DUMP_ROW = 16 };

/* --- tables with a column a replica --- */

struct row {
	char cells[VOTE_REPLICAS_MAX][CELL_SIZE]; /* "": it has none */
};

/* Rows that differ begin with a star. */
static void put_row(FILE *file, const char *label, const struct row *row, bool compare)
{
	const char *first = NULL;
	bool differs = false;
	int padding = 0;

	for (unsigned i = 0; i < VOTE_REPLICAS_MAX; i++) {
		if (!row->cells[i][0])
			continue;
		if (!first)
			first = row->cells[i];
		differs |= strcmp(first, row->cells[i]) != 0;
	}
	(void)fprintf(file, "%c %-*s", compare && differs ? '*' : ' ', LABEL_WIDTH, label);
	for (unsigned i = 0; i < VOTE_REPLICAS_MAX; i++) {
		if (!row->cells[i][0])
			continue;
		(void)fprintf(file, "%*s %s", padding, "", row->cells[i]);
		padding = CELL_WIDTH - (int)strlen(row->cells[i]);
	}
	(void)fprintf(file, "\n");
}

/* The column heads; false if nobody has voted. */
static bool put_heads(FILE *file, const struct fail_stop_copy *copy)
{
	struct row heads = { .cells = { "" } };
	struct row votes = { .cells = { "" } };
	struct row positions = { .cells = { "" } };
	bool any = false;

	for (unsigned i = 0; i < copy->side_count; i++) {
		const struct fail_stop_side *side = &copy->sides[i];

		if (!side->record) {
			(void)fprintf(file, "Replica %u has no ballot.\n", side->replica);
			continue;
		}
		any = true;
		(void)snprintf(heads.cells[i], CELL_SIZE, "replica %u", side->replica);
		(void)snprintf(votes.cells[i], CELL_SIZE, "%" PRIu64, side->record->number);
		(void)snprintf(positions.cells[i], CELL_SIZE, "%" PRIu64, side->record->position);
	}
	if (!any) {
		(void)fprintf(file, "There is nothing to compare.\n");
		return false;
	}
	if (copy->side_count > 1) {
		(void)fprintf(file, "A star marks what differs.\n\n");
		put_row(file, "", &heads, false);
	}
	put_row(file, "vote", &votes, true);
	put_row(file, "position", &positions, true);
	return true;
}

/* One row of whatever `cell` makes of each replica's ballot. */
static void put_cells(FILE *file, const struct fail_stop_copy *copy, const char *label,
		      void (*cell)(const struct vote_record *record, const void *what, char *text), const void *what)
{
	struct row row = { .cells = { "" } };

	for (unsigned i = 0; i < copy->side_count; i++)
		if (copy->sides[i].record)
			cell(copy->sides[i].record, what, row.cells[i]);
	put_row(file, label, &row, true);
}

/* --- digests and what else a ballot says --- */

static void digest_cell(const struct vote_record *record, const void *what, char *text)
{
	const enum vote_digest *digest = what;

	for (unsigned i = 0; i < DIGEST_SIZE; i++)
		(void)snprintf(text + 2 * (size_t)i, 3, "%02x", record->ballot.digests[*digest].bytes[i]);
}

static void cause_cell(const struct vote_record *record, const void *what, char *text)
{
	(void)what;
	(void)snprintf(text, CELL_SIZE, "%s (%" PRIu32 ")",
		       vote_cause_name((enum vote_cause)record->cause), record->cause);
}

static void end_cell(const struct vote_record *record, const void *what, char *text)
{
	(void)what;
	(void)snprintf(text, CELL_SIZE, "%s (%" PRIu32 ")", fail_stop_copy_end_name(record->end), record->end);
}

static void number_cell(const struct vote_record *record, const void *what, char *text)
{
	const size_t *offset = what;
	uint64_t number;

	memcpy(&number, (const uint8_t *)record + *offset, sizeof(number));
	(void)snprintf(text, CELL_SIZE, "%" PRIu64, number);
}

void fail_stop_text_digests(FILE *file, const struct fail_stop_copy *copy)
{
	static const struct {
		const char *name;
		size_t offset;
	} numbers[] = {
		{ "end_value", offsetof(struct vote_record, end_value) },
		{ "guest_ns", offsetof(struct vote_record, guest_ns) },
		{ "output_end", offsetof(struct vote_record, output_end) },
		{ "console_taken", offsetof(struct vote_record, console_taken) },
		{ "buttons_taken", offsetof(struct vote_record, buttons_taken) },
		{ "inbox_taken", offsetof(struct vote_record, inbox_taken) },
		{ "halted", offsetof(struct vote_record, halted) },
		{ "resets_taken", offsetof(struct vote_record, resets_taken) },
		{ "boots", offsetof(struct vote_record, boots) },
	};

	if (!put_heads(file, copy))
		return;
	put_cells(file, copy, "cause", cause_cell, NULL);
	put_cells(file, copy, "end", end_cell, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		put_cells(file, copy, numbers[i].name, number_cell, &numbers[i].offset);
	(void)fprintf(file, "\n");
	for (enum vote_digest d = VOTE_EXITS; d < VOTE_DIGESTS; d++)
		put_cells(file, copy, vote_digest_name(d), digest_cell, &d);
}

/* --- registers --- */

static void register_cell(const struct vote_record *record, const void *what, char *text)
{
	const struct register_info *info = what;
	const uint8_t *bytes = (const uint8_t *)&record->cpu + info->offset;

	for (unsigned i = 0; i < info->width; i++)
		(void)snprintf(text + 2 * (size_t)i, 3, "%02x", bytes[info->width - 1 - i]);
}

void fail_stop_text_registers(FILE *file, const struct fail_stop_copy *copy)
{
	if (!put_heads(file, copy))
		return;
	for (size_t i = 0; i < register_count; i++)
		put_cells(file, copy, register_table[i].name, register_cell, &register_table[i]);
}

/* --- devices --- */

/* One device's state in one ballot; no bytes where it cannot be found. */
struct device_state {
	const uint8_t *bytes;
	size_t length;
};

static struct device_state state_of(const struct vote_record *record, size_t device)
{
	struct device_state state = { .bytes = NULL };
	size_t offset;

	if (record && board_saved_device(record->devices, record->devices_size, device, &offset, &state.length))
		state.bytes = record->devices + offset;
	else
		state.length = 0;
	return state;
}

static bool same_bytes(const struct device_state *a, const struct device_state *b, size_t begin, size_t end)
{
	if (a->length < end)
		end = a->length > b->length ? a->length : b->length;
	if (a->length < end || b->length < end)
		return false;
	return begin >= end || memcmp(a->bytes + begin, b->bytes + begin, end - begin) == 0;
}

static void put_dump(FILE *file, const struct device_state *state, size_t begin, const char *head, bool differs)
{
	(void)fprintf(file, "%c %04zx%s ", differs ? '*' : ' ', begin, head);
	for (size_t at = begin; at < state->length && at < begin + DUMP_ROW; at++)
		(void)fprintf(file, " %02x", state->bytes[at]);
	(void)fprintf(file, "\n");
}

static void put_device(FILE *file, const struct fail_stop_copy *copy, size_t device)
{
	struct device_state states[VOTE_REPLICAS_MAX] = { { .bytes = NULL } };
	const struct device_state *first = NULL;
	bool alike = true;
	size_t longest = 0;

	for (unsigned i = 0; i < copy->side_count; i++) {
		states[i] = state_of(copy->sides[i].record, device);
		if (!states[i].bytes) {
			alike &= !copy->sides[i].record;
			continue;
		}
		if (!first)
			first = &states[i];
		alike &= first->length == states[i].length && same_bytes(first, &states[i], 0, first->length);
		if (states[i].length > longest)
			longest = states[i].length;
	}
	(void)fprintf(file, "%c %s\n", alike ? ' ' : '*', board_device_name(NULL, device));
	for (unsigned i = 0; i < copy->side_count; i++)
		if (copy->sides[i].record && !states[i].bytes)
			(void)fprintf(file, "* replica %u: damaged, there is no such device in its state\n",
				      copy->sides[i].replica);
	for (size_t at = 0; at < longest; at += DUMP_ROW) {
		bool same = true;

		for (unsigned i = 0; i < copy->side_count; i++)
			same &= !states[i].bytes || same_bytes(first, &states[i], at, at + DUMP_ROW);
		for (unsigned i = 0; i < copy->side_count; i++) {
			char head[32];

			if (!states[i].bytes)
				continue;
			(void)snprintf(head, sizeof(head), "  replica %u", copy->sides[i].replica);
			put_dump(file, &states[i], at, same ? "" : head, !same);
			if (same)
				break;
		}
	}
	(void)fprintf(file, "\n");
}

void fail_stop_text_devices(FILE *file, const struct fail_stop_copy *copy)
{
	if (!put_heads(file, copy))
		return;
	(void)fprintf(file, "\n");
	for (size_t i = 0; i < board_device_count(NULL); i++)
		put_device(file, copy, i);
}

/* --- exits --- */

static void put_exit(FILE *file, const struct fail_stop_exit *exit)
{
	static const char marks[] = {
		[FAIL_STOP_EXIT_ALIKE] = ' ', [FAIL_STOP_EXIT_DIFFERS] = '*', [FAIL_STOP_EXIT_DAMAGED] = '!'
	};
	const struct exit_record *record = &exit->record;

	(void)fprintf(file, "%c %12" PRIu64 "  %-16s %8" PRIx64 " %4u %16" PRIx64 " %5x", marks[exit->state],
		      exit->position, exit_reason_name((enum exit_reason)record->reason), record->address,
		      record->size, record->data, record->event);
	(void)fprintf(file, "  rip %016" PRIx64 " rflags %06" PRIx64 " rsp %016" PRIx64 " rax %016" PRIx64 "\n",
		      record->rip, record->rflags, record->gpr[GPR_RSP], record->gpr[GPR_RAX]);
}

void fail_stop_text_exits(FILE *file, const struct fail_stop_copy *copy)
{
	(void)fprintf(file,
		      "The last exits of each replica. A star marks one that is not as in the log of another replica,\n"
		      "an exclamation mark a place where another exit stands. All numbers but positions and sizes are\n"
		      "hexadecimal.\n");
	for (unsigned i = 0; i < copy->side_count; i++) {
		const struct fail_stop_side *side = &copy->sides[i];

		(void)fprintf(file, "\nreplica %u\n", side->replica);
		if (side->exit_count > 0)
			(void)fprintf(file, "  %12s  %-16s %8s %4s %16s %5s\n", "position", "reason", "address",
				      "size", "data", "event");
		for (unsigned e = 0; e < side->exit_count; e++)
			put_exit(file, &side->exits[e]);
	}
}

/* --- tape --- */

void fail_stop_text_tape(FILE *file, const struct fail_stop_copy *copy)
{
	char text[512];

	(void)fprintf(file, "The end of the tape that each replica wrote while it led: place on the tape, position, "
			    "input.\n");
	for (unsigned i = 0; i < copy->side_count; i++) {
		const struct fail_stop_side *side = &copy->sides[i];
		struct fail_stop_tape tape = fail_stop_tape_of(side);
		struct fail_stop_tape_item item;

		(void)fprintf(file, "\nreplica %u: bytes %" PRIu64 " to %" PRIu64 "\n", side->replica,
			      side->tape_begin, side->tape_end);
		while (fail_stop_tape_next(&tape, &item)) {
			fail_stop_tape_describe(&item, text, sizeof(text));
			(void)fprintf(file, "%c %12" PRIu64 "  ", item.damaged ? '!' : ' ', item.at);
			if (item.damaged)
				(void)fprintf(file, "%12s  %s\n", "", text);
			else
				(void)fprintf(file, "%12" PRIu64 "  %s\n", item.position, text);
		}
	}
}
