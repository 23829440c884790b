/*
 * A client of a running machine's monitor: connects, negotiates, asks, and takes events. What comes from the socket is
 * checked before it is used, and made harmless before it is shown.
 */
#ifndef TERCET_MANAGE_CLIENT_H
#define TERCET_MANAGE_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/result.h"
#include "manage/qmp_stream.h"

struct client {
	const char *vm; /* as the user said it */
	int fd;
	struct qmp_stream input;
	char buffer[4096];
	size_t begin, end; /* of what is not yet taken from the buffer */
	json_t *events;    /* that came while a reply was waited for, an array */
	bool lost;         /* the machine has closed the connection */
};

/* Connects to a machine by its name or its socket's path, and negotiates; after success and failure alike it is to
 * be closed. Errors: STATUS_INPUT no such machine, or not for this user; STATUS_FAILED it does not answer. */
must_check result client_open(struct client *client, const char *vm);
void client_close(struct client *client);

/* Has a command run; takes over `arguments` (NULL: none). `*value`, unless NULL, is the new value that it returned.
 * Errors: STATUS_FAILED, what the machine says is wrong, or no answer within 10 s. */
must_check result client_ask(struct client *client, const char *command, json_t *arguments, json_t **value);

/* Waits up to `timeout_ms` (-1: for ever) for an event: `*event` is new, or NULL after that time.
 * Errors: STATUS_FAILED, the connection is lost (`lost` is set) or damaged. */
must_check result client_await_event(struct client *client, int timeout_ms, json_t **event);

/* True for the events after which a machine is no more. */
bool client_is_last_event(const json_t *event);

/* Replaces what could act on a terminal, and what is not printable, by question marks. */
void client_clean_text(char *text);

/* How such a command ends: with a message on standard error if it failed, and the exit status. */
int client_report(result r);

#endif
