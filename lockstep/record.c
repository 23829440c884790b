#include "lockstep/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "lockstep/event.h"
#include "lockstep/file_hash.h"
#include "lockstep/supervisor_state.h"
#include "lockstep/tape.h"
#include "lockstep/tape_file.h"

/* A vote's tape, its vote and, before the first, the machine. */
enum { BUFFER_SIZE = TAPE_FILE_PAYLOAD_MAX + (1 << 16) };

_Static_assert((int)TAPE_FILE_PAYLOAD_MAX == (int)CONTROL_TAPE_SIZE, "what a tape can hold fits into a record");

struct record {
	int fd;
	char path[PATH_MAX];
	bool stopped;
	uint64_t size;         /* of the file: whole records */
	uint32_t number;       /* of the next record */
	struct tape_file_machine machine;
	uint8_t *buffer;       /* BUFFER_SIZE bytes: what is written next */

	uint32_t epoch;        /* whose leader's tape is taken, */
	uint64_t tape_at;      /* and from where on */
	uint8_t *memory;       /* what was taken since the last vote */
	struct tape_writer taken;
	_Atomic uint64_t written; /* its word */
	uint64_t taken_position;  /* of its last entry */
	uint64_t taken_entries;

	uint64_t votes;
	uint64_t position;
	uint64_t entries;
	enum machine_end end;
	uint64_t end_value;
};

/* --- the file --- */

static result write_out(struct record *record, const struct bytes_writer *out)
{
	invariant(!out->overflow);
	TRY(fd_write_all(record->fd, record->path, out->data, out->used));
	record->size += out->used;
	return OK;
}

static void put(struct record *record, struct bytes_writer *out, enum tape_file_kind kind,
		const struct bytes_writer *payload)
{
	const struct tape_file_record head = {
		.kind = kind,
		.length = (uint32_t)payload->used,
		.number = record->number++,
	};

	invariant(!payload->overflow);
	tape_file_put_record(out, &head, payload->data);
}

/* What was written since the last whole record is taken back, if it can be. */
static void stop(struct supervisor *supervisor, const char *why)
{
	struct record *record = supervisor->record;
	char text[512];

	(void)snprintf(text, sizeof(text), "%s", why);
	record->stopped = true;
	if (ftruncate(record->fd, (off_t)record->size) < 0)
		(void)snprintf(text, sizeof(text), "%.400s, nor be cut to its last whole record", why);
	event_tell(supervisor, EVENT_RECORDING_STOPPED, -1,
		   "the recording ends at position %" PRIu64 ", the machine goes on: %s", record->position, text);
}

/* --- the tape --- */

static void forget_taken(struct record *record)
{
	record->taken.at = 0;
	record->taken_entries = 0;
	record->taken_position = record->position;
}

static result take_entry(struct record *record, const struct tape_entry *entry)
{
	/* An entry is no longer than this, padding and all. */
	if (record->taken.at + TAPE_HEADER_SIZE + TAPE_PAYLOAD_MAX + 8 > CONTROL_TAPE_SIZE)
		return fail(STATUS_FAILED, "there is too much tape before vote %" PRIu64, record->votes);
	(void)tape_write(&record->taken, entry->kind, entry->position, entry->payload, entry->length);
	record->taken_position = entry->position;
	record->taken_entries++;
	return OK;
}

/* Takes what `leader` has on its tape up to offset `end`. */
static result take_tape(struct record *record, const struct member *leader, uint64_t end)
{
	const uint64_t first = record->tape_at;
	struct tape_reader reader = {
		.ring = leader->area.tape,
		.mirror = leader->area.tape_mirror,
		.at = first,
		.position = record->taken_position,
		.ends = true,
		.end = end,
	};
	uint64_t written;
	bool there = true;

	if (end < first || end - first > CONTROL_TAPE_SIZE)
		return fail(STATUS_FAILED, "replica %u has no tape from byte %" PRIu64 " to %" PRIu64, leader->index,
			    first, end);
	while (there) {
		struct tape_entry entry;

		TRY(in_context(tape_peek(&reader, &entry, &there), "replica %u", leader->index));
		if (!there)
			break;
		TRY(take_entry(record, &entry));
		tape_consume(&reader, &entry);
	}
	/* It goes on while it is read: what it has written by now may be in the place of what was read. */
	written = checked_word_load(&leader->area.control->tape_written, end);
	if (written > first + CONTROL_TAPE_SIZE)
		return fail(STATUS_FAILED, "replica %u has overwritten its tape before it could be recorded",
			    leader->index);
	record->tape_at = end;
	return OK;
}

