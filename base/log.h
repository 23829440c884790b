/*
 * Messages for people, on standard error, one line each: "tercet: error: ...".
 * A replica names itself ("tercet[replica 1]: ...") by log_set_role.
 */
#ifndef TERCET_BASE_LOG_H
#define TERCET_BASE_LOG_H

#include <stdbool.h>

#include "base/result.h"

/* Names the process in every later line; `role` is copied, NULL or "" for none. */
void log_set_role(const char *role);

/* Turns text that somebody else wrote into one line of plain text: what is not printable ASCII becomes a "?". */
void log_make_plain(char *text);

/* Turns log_debug on or off (off at start). */
void log_set_verbose(bool verbose);

printf_like(1, 2) void log_error(const char *format, ...);
printf_like(1, 2) void log_warning(const char *format, ...);
printf_like(1, 2) void log_info(const char *format, ...);
printf_like(1, 2) void log_debug(const char *format, ...);

#endif
