/* What Linux says of a process or a thread: the lines of /proc/PID/status. */
#ifndef TERCET_TESTS_UNIT_PROCESS_STATUS_H
#define TERCET_TESTS_UNIT_PROCESS_STATUS_H

#include <stddef.h>
#include <sys/types.h>

/* The value of the line `key` of a process, or of the thread with this number. */
void process_status_of(pid_t pid, const char *key, char *value, size_t size);
void process_status_must_be(pid_t pid, const char *key, const char *wanted);

#endif
