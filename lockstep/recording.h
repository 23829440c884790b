/*
 * A recording that is read: its machine, then what happened to it, one item after the other. Everything is checked
 * on the way, and a failure says at which byte, in which record, what is wrong.
 */
#ifndef TERCET_LOCKSTEP_RECORDING_H
#define TERCET_LOCKSTEP_RECORDING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "lockstep/tape.h"
#include "lockstep/tape_file.h"

struct recording {
	int fd;
	const char *path;
	uint64_t size;         /* bytes of the file */
	uint64_t at;           /* offset of the next record */
	uint64_t record_at;    /* of the one at hand */
	uint64_t first_at;     /* of the first item's */
	uint32_t number;       /* of the next record */
	struct tape_file_machine machine;
	uint8_t *bytes;        /* a whole record */
	uint8_t *entries;      /* the tape up to the next vote: TAPE_FILE_PAYLOAD_MAX bytes */
	struct tape_reader tape; /* over it */
	struct tape_entry last;  /* that was taken from it */
	uint64_t position;     /* of the last item */
	uint64_t votes;
	uint64_t entry_count;
	bool segment;          /* there is tape before the next vote */
	bool ended;
};

enum recording_item_kind {
	RECORDING_ENTRY, /* of the tape */
	RECORDING_VOTE,  /* behind all entries that led to it, the last of which asks for it */
	RECORDING_END,
};

struct recording_item {
	enum recording_item_kind kind;
	uint64_t position;
	struct tape_entry entry;
	struct tape_file_vote vote;
	struct tape_file_end end;
};

/* What a whole recording has, or as much of it as was looked at. */
struct recording_summary {
	uint64_t position; /* of the last vote */
	uint64_t votes;
	bool ended;        /* its end was seen */
};

/* Opens a file, checks its header and reads its machine. `path` must outlive it. Give it to recording_close even if
 * it failed. Errors: STATUS_INPUT it cannot be read, is no recording, or is damaged. */
must_check result recording_open(struct recording *recording, const char *path);
void recording_close(struct recording *recording);

/* The next item; none behind RECORDING_END. Errors: STATUS_INPUT damaged, or the file ends before the recording. */
must_check result recording_next(struct recording *recording, struct recording_item *item);

/* Goes back to the first item. */
void recording_rewind(struct recording *recording);

/* Reads all items up to `position` (UINT64_MAX: to the end), checks them, and goes back to the first. `summary` is
 * filled in even where it fails: with what is good. Errors: as recording_next. */
must_check result recording_scan(struct recording *recording, uint64_t position, struct recording_summary *summary);

#endif
