#include "lockstep/event.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"

static const char *const names[EVENTS] = {
	[EVENT_REPLICA_FAULT] = "LOCKSTEP_DIVERGENCE",
	[EVENT_REPLICA_REPAIRED] = "LOCKSTEP_REPAIRED",
	[EVENT_REPLICA_LOST] = "LOCKSTEP_DEGRADED",
	[EVENT_REPLICA_JOINED] = "LOCKSTEP_RESTORED",
	[EVENT_REPLICA_RETIRED] = "LOCKSTEP_RETIRED",
	[EVENT_LEADER_CHANGED] = "LOCKSTEP_FAILOVER",
	[EVENT_ROLLBACK] = "LOCKSTEP_ROLLBACK",
	[EVENT_CORE_AVOIDED] = "LOCKSTEP_CORE_SUSPECT",
	[EVENT_RECORDING_STOPPED] = "LOCKSTEP_RECORDING_STOPPED",
	[EVENT_NO_MAJORITY] = "LOCKSTEP_NO_MAJORITY",
	[EVENT_MACHINE_STOPPED] = "LOCKSTEP_STOPPED",
	[EVENT_MACHINE_ENDED] = "LOCKSTEP_ENDED",
	[EVENT_STOP] = "STOP",
	[EVENT_RESUME] = "RESUME",
	[EVENT_RESET] = "RESET",
	[EVENT_POWERDOWN] = "POWERDOWN",
	[EVENT_SHUTDOWN] = "SHUTDOWN",
	[EVENT_PANICKED] = "GUEST_PANICKED",
};

const char *event_name(enum event_kind kind)
{
	return kind < EVENTS ? names[kind] : "LOCKSTEP_UNKNOWN";
}

/* Good news are told, bad news are warned of. */
static bool is_good(enum event_kind kind)
{
	return kind == EVENT_REPLICA_REPAIRED || kind == EVENT_REPLICA_JOINED || kind == EVENT_MACHINE_ENDED;
}

/* What all events say; new, or NULL without memory. */
static json_t *data_of(const struct supervisor *supervisor, const char *text)
{
	return json_pack("{s:I, s:I, s:s}", "position", (json_int_t)supervisor->agreed_position, "ns",
			 (json_int_t)(clock_monotonic_ns() - supervisor->begin_ns), "text", text);
}

/* Takes over `data`. What differed (or NULL) is told, and kept among the differences alone. */
static void pass_on(struct supervisor *supervisor, enum event_kind kind, json_t *data, json_t *difference)
{
	json_t *event = json_pack("{s:s, s:o}", "event", event_name(kind), "data", data);
	json_t *told;

	if (!event)
		return;
	tally_event(&supervisor->tally, event);
	if (supervisor->service) {
		told = difference ? json_pack("{s:s, s:o}", "event", event_name(kind), "data", json_copy(data)) :
				    json_incref(event);
		if (told && difference)
			(void)json_object_set(json_object_get(told, "data"), "difference", difference);
		if (told)
			supervisor->service->event(supervisor->service->context, told);
		json_decref(told);
	}
	json_decref(event);
}

/* What was found last, if it is about this replica (negative: any): borrowed, or NULL. */
static json_t *difference_of(const struct supervisor *supervisor, int replica)
{
	const json_t *all = supervisor->tally.differences;
	json_t *last = json_array_get(all, json_array_size(all) - 1);

	if (replica >= 0 && json_integer_value(json_object_get(last, "replica")) != replica)
		return NULL;
	return last;
}

void event_tell_panic(struct supervisor *supervisor)
{
	json_t *data = data_of(supervisor, "the machine is held until it is ended");

	if (data)
		(void)json_object_set_new(data, "action", json_string("pause"));
	pass_on(supervisor, EVENT_PANICKED, data, NULL);
}

void event_tell(struct supervisor *supervisor, enum event_kind kind, int replica, const char *format, ...)
{
	char text[512];
	json_t *data;
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	/* What a replica says can be anything. */
	log_make_plain(text);
	if (kind != EVENT_MACHINE_ENDED && kind != EVENT_MACHINE_STOPPED && kind != EVENT_NO_MAJORITY) {
		if (is_good(kind))
			log_info("%s", text);
		else
			log_warning("%s", text);
	}
	data = data_of(supervisor, text);
	if (data && replica >= 0)
		(void)json_object_set_new(data, "replica", json_integer(replica));
	const bool differs = kind == EVENT_REPLICA_FAULT || kind == EVENT_NO_MAJORITY;

	pass_on(supervisor, kind, data, differs ? difference_of(supervisor, replica) : NULL);
}

void event_tell_life(struct supervisor *supervisor, enum event_kind kind, enum life_cause cause, const char *text)
{
	json_t *data = data_of(supervisor, text);

	log_info("%s", text);
	if (data && cause != LIFE_NO_CAUSE) {
		(void)json_object_set_new(data, "guest", json_boolean(life_cause_is_guest(cause)));
		(void)json_object_set_new(data, "reason", json_string(life_cause_name(cause)));
	}
	pass_on(supervisor, kind, data, NULL);
}
