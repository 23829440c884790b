#include "lockstep/recording.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"

/* A position is published as a checked word (base/checked_word.h). */
#define POSITION_MAX CHECKED_WORD_MAX

/* --- records --- */

static result whole(const struct recording *recording, uint64_t size)
{
	if (size <= recording->size - recording->at)
		return OK;
	return fail(STATUS_INPUT, "the file ends early, at byte %" PRIu64 ", within it", recording->size);
}

/* Reads the record at recording->at. */
static result read_record(const struct recording *recording, struct tape_file_record *record)
{
	size_t size;

	TRY(whole(recording, TAPE_FILE_HEAD_SIZE));
	TRY(fd_read_at(recording->fd, "the recording", recording->at, recording->bytes, TAPE_FILE_HEAD_SIZE));
	TRY(tape_file_read_head(recording->bytes, record));
	size = tape_file_record_size(record->length);
	TRY(whole(recording, size));
	TRY(fd_read_at(recording->fd, "the recording", recording->at, recording->bytes, size));
	/* What was read now is what counts. */
	TRY(tape_file_read_head(recording->bytes, record));
	if (tape_file_record_size(record->length) != size)
		return fail(STATUS_INPUT, "it changes while it is read");
	TRY(tape_file_check_record(recording->bytes, size));
	if (record->number != recording->number)
		return fail(STATUS_INPUT, "it is record %" PRIu32 ", and some are missing or come twice",
			    record->number);
	return OK;
}

static result next_record(struct recording *recording, struct tape_file_record *record)
{
	if (recording->at == recording->size)
		return fail(STATUS_INPUT,
			    "%s: the file ends at byte %" PRIu64 ", after %" PRIu32 " whole records, and the recording "
			    "does not: what recorded it was killed, or the file was cut",
			    recording->path, recording->at, recording->number);
	TRY(in_context(read_record(recording, record), "%s: record %" PRIu32 " at byte %" PRIu64, recording->path,
		       recording->number, recording->at));
	recording->record_at = recording->at;
	recording->at += tape_file_record_size(record->length);
	recording->number++;
	return OK;
}

/* What is wrong is in the record at hand. */
static result in_record(const struct recording *recording, result r)
{
	return in_context(r, "%s: record %" PRIu32 " at byte %" PRIu64, recording->path, recording->number - 1,
			  recording->record_at);
}

static const uint8_t *payload_of(const struct recording *recording)
{
	return recording->bytes + TAPE_FILE_HEAD_SIZE;
}

/* --- items --- */

static result begin_tape(struct recording *recording, const struct tape_file_record *record)
{
	if (recording->segment)
		return fail(STATUS_INPUT, "it follows another one with tape, without a vote in between");
	memcpy(recording->entries, payload_of(recording), record->length);
	recording->segment = true;
	recording->tape = (struct tape_reader){
		.ring = { recording->entries, TAPE_FILE_PAYLOAD_MAX },
		.position = recording->position,
		.ends = true,
		.end = record->length,
	};
	return OK;
}

static result take_entry(struct recording *recording, struct recording_item *item, bool *there)
{
	result r = tape_peek(&recording->tape, &item->entry, there);

	/* To followers a damaged tape is a failing leader; here it is a file. */
	if (failed(r))
		return fail(STATUS_INPUT, "its tape is damaged at byte %" PRIu64 " of its payload", recording->tape.at);
	if (!*there)
		return OK;
	if (item->entry.position > POSITION_MAX)
		return fail(STATUS_INPUT, "position %" PRIu64 " cannot be reached", item->entry.position);
	tape_consume(&recording->tape, &item->entry);
	item->kind = RECORDING_ENTRY;
	item->position = recording->position = item->entry.position;
	recording->last = item->entry;
	recording->entry_count++;
	return OK;
}

static result take_vote(struct recording *recording, const struct tape_file_record *record,
			struct recording_item *item)
{
	TRY(tape_file_load_vote(&item->vote, payload_of(recording), record->length));
	if (!recording->segment || recording->last.kind != TAPE_VOTE ||
	    recording->last.position != item->vote.position)
		return fail(STATUS_INPUT, "vote %" PRIu64 " at position %" PRIu64 " is not what the tape asks for",
			    item->vote.number, item->vote.position);
	if (item->vote.number != recording->votes)
		return fail(STATUS_INPUT, "vote %" PRIu64 " stands where vote %" PRIu64 " is expected",
			    item->vote.number, recording->votes);
	item->kind = RECORDING_VOTE;
	item->position = item->vote.position;
	recording->votes++;
	recording->segment = false;
	return OK;
}