/* Takes the tapes of the leaderships before `epoch`, as far as they count. */
static result take_legacies(struct record *record, const struct supervisor *supervisor, uint32_t epoch)
{
	if (supervisor->epoch - record->epoch >= CONTROL_LEADERSHIPS)
		return fail(STATUS_FAILED, "there were too many leaders since vote %" PRIu64, record->votes);
	while (record->epoch != epoch) {
		const uint32_t next_epoch = record->epoch + 1;
		const struct leadership *const leaderships = supervisor->page->leaderships;
		const struct leadership *now = &leaderships[record->epoch % CONTROL_LEADERSHIPS];
		const struct leadership *next = &leaderships[next_epoch % CONTROL_LEADERSHIPS];

		if (next->begin == LEADERSHIP_AT_TAPE_END)
			TRY(take_tape(record, &supervisor->members[now->leader], next->tape_end));
		else if (next->vote + 1 == record->votes)
			forget_taken(record);
		else
			return fail(STATUS_FAILED, "replica %u leads from vote %" PRIu64 " on, after vote %" PRIu64,
				    next->leader, next->vote, record->votes - 1);
		record->epoch = next_epoch;
		record->tape_at = next->tape_base;
	}
	return OK;
}

/* Two replicas that never agreed begin anew: what was taken before counts no more. */
static void begin_anew(struct record *record)
{
	record->epoch = 0;
	record->tape_at = 0;
	forget_taken(record);
}

/* --- votes --- */

/* Late: a machine that begins anew before its first vote has another clock. */
static void put_machine(struct record *record, const struct replica_config *config, struct bytes_writer *out)
{
	struct tape_file_machine *machine = &record->machine;
	uint8_t bytes[1 << 14];
	struct bytes_writer payload = bytes_writer_over(bytes, sizeof(bytes));

	machine->recorded = (int64_t)time(NULL);
	machine->replicas = config->replicas;
	machine->kind = config->kind;
	machine->memory = config->memory;
	machine->rtc_epoch = config->rtc_epoch;
	memcpy(machine->digest_key, config->digest_key, sizeof(machine->digest_key));
	memcpy(machine->seed, config->seed, sizeof(machine->seed));
	machine->pci_count = config->pci_count;
	memcpy(machine->pci, config->pci, sizeof(machine->pci));
	(void)snprintf(machine->version, sizeof(machine->version), "%s", TERCET_VERSION);
	(void)snprintf(machine->command_line, sizeof(machine->command_line), "%s", config->command_line);
	tape_file_save_machine(machine, &payload);
	put(record, out, TAPE_FILE_MACHINE, &payload);
}

static void put_vote(struct record *record, const struct vote_record *vote, struct bytes_writer *out)
{
	const struct tape_file_vote kept = tape_file_vote_of(vote);
	const struct bytes_writer tape = {
		.data = record->memory, .size = CONTROL_TAPE_SIZE, .used = (size_t)record->taken.at
	};
	uint8_t bytes[1 << 10];
	struct bytes_writer payload = bytes_writer_over(bytes, sizeof(bytes));

	put(record, out, TAPE_FILE_TAPE, &tape);
	tape_file_save_vote(&kept, &payload);
	put(record, out, TAPE_FILE_VOTE, &payload);
}

static result take_vote(struct record *record, const struct supervisor *supervisor, const struct vote_record *vote)
{
	struct bytes_writer out = bytes_writer_over(record->buffer, BUFFER_SIZE);
	unsigned leader;

	if (record->votes == 0 && record->epoch > vote->epoch)
		begin_anew(record);
	if (vote->number != record->votes || vote->epoch < record->epoch || vote->epoch > supervisor->epoch)
		return fail(STATUS_FAILED,
			    "vote %" PRIu64 " of leadership %" PRIu32 " follows vote %" PRIu64 " of leadership "
			    "%" PRIu32,
			    vote->number, vote->epoch, record->votes - 1, record->epoch);
	TRY(take_legacies(record, supervisor, vote->epoch));
	leader = supervisor->page->leaderships[vote->epoch % CONTROL_LEADERSHIPS].leader;
	TRY(take_tape(record, &supervisor->members[leader], vote->tape_at));
	if (record->taken_position != vote->position || record->taken_entries == 0)
		return fail(STATUS_FAILED,
			    "the tape before vote %" PRIu64 " ends at position %" PRIu64 ", not %" PRIu64, vote->number,
			    record->taken_position, vote->position);
	if (record->votes == 0)
		put_machine(record, &supervisor->config, &out);
	put_vote(record, vote, &out);
	TRY(write_out(record, &out));
	record->votes++;
	record->position = vote->position;
	record->entries += record->taken_entries;
	record->end = (enum machine_end)vote->end;
	record->end_value = vote->end_value;
	forget_taken(record);
	return OK;
}

