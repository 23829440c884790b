/*
 * What management and a running machine know of each other. Management brings a `struct service`, which the
 * supervisor serves in its event loop; through supervisor_status and supervisor_inject (supervisor.h) the service
 * looks and asks. All of it happens in the supervisor's one thread.
 */
#ifndef TERCET_LOCKSTEP_SERVICE_H
#define TERCET_LOCKSTEP_SERVICE_H

#include <jansson.h>

#include "base/result.h"

struct supervisor;

struct service {
	void *context;

	/* Before the first replica is started; gives a descriptor that is readable when `serve` has something to do
	 * (an epoll set of its own, say). `machine` is valid until `stop`. */
	must_check result (*start)(void *context, struct supervisor *machine, int *poll_fd);

	/* Does what is to be done, without waiting. What goes wrong with a client is the client's. */
	void (*serve)(void *context);

	/* Something happened: {"event": NAME, "data": {...}}; see docs/events.md. Borrowed. */
	void (*event)(void *context, const json_t *event);

	/* The machine has ended; the last events have been told. */
	void (*stop)(void *context);
};

#endif
