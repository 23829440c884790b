/*
 * What management makes of a running machine, as a table: `supervisor_control` (supervisor.h), or a test's. All of it
 * is asked from within the supervisor's event loop (service.h), takes effect as soon as it can, and waits for nothing.
 * Events that tell of it (docs/events.md) come before the function returns, but for RESET, SHUTDOWN and the STOP behind
 * it: these come when it has happened.
 */
#ifndef TERCET_LOCKSTEP_MACHINE_CONTROL_H
#define TERCET_LOCKSTEP_MACHINE_CONTROL_H

#include "base/result.h"
#include "lockstep/life.h"

struct supervisor;

struct machine_control {
	/* The machine stands still: its clock from now on, its guest from its next position on. Event STOP, unless
	 * it stands still already. Errors: STATUS_FAILED, the guest has powered off. */
	result (*pause)(struct supervisor *machine);

	/* It goes on. Event RESUME, unless it runs already. Errors: STATUS_FAILED, the guest has powered off and
	 * needs a reset. */
	result (*resume)(struct supervisor *machine);

	/* It is switched off and on, and begins again at its next position; one that stands still stays there. Event
	 * RESET, when that has happened. Errors: STATUS_FAILED, it is ending. */
	result (*reset)(struct supervisor *machine);

	/* The power button is pressed; what the guest makes of it is its own business. Event POWERDOWN. Errors:
	 * STATUS_FAILED, the guest has powered off. */
	result (*power_button)(struct supervisor *machine);

	/* The machine ends, whatever its guest does, as soon as the caller has returned to the supervisor. Event
	 * SHUTDOWN with the reason host-qmp-quit. */
	result (*end)(struct supervisor *machine);

	enum life_state (*state)(const struct supervisor *machine);
};

#endif