void record_vote(struct supervisor *supervisor, const struct vote_record *vote)
{
	struct record *record = supervisor->record;
	result r;

	if (!record || record->stopped)
		return;
	r = take_vote(record, supervisor, vote);
	if (failed(r))
		stop(supervisor, r.failure->message);
}

void record_keep(struct supervisor *supervisor)
{
	struct record *record = supervisor->record;
	result r;

	if (!record || record->stopped)
		return;
	if (record->epoch > supervisor->epoch)
		begin_anew(record);
	r = take_legacies(record, supervisor, supervisor->epoch);
	if (failed(r))
		stop(supervisor, r.failure->message);
}

/* --- beginning and end --- */

void record_end(struct supervisor *supervisor)
{
	struct record *record = supervisor->record;
	struct bytes_writer out;
	uint8_t bytes[64];
	struct bytes_writer payload = bytes_writer_over(bytes, sizeof(bytes));
	result r;

	/* A machine that never voted has no recording. */
	if (!record || record->stopped || record->votes == 0)
		return;
	out = bytes_writer_over(record->buffer, BUFFER_SIZE);
	tape_file_save_end(&(struct tape_file_end){ .end = record->end, .end_value = record->end_value,
						    .position = record->position, .votes = record->votes,
						    .entries = record->entries },
			   &payload);
	put(record, &out, TAPE_FILE_END, &payload);
	r = write_out(record, &out);
	if (failed(r))
		stop(supervisor, r.failure->message);
	record->stopped = true;
}

static result take_image(struct tape_file_image *image, int fd, const char *name)
{
	if (fd < 0)
		return OK;
	/* Replays may be started elsewhere. */
	if (!realpath(name, image->path))
		return fail_errno(STATUS_INPUT, errno, "cannot find %s", name);
	return file_hash(fd, name, &image->size, image->hash);
}

static result begin(struct record *record, const char *path, const struct supervisor *supervisor)
{
	struct bytes_writer out;

	record->buffer = malloc(BUFFER_SIZE);
	record->memory = malloc(CONTROL_TAPE_SIZE);
	if (!record->buffer || !record->memory)
		return fail(STATUS_FAILED, "no memory for a recording");
	record->taken = (struct tape_writer){ .ring = { record->memory, CONTROL_TAPE_SIZE },
					      .written = &record->written };
	(void)snprintf(record->path, sizeof(record->path), "%s", path);
	TRY(take_image(&record->machine.kernel, supervisor->config.kernel_fd, supervisor->options->kernel));
	TRY(take_image(&record->machine.initrd, supervisor->config.initrd_fd, supervisor->options->initrd));
	record->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (record->fd < 0)
		return fail_errno(STATUS_INPUT, errno, "--record: cannot write %s", path);
	TRY(in_context(fd_size(record->fd, path, &record->size), "--record"));
	out = bytes_writer_over(record->buffer, BUFFER_SIZE);
	tape_file_put_header(&out);
	return write_out(record, &out);
}

result record_open(struct record **record, const char *path, const struct supervisor *supervisor)
{
	result r;

	*record = NULL;
	if (!path)
		return OK;
	*record = calloc(1, sizeof(**record));
	if (!*record)
		return fail(STATUS_FAILED, "no memory for a recording");
	(*record)->fd = -1;
	r = begin(*record, path, supervisor);
	if (failed(r)) {
		record_close(*record);
		*record = NULL;
	}
	return r;
}

void record_close(struct record *record)
{
	if (!record)
		return;
	fd_close(&record->fd);
	free(record->buffer);
	free(record->memory);
	free(record);
}
