/*
 * The console's backend: where COM1's output goes and key presses come from.
 *
 *   stdio      standard input and output; a terminal is put into raw mode (Ctrl-A x ends tercet)
 *   pty        a new pseudo-terminal, whose name is logged
 *   file:PATH  output only, to a file that is created or emptied
 *
 * Output is taken at once and written when the backend can take it, so that a slow reader stops nobody but the
 * guest that talks to it.
 */
#ifndef TERCET_DEVICES_HOST_CONSOLE_H
#define TERCET_DEVICES_HOST_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <termios.h>

#include "base/result.h"

struct console {
	int input_fd;  /* -1: no input (any more) */
	int output_fd;
	int keeper_fd; /* the pty's other side, so that a client that leaves is no error */
	bool owns_fds;
	bool pollable; /* output can be waited for: not a regular file */
	bool raw;
	bool escape;   /* Ctrl-A was pressed */
	struct termios saved;
	uint8_t *pending;
	size_t pending_begin, pending_end, pending_size;
};

/* Opens a backend by its option. Errors: STATUS_USAGE for an unknown one, STATUS_INPUT for a file that cannot
 * be written. */
must_check result console_open(struct console *console, const char *option);

/* Checks an option without opening anything. */
must_check result console_check(const char *option);

/* Writes what is still pending, for at most a second, and restores the terminal. A pty's reader gets as long to take
 * what was written. */
void console_close(struct console *console);

/* Takes output. Errors: no memory, or the backend is gone. */
must_check result console_put(struct console *console, const void *data, size_t length);

/* Writes as much as goes without waiting. Errors: the backend is gone. */
must_check result console_flush(struct console *console);

/* Whether there is output that must not be given up. A pty may have no reader: what it has not taken when
 * console_close gives up is lost. */
bool console_must_deliver(const struct console *console);

/* Bytes taken and not written yet. */
size_t console_pending(const struct console *console);

/* Reads key presses; 0 when there are none. At its end `input_fd` becomes -1. `*quit` is set when the user asked
 * to end tercet. */
size_t console_read(struct console *console, uint8_t *data, size_t size, bool *quit);

#endif
