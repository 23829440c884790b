/*
 * A console's backend: where the output of COM1, or of a virtio console, goes and key presses come from.
 *
 *   stdio      standard input and output; a terminal is put into raw mode (Ctrl-A x ends tercet)
 *   pty        a new pseudo-terminal, whose name is logged
 *   file:PATH  output only, to a file that is created or emptied
 *   append:PATH  output only, behind what a file has
 *   unix:PATH  a socket, on which one client at a time is served; without one, output is lost
 *   unix-fd:NUMBER  likewise, a listening socket that was inherited
 *   fd:NUMBER  output only, to an inherited descriptor
 *   null       output is lost
 *
 * Output is taken at once and written when the backend can take it, so that a slow reader stops nobody but the
 * guest that talks to it; and not even that one if the console is a lossy one.
 */
#ifndef TERCET_DEVICES_HOST_CONSOLE_H
#define TERCET_DEVICES_HOST_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <termios.h>

#include "base/result.h"

#define CONSOLE_PATIENCE_NS UINT64_C(1000000000)
enum { CONSOLE_KEPT = 4096 };

struct console {
	int input_fd;  /* -1: no input (any more) */
	int output_fd;
	int keeper_fd; /* the pty's other side, so that a client that leaves is no error */
	int listen_fd; /* clients come here, or -1 */
	int left_fd;   /* of a client that has left, to be closed by console_forget; or -1 */
	char place[64]; /* the pty's name; "" of other backends */
	char *path;    /* of a socket that is removed at the end, or NULL */
	bool lossy;    /* what nobody takes for CONSOLE_PATIENCE_NS is given up, but for the last CONSOLE_KEPT bytes */
	uint64_t stuck_since; /* CLOCK_MONOTONIC ns since when nothing could be written, 0: it could */
	uint64_t dropped;     /* bytes */
	struct console *log;  /* takes all output as well, or NULL */
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

/* Opens a second place for all output, by an option of one that takes output alone. What it cannot take is lost, and
 * stops nobody. Errors: as above. */
must_check result console_open_log(struct console *console, const char *option);

/* Takes the next client of a listening backend, if one has come and none is there. */
void console_accept(struct console *console);

/* Closes the descriptor of a client that has left. */
void console_forget(struct console *console);

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
