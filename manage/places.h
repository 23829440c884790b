/*
 * Where running machines are found: the monitor of a machine called NAME listens on NAME.sock in a folder of its
 * user's: /run/tercet for root, $XDG_RUNTIME_DIR/tercet for others (and for a root without /run).
 */
#ifndef TERCET_MANAGE_PLACES_H
#define TERCET_MANAGE_PLACES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/un.h>

#include "base/result.h"

enum {
	PLACES_NAME_MAX = 64,
	PLACES_PATH_SIZE = 108, /* sockaddr_un's sun_path with its end, unix(7) */
};

/* A socket's path, or a folder's. */
struct place {
	char path[PLACES_PATH_SIZE];
};

/* Checks a machine's name: 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'. `what` is named in the message.
 * Errors: STATUS_USAGE. */
must_check result places_check_name(const char *what, const char *name);

/* A path that a user gave. Errors: STATUS_USAGE, it is too long for a socket's. `what` is named in the message. */
must_check result places_take_path(const char *what, const char *path, struct place *socket);

/* Where a new machine with this name listens; makes the folder. Errors: there is no folder for this user that is
 * only theirs to write. */
must_check result places_of_new(const char *name, struct place *socket);

/* The socket of a machine that runs: `vm` is its name or, with a '/' in it, its socket's path. Errors: STATUS_USAGE
 * not a name; STATUS_INPUT no such machine, with the names of those that run. */
must_check result places_of_running(const char *vm, struct place *socket);

/* The machines that run, as far as this user may see, as a new array of {"name", "path"}; NULL without memory. */
json_t *places_running(void);

/* Connects without waiting. Returns a close-on-exec, non-blocking descriptor, or -1 with errno set: ECONNREFUSED
 * where nobody listens any more, EAGAIN where somebody does who is busy. */
int places_connect(const struct place *socket);

/* The same path for bind(2) and connect(2). */
void places_address(const struct place *socket, struct sockaddr_un *address);

#endif
