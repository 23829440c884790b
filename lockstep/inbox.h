/*
 * The inbox: what the outside has for devices - answers to fetches, disk requests that are done, frames - in the order
 * in which the supervisor got it. A ring on its page, which replicas only read. What is in there stays until a vote
 * was agreed by which the guest had taken it, so a new leader takes again what the old one took behind that vote.
 *
 *   entry: u64 asked, an input in its byte format (devices/device.h), zeros up to 8 bytes
 *
 * `asked` is the check of the fetch that it answers (lockstep/fetches.h), and 0 where it answers none. On the tape, in
 * TAPE_DEVICE, an entry stands behind the inbox offset of its end.
 */
#ifndef TERCET_LOCKSTEP_INBOX_H
#define TERCET_LOCKSTEP_INBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "devices/device.h"

struct supervisor_page;

enum {
	INBOX_ENTRY_MAX = 8 + DEVICE_INPUT_HEADER + DEVICE_INPUT_MAX,
	INBOX_TAPED_MAX = 8 + INBOX_ENTRY_MAX, /* on the tape */
};

struct inbox_entry {
	uint64_t begin; /* inbox offsets */
	uint64_t end;
	uint64_t asked;
	struct device_input input;
};

/* Whether an input answers a fetch, and so belongs to one leadership; and whether it may get lost, as on any wire. */
bool inbox_answers(const struct device_input *input);
bool inbox_may_drop(const struct device_input *input);

/* Appends an input, if there is room for it while everything from offset `kept` on must stay; false: there is none.
 * The page is the supervisor's own. */
must_check bool inbox_put(struct supervisor_page *page, uint64_t kept, const struct device_input *input,
			  uint64_t asked);

/* Copies the entry at offset `at`; `*there` is false where nothing is yet. Errors: damaged. */
must_check result inbox_look(const struct supervisor_page *page, uint64_t at, struct inbox_entry *entry, bool *there);

/* An entry as it stands on the tape: its bytes, INBOX_TAPED_MAX at most, and their number. */
uint16_t inbox_to_tape(const struct inbox_entry *entry, uint8_t bytes[INBOX_TAPED_MAX]);

/* The reverse, from what cannot be trusted. Errors: it is not what inbox_to_tape makes of an entry that begins at
 * `at`. */
must_check result inbox_from_tape(const uint8_t *bytes, uint16_t size, uint64_t at, struct inbox_entry *entry);

/* What stands in a recording for an entry that was skipped, which ends at `end`: one that no device waits for. Errors:
 * there is none of that size. */
must_check result inbox_void(uint64_t at, uint64_t end, struct inbox_entry *entry);

#endif
