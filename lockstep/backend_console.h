/*
 * What stands behind a virtio console: one of the places that COM1 can have (devices/host/console.h), in a machine.
 */
#ifndef TERCET_LOCKSTEP_BACKEND_CONSOLE_H
#define TERCET_LOCKSTEP_BACKEND_CONSOLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"

struct backend_console;
struct supervisor_page;

/* Opens it; `epoll_fd` is to become readable when backend_console_bring has something to do, and so does the eventfd
 * `bell_fd`. Errors: those of console_open. */
must_check result backend_console_open(struct backend_console **console, const char *place, int epoll_fd, int bell_fd);

/* Writes what is left, as console_close does. NULL: nothing. */
void backend_console_close(struct backend_console *console);

/* Takes what the guest said. When the place is gone, a warning tells so once, and nothing is taken any more. */
void backend_console_put(struct backend_console *console, const void *data, size_t length);

/* Writes what can be written, and brings to the inbox what was typed, while there is room. Returns whether anything is
 * in the inbox. */
must_check bool backend_console_bring(struct backend_console *console, uint32_t device, struct supervisor_page *page,
				      uint64_t kept);

/* Whether so much waits for a reader that the guest should wait, too; and whether what waits must not be given up. */
bool backend_console_behind(const struct backend_console *console);
bool backend_console_busy(const struct backend_console *console);

/* What it did, for the statistics (docs/statistics.md). */
json_t *backend_console_statistics(const struct backend_console *console);

#endif
