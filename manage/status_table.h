/*
 * The status object of docs/events.md as a table for people. Members that are missing or of another kind than they
 * should be are shown as "-".
 */
#ifndef TERCET_MANAGE_STATUS_TABLE_H
#define TERCET_MANAGE_STATUS_TABLE_H

#include <jansson.h>

/* A new text of some lines, each ended by a line feed; free() releases it. NULL without memory. */
char *status_table(const json_t *status);

#endif
