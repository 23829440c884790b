/*
 * Tapes that lie, written by a hostile leader: each entry is damaged before anybody can see it. Modes:
 *
 *   tape        each byte of header and payload in every way, in the first copy, the second, and both
 *   tape-forge  entries with the right checksum that say what is not so, or should not be there
 */
#ifndef TERCET_TESTS_FAULT_FORGE_TAPE_H
#define TERCET_TESTS_FAULT_FORGE_TAPE_H

#include "lockstep/tape.h"
#include "tests/fault/plan.h"

/* Writes an entry with `write` (tape_write), or something else instead. */
uint64_t forge_tape_write(struct plan *plan,
			  uint64_t (*write)(struct tape_writer *writer, enum tape_kind kind, uint64_t position,
					    const void *payload, uint16_t length),
			  struct tape_writer *writer, enum tape_kind kind, uint64_t position, const void *payload,
			  uint16_t length);

#endif
