#include "lockstep/event.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"

static const char *const names[EVENTS] = {
	[EVENT_REPLICA_FAULT] = "TERCET_REPLICA_FAULT",
	[EVENT_REPLICA_REPAIRED] = "TERCET_REPLICA_REPAIRED",
	[EVENT_REPLICA_LOST] = "TERCET_REPLICA_LOST",
	[EVENT_REPLICA_JOINED] = "TERCET_REPLICA_JOINED",
	[EVENT_REPLICA_RETIRED] = "TERCET_REPLICA_RETIRED",
	[EVENT_LEADER_CHANGED] = "TERCET_LEADER_CHANGED",
	[EVENT_ROLLBACK] = "TERCET_ROLLBACK",
	[EVENT_CORE_AVOIDED] = "TERCET_CORE_AVOIDED",
	[EVENT_RECORDING_STOPPED] = "TERCET_RECORDING_STOPPED",
	[EVENT_MACHINE_STOPPED] = "TERCET_MACHINE_STOPPED",
	[EVENT_MACHINE_ENDED] = "TERCET_MACHINE_ENDED",
	[EVENT_STOP] = "STOP",
	[EVENT_RESUME] = "RESUME",
	[EVENT_RESET] = "RESET",
	[EVENT_POWERDOWN] = "POWERDOWN",
	[EVENT_SHUTDOWN] = "SHUTDOWN",
};


const char *event_name(enum event_kind kind)
{
	return kind < EVENTS ? names[kind] : "TERCET_UNKNOWN";
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

/* Takes over `data`. */
static void pass_on(struct supervisor *supervisor, enum event_kind kind, json_t *data)
{
	json_t *event = json_pack("{s:s, s:o}", "event", event_name(kind), "data", data);

	if (!event)
		return;
	tally_event(&supervisor->tally, event);
	if (supervisor->service)
		supervisor->service->event(supervisor->service->context, event);
	json_decref(event);
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
	if (kind != EVENT_MACHINE_ENDED && kind != EVENT_MACHINE_STOPPED) {
		if (is_good(kind))
			log_info("%s", text);
		else
			log_warning("%s", text);
	}
	data = data_of(supervisor, text);
	if (data && replica >= 0)
		(void)json_object_set_new(data, "replica", json_integer(replica));
	pass_on(supervisor, kind, data);
}

void event_tell_life(struct supervisor *supervisor, enum event_kind kind, enum life_cause cause, const char *text)
{
	json_t *data = data_of(supervisor, text);

	log_info("%s", text);
	if (data && cause != LIFE_NO_CAUSE) {
		(void)json_object_set_new(data, "guest", json_boolean(life_cause_is_guest(cause)));
		(void)json_object_set_new(data, "reason", json_string(life_cause_name(cause)));
	}
	pass_on(supervisor, kind, data);
}
