/* pause, resume, reset, end */
#include "lockstep/steer.h"

#include "base/futex.h"
#include "lockstep/event.h"
#include "lockstep/guest_time.h"
#include "lockstep/roster.h"
#include "lockstep/supervisor.h"
#include "lockstep/verdict.h"

void steer_begin(struct supervisor *supervisor)
{
	const struct machine_options *options = supervisor->options;

	supervisor->life = (struct life){ .hold = options->hold, .no_reboot = options->no_reboot };
	guest_time_dilate(supervisor->page, options->time_dilation);
	guest_time_begin(supervisor->page, supervisor->begin_ns);
	if (!options->paused)
		return;
	supervisor->life.state = LIFE_PRELAUNCH;
	guest_time_freeze(supervisor->page);
}

/* --- the guest's end --- */

static void tell_reset(struct supervisor *supervisor, enum life_cause cause)
{
	supervisor->tally.resets++;
	supervisor->boot_vote = supervisor->verdicts;
	event_tell_life(supervisor, EVENT_RESET, cause,
			cause == LIFE_GUEST_RESET ? "the guest has reset its machine, which begins again" :
						    "the machine is reset, and begins again");
}

void steer_at_end(struct supervisor *supervisor, const struct vote_record *record)
{
	const bool asked = record->end == END_RESET && record->end_value == RESET_BY_HOST;

	switch (life_end(&supervisor->life, (enum machine_end)record->end, asked)) {
	case LIFE_GOES_ON:
		return;
	case LIFE_RESETS:
		supervisor->shutdown = LIFE_NO_CAUSE;
		tell_reset(supervisor, asked ? LIFE_HOST_RESET : LIFE_GUEST_RESET);
		return;
	case LIFE_HOLDS:
		/* Behind this vote replicas would begin again. */
		supervisor->withheld = record->end == END_RESET;
		guest_time_freeze(supervisor->page);
		break;
	case LIFE_IS_OVER:
		/* Everybody stays at this vote, so that memory can be compared. */
		supervisor->withheld = true;
		supervisor->over = true;
		break;
	}
	supervisor->end = (enum machine_end)record->end;
	supervisor->end_value = record->end_value;
	if (record->end == END_POWER_OFF)
		supervisor->shutdown = LIFE_GUEST_SHUTDOWN;
	else if (record->end == END_RESET)
		supervisor->shutdown = LIFE_GUEST_RESET;
}

void steer_tell_shutdown(struct supervisor *supervisor)
{
	enum life_cause cause = supervisor->asked_to_end ? supervisor->asked_to_end : supervisor->shutdown;

	supervisor->shutdown = LIFE_NO_CAUSE;
	if (cause != LIFE_NO_CAUSE)
		event_tell_life(supervisor, EVENT_SHUTDOWN, cause,
				cause == LIFE_GUEST_SHUTDOWN ? "the guest has powered off" :
				cause == LIFE_GUEST_RESET    ? "the guest has reset its machine, which ends it" :
							       "the machine is switched off");
}

result steer_quit(struct supervisor *supervisor, const char *how)
{
	if (supervisor->over)
		return fail(STATUS_FAILED, "%s before all output was taken", how);
	if (!supervisor->life.off)
		return fail(STATUS_FAILED, "%s before the guest powered off", how);
	supervisor->over = true;
	return OK;
}

result steer_continue(struct supervisor *supervisor, bool delivers)
{
	if (supervisor->asked_to_end == LIFE_HOST_QUIT && !supervisor->over)
		return steer_quit(supervisor, "ended by its monitor");
	if (supervisor->over || supervisor->shutdown == LIFE_NO_CAUSE || delivers)
		return OK;
	steer_tell_shutdown(supervisor);
	event_tell_life(supervisor, EVENT_STOP, LIFE_NO_CAUSE, "the machine stands still until it is reset, or ended");
	return OK;
}

/* --- what management asks for --- */

static result check_open(const struct supervisor *supervisor)
{
	if (supervisor->life.state == LIFE_PANICKED)
		return fail(STATUS_FAILED, "the machine was stopped: it can only be ended");
	if (supervisor->over || supervisor->asked_to_end)
		return fail(STATUS_FAILED, "the machine is ending");
	return OK;
}

static result pause_machine(struct supervisor *supervisor)
{
	bool changed;

	TRY(check_open(supervisor));
	TRY(life_pause(&supervisor->life, &changed));
	if (!changed)
		return OK;
	guest_time_freeze(supervisor->page);
	/* Out of its guest, if that is possible there. */
	roster_call(supervisor, supervisor->leader);
	event_tell_life(supervisor, EVENT_STOP, LIFE_NO_CAUSE, "the machine stands still");
	return OK;
}

static result resume_machine(struct supervisor *supervisor)
{
	bool changed;

	TRY(check_open(supervisor));
	TRY(life_resume(&supervisor->life, &changed));
	if (!changed)
		return OK;
	guest_time_thaw(supervisor->page);
	futex_signal(&supervisor->page->sequence);
	event_tell_life(supervisor, EVENT_RESUME, LIFE_NO_CAUSE, "the machine goes on");
	return OK;
}

static result reset_machine(struct supervisor *supervisor)
{
	TRY(check_open(supervisor));
	life_reset(&supervisor->life);
	if (supervisor->withheld) {
		/* All replicas stand where they begin again. */
		supervisor->life.off = false;
		supervisor->withheld = false;
		supervisor->shutdown = LIFE_NO_CAUSE;
		tell_reset(supervisor, LIFE_HOST_RESET);
		verdict_tell(supervisor);
		return OK;
	}
	atomic_fetch_add(&supervisor->page->resets, 1);
	roster_call(supervisor, supervisor->leader);
	return OK;
}

static result press_power_button(struct supervisor *supervisor)
{
	TRY(check_open(supervisor));
	if (supervisor->life.state == LIFE_SHUTDOWN)
		return fail(STATUS_FAILED, "the guest has powered off already");
	atomic_fetch_add(&supervisor->page->buttons, 1);
	futex_signal(&supervisor->page->sequence);
	event_tell_life(supervisor, EVENT_POWERDOWN, LIFE_NO_CAUSE, "the power button is pressed");
	return OK;
}

static result end_machine(struct supervisor *supervisor)
{
	if (supervisor->life.state != LIFE_PANICKED)
		TRY(check_open(supervisor));
	supervisor->asked_to_end = LIFE_HOST_QUIT;
	return OK;
}

static enum life_state state_of(const struct supervisor *supervisor)
{
	return supervisor->life.state;
}

const struct machine_control supervisor_control = {
	.pause = pause_machine,
	.resume = resume_machine,
	.reset = reset_machine,
	.power_button = press_power_button,
	.end = end_machine,
	.state = state_of,
};
