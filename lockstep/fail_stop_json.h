/*
 * report.json: everything that a stopped machine's report knows, for programs. docs/reports.md has its members.
 */
#ifndef TERCET_LOCKSTEP_FAIL_STOP_JSON_H
#define TERCET_LOCKSTEP_FAIL_STOP_JSON_H

#include <jansson.h>

#include "lockstep/fail_stop_copy.h"

/* A new object; NULL without memory. */
json_t *fail_stop_json(const struct fail_stop_copy *copy);

/* "2026-11-22T12:33:48Z" from Unix time; "unknown" for a time that has no year of four digits. */
void fail_stop_json_time(int64_t time, char *text, size_t size);

#endif
