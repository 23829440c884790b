/*
 * The parts of a stopped machine's report that people read: one function a file, each of which writes to `file` what
 * docs/reports.md says of it. Errors of writing stay in `file` (ferror(3)).
 */
#ifndef TERCET_LOCKSTEP_FAIL_STOP_TEXT_H
#define TERCET_LOCKSTEP_FAIL_STOP_TEXT_H

#include <stdio.h>

#include "lockstep/fail_stop_copy.h"

/* digests.txt, registers.txt: a table with a column a replica; rows that differ begin with a star. */
void fail_stop_text_digests(FILE *file, const struct fail_stop_copy *copy);
void fail_stop_text_registers(FILE *file, const struct fail_stop_copy *copy);

/* devices.txt: each device's saved state, of all replicas where it differs. */
void fail_stop_text_devices(FILE *file, const struct fail_stop_copy *copy);

/* exits.txt, tape.txt: the last ones, replica by replica. */
void fail_stop_text_exits(FILE *file, const struct fail_stop_copy *copy);
void fail_stop_text_tape(FILE *file, const struct fail_stop_copy *copy);

#endif
