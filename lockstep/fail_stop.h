/*
 * The report of a machine that was stopped: a folder that is written once nobody can tell any more which replica is
 * right, or once a check of the supervisor's own has failed. docs/reports.md describes what is in it.
 *
 * Plain data in, files out. Areas and memories are what replicas made of them: everything is copied once and checked
 * before it is used, and what does not fit is marked, since it may be the very thing that is looked for.
 */
#ifndef TERCET_LOCKSTEP_FAIL_STOP_H
#define TERCET_LOCKSTEP_FAIL_STOP_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "lockstep/report.h"

struct fail_stop_facts {
	const char *folder;         /* where the report is made; is made itself, if only its last part is missing */
	const char *name;           /* the machine's */
	const char *why;            /* one sentence; may be the message of the last failure */
	int64_t time;               /* Unix time in s */
	int argc;                   /* the command line that runs it again, the program's name first */
	char *const *argv;
	const char *working_folder; /* in which it was run, or NULL */
	uint64_t agreed_votes;      /* votes that were decided */
	uint64_t agreed_position;   /* position of the last one of them */
	json_t *differences;        /* array, as report_difference and report_exits make them, or NULL; borrowed */
	json_t *events;             /* array, or NULL; borrowed */

	/* All replicas of which there is something left, at most VOTE_REPLICAS_MAX; of each, area, ram and record may
	 * be NULL. Each ram has as many pages as its area was made for. */
	const struct report_side *sides;
	unsigned side_count;
};

/* Writes the report FOLDER/tercet-NAME-YYYYmmdd-HHMMSS[-N] (UTC; N from 2 on, where that is taken) and puts its path
 * into `path`, or "" if there is none or it does not fit. It has its name once it is complete and on disk; before, and
 * if that fails, the name begins with a dot. Only its owner can read it, since it has guest memory in it.
 * Errors: STATUS_FAILED, with why the machine stopped, and which file could not be written. */
must_check result fail_stop_write(const struct fail_stop_facts *facts, char *path, size_t size);

#endif
