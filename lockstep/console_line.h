/*
 * The console in the supervisor's event loop.
 */
#ifndef TERCET_LOCKSTEP_CONSOLE_LINE_H
#define TERCET_LOCKSTEP_CONSOLE_LINE_H

#include <stdbool.h>

#include "base/result.h"

struct epoll_event;
struct supervisor;

/* Opens the console that the machine's options name, and its log. Errors: console_open's. */
must_check result console_line_open(struct supervisor *supervisor);

/* To be called before the loop waits: arranges what it waits for. True: key presses need no waiting, the loop
 * calls console_line_keys at once. */
must_check bool console_line_arrange(struct supervisor *supervisor);

/* Passes key presses on to the replicas, as far as there is room. Errors: the user asks to end tercet. */
must_check result console_line_keys(struct supervisor *supervisor);

/* One of the console's descriptors is ready; what is another's is left alone. Errors: the backend is gone, or
 * the user asks to end. */
must_check result console_line_event(struct supervisor *supervisor, const struct epoll_event *event);

/* From time to time: writes what can be written, and gives up what nobody takes. Errors: the backend is gone.
 */
must_check result console_line_look(struct supervisor *supervisor);

#endif
