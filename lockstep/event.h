/*
 * Events: what happens to a running machine, told to people (the log), to management and to the statistics.
 */
#ifndef TERCET_LOCKSTEP_EVENT_H
#define TERCET_LOCKSTEP_EVENT_H

#include <jansson.h>

#include "base/result.h"
#include "lockstep/supervisor_state.h"

enum event_kind {
	EVENT_REPLICA_FAULT,
	EVENT_REPLICA_REPAIRED,
	EVENT_REPLICA_LOST,
	EVENT_REPLICA_JOINED,
	EVENT_REPLICA_RETIRED,
	EVENT_LEADER_CHANGED,
	EVENT_ROLLBACK,
	EVENT_CORE_AVOIDED,
	EVENT_RECORDING_STOPPED,
	EVENT_NO_MAJORITY,
	EVENT_MACHINE_STOPPED,
	EVENT_MACHINE_ENDED,
	EVENT_STOP,
	EVENT_RESUME,
	EVENT_RESET,
	EVENT_POWERDOWN,
	EVENT_SHUTDOWN,
	EVENT_PANICKED,
	EVENTS
};

/* "LOCKSTEP_DIVERGENCE", ... (docs/events.md) */
const char *event_name(enum event_kind kind);

/* Tells of an event of `replica` (negative: of the machine), in a printf-like sentence without a full stop. */
void event_tell(struct supervisor *supervisor, enum event_kind kind, int replica, const char *format, ...)
	printf_like(4, 5);

/* Tells that a machine that was stopped is held: QEMU's GUEST_PANICKED, upon which libvirt does what the domain's
 * <on_crash> says. */
void event_tell_panic(struct supervisor *supervisor);

/* Tells that the machine stands still, goes on, was reset or is off, in a sentence. With a cause, data have "guest" and
 * "reason" besides, as QEMU's events of these names. */
void event_tell_life(struct supervisor *supervisor, enum event_kind kind, enum life_cause cause, const char *text);

#endif
