/*
 * The socket on which a monitor listens: claimed, so that one machine alone has it; what a killed machine left behind
 * is replaced.
 */
#ifndef TERCET_MANAGE_MONITOR_SOCKET_H
#define TERCET_MANAGE_MONITOR_SOCKET_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/result.h"
#include "manage/places.h"

struct monitor_socket {
	struct place place;
	int fd; /* listening, close-on-exec, non-blocking; -1: none */
	dev_t device;
	ino_t inode;
};

/* Listens at this place, for this user alone (mode 0600). `*taken` tells whether it failed because somebody listens
 * there. Errors: STATUS_INPUT; whatever stands there and is no socket is left alone. */
must_check result monitor_socket_claim(struct monitor_socket *socket, const struct place *place, bool *taken);

/* Stops listening and removes the socket, if it is still this one. Does nothing to one that is released. */
void monitor_socket_release(struct monitor_socket *socket);

#endif
