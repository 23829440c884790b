/*
 * The two parts of a stopped machine's report that are read first: what happened and what to do, and the command that
 * runs the machine again. Errors of writing stay in `file` (ferror(3)).
 */
#ifndef TERCET_LOCKSTEP_FAIL_STOP_SUMMARY_H
#define TERCET_LOCKSTEP_FAIL_STOP_SUMMARY_H

#include <stdio.h>

#include "lockstep/fail_stop_copy.h"

/* summary.txt */
void fail_stop_summary(FILE *file, const struct fail_stop_copy *copy);

/* command: a shell script. Words are quoted, so that whatever they are they arrive as they were. */
void fail_stop_summary_command(FILE *file, const struct fail_stop_copy *copy);

#endif
