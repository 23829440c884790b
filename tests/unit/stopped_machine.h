/*
 * What tests of reports share: a machine of three replicas that has been stopped, and eyes for what is written of it.
 */
#ifndef TERCET_TESTS_UNIT_STOPPED_MACHINE_H
#define TERCET_TESTS_UNIT_STOPPED_MACHINE_H

#include "lockstep/fail_stop.h"
#include "lockstep/tape.h"
#include "tests/unit/guest_memory.h"

#define STOPPED_TIME INT64_C(1795350828) /* 2026-11-22 12:33:48 UTC */

enum {
	STOPPED_PAGES = 4096,
	STOPPED_REPLICAS = 3,
	STOPPED_VOTE = 12,
	STOPPED_POSITION = 3000,
	STOPPED_REACHED = 3100
};

struct stopped_machine {
	struct area areas[STOPPED_REPLICAS];
	struct ram rams[STOPPED_REPLICAS];
	struct vote_record records[STOPPED_REPLICAS];
	struct tape_writer writers[STOPPED_REPLICAS]; /* each has one entry: time 1500 at position 10 */
	struct report_side sides[STOPPED_REPLICAS];
	struct fail_stop_facts facts;
	char folder[256]; /* in which its reports are made; there is nothing else in it */
	char path[512];   /* of the report at hand */
};

/* The one machine of a test program; made and removed as a fixture. All its replicas are alike. */
extern struct stopped_machine stopped;
void stopped_machine_setup(void);
void stopped_machine_teardown(void);

/* Makes a bit of replica 2 wrong in each place, and says so in the facts. */
void stopped_machine_damage(void);

/* Writes a report, which must succeed and leave nothing half made. */
void stopped_machine_report(void);

/* The path of a file in the report, good until the next call. */
const char *stopped_machine_file(const char *name);

/* A file of the report as text, good until the next call; `size`, if given, is its size. */
char *stopped_machine_text(const char *name, size_t *size);

/* The test fails unless a file of the report has these words, or has them not. */
void must_have(const char *name, const char *words);
void must_not_have(const char *name, const char *words);

/* report.json, which must be JSON. */
json_t *stopped_machine_json(void);

/* How many names there are in a folder that begin with a dot, or do not. */
unsigned stopped_machine_entries(const char *where, bool hidden);

/* How many files there are of pages. */
unsigned stopped_machine_pages(void);

#endif