static result take_end(struct recording *recording, const struct tape_file_record *record,
		       struct recording_item *item)
{
	TRY(tape_file_load_end(&item->end, payload_of(recording), record->length));
	if (recording->segment || item->end.votes != recording->votes ||
	    item->end.position != recording->position || item->end.entries != recording->entry_count)
		return fail(STATUS_INPUT, "the recording's end does not fit what stands before it");
	if (recording->at != recording->size)
		return fail(STATUS_INPUT, "%" PRIu64 " bytes follow behind the recording's end",
			    recording->size - recording->at);
	item->kind = RECORDING_END;
	item->position = item->end.position;
	recording->ended = true;
	return OK;
}

static result take_record(struct recording *recording, const struct tape_file_record *record,
			  struct recording_item *item, bool *there)
{
	*there = true;
	switch (record->kind) {
	case TAPE_FILE_TAPE:
		*there = false;
		return begin_tape(recording, record);
	case TAPE_FILE_VOTE:
		return take_vote(recording, record, item);
	case TAPE_FILE_END:
		return take_end(recording, record, item);
	case TAPE_FILE_MACHINE:
	case TAPE_FILE_KINDS:
		break;
	}
	return fail(STATUS_INPUT, "a second machine is described");
}

result recording_next(struct recording *recording, struct recording_item *item)
{
	bool there = false;

	invariant(!recording->ended);
	if (recording->segment)
		TRY(in_record(recording, take_entry(recording, item, &there)));
	while (!there) {
		struct tape_file_record record = { .length = 0 };

		TRY(next_record(recording, &record));
		TRY(in_record(recording, take_record(recording, &record, item, &there)));
		if (!there)
			TRY(in_record(recording, take_entry(recording, item, &there)));
	}
	return OK;
}

/* --- the file --- */

static result read_machine(struct recording *recording)
{
	struct tape_file_record record = { .length = 0 };

	TRY(next_record(recording, &record));
	if (record.kind != TAPE_FILE_MACHINE)
		return in_record(recording, fail(STATUS_INPUT, "it does not describe the machine"));
	recording->first_at = recording->at;
	return in_record(recording,
			 tape_file_load_machine(&recording->machine, payload_of(recording), record.length));
}

static result read_header(struct recording *recording)
{
	uint8_t header[TAPE_FILE_HEADER_SIZE];

	if (recording->size < sizeof(header))
		return fail(STATUS_INPUT, "%s: this is no recording of tercet's: it has %" PRIu64 " bytes",
			    recording->path, recording->size);
	TRY(fd_read_at(recording->fd, recording->path, 0, header, sizeof(header)));
	recording->at = sizeof(header);
	return in_context(tape_file_check_header(header), "%s", recording->path);
}

result recording_open(struct recording *recording, const char *path)
{
	*recording = (struct recording){
		.fd = open(path, O_RDONLY | O_CLOEXEC),
		.path = path,
		.bytes = malloc(tape_file_record_size(TAPE_FILE_PAYLOAD_MAX)),
		.entries = malloc(TAPE_FILE_PAYLOAD_MAX),
	};
	if (recording->fd < 0)
		return fail_errno(STATUS_INPUT, errno, "cannot read %s", path);
	if (!recording->bytes || !recording->entries)
		return fail(STATUS_FAILED, "no memory for a recording");
	TRY(fd_size(recording->fd, path, &recording->size));
	TRY(read_header(recording));
	return read_machine(recording);
}

void recording_close(struct recording *recording)
{
	fd_close(&recording->fd);
	free(recording->bytes);
	free(recording->entries);
	recording->bytes = recording->entries = NULL;
}

void recording_rewind(struct recording *recording)
{
	recording->at = recording->first_at;
	recording->number = 1;
	recording->position = recording->votes = recording->entry_count = 0;
	recording->segment = recording->ended = false;
}

result recording_scan(struct recording *recording, uint64_t position, struct recording_summary *summary)
{
	struct recording_item item = { .position = 0 };
	result r = OK;

	*summary = (struct recording_summary){ .ended = false };
	recording_rewind(recording);
	while (!recording->ended) {
		r = recording_next(recording, &item);
		if (failed(r) || item.position > position)
			break;
		if (item.kind == RECORDING_VOTE) {
			summary->position = item.position;
			summary->votes = recording->votes;
			if (item.position == position)
				break;
		}
	}
	summary->ended = recording->ended;
	recording_rewind(recording);
	return r;
}
