/* how a machine ended, and what is told and left of it */
#include "lockstep/ending.h"

#include <inttypes.h>
#include <limits.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "lockstep/event.h"
#include "lockstep/fail_stop.h"
#include "lockstep/linger.h"
#include "lockstep/ram_check.h"
#include "lockstep/steer.h"

result ending_check_memory(struct supervisor *supervisor)
{
	int fds[VOTE_REPLICAS_MAX];
	unsigned count = 0;

	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (supervisor->members[i].live)
			fds[count++] = supervisor->members[i].ram_fd;
	if (!supervisor->options->check_ram || count < 2)
		return OK;
	TRY(ram_check_compare(fds, count, supervisor->options->memory, &supervisor->tally.ram_pages,
			      &supervisor->tally.ram_differing));
	if (supervisor->tally.ram_differing > 0)
		return fail(STATUS_NO_MAJORITY,
			    "%" PRIu64 " pages of memory differ between replicas whose votes agreed: this is a bug in "
			    "tercet",
			    supervisor->tally.ram_differing);
	return OK;
}

result ending_judge(struct supervisor *supervisor)
{
	switch (supervisor->end) {
	case END_POWER_OFF:
		supervisor->tally.end = "power_off";
		return OK;
	case END_RESET:
		supervisor->tally.end = "reset";
		log_info("the guest asked for a reset, which ends tercet");
		return OK;
	case END_EXIT:
		supervisor->tally.end = "exit";
		if (supervisor->end_value == 0)
			return OK;
		return fail(STATUS_GUEST, "the guest ended itself with status %" PRIu64, supervisor->end_value);
	case END_CRASHED:
		supervisor->tally.end = "crashed";
		return fail(STATUS_GUEST, "the guest crashed at position %" PRIu64 " (%s), in every replica alike",
			    supervisor->agreed_position,
			    exit_reason_name((enum exit_reason)supervisor->end_value));
	case END_DEAD_HALT:
		supervisor->tally.end = "halted";
		return fail(STATUS_GUEST, "the guest halted with interrupts off: nothing can wake it");
	case END_RUNNING:
		break;
	}
	return fail(STATUS_FAILED, "the machine stopped while it ran");
}

/* What is left of everybody. */
static void take_sides(const struct supervisor *supervisor, struct report_side *sides)
{
	for (unsigned i = 0; i < supervisor->replicas; i++) {
		const struct vote_record *record = &supervisor->records[i];
		/* One that was copied for the vote at hand; an older one says nothing. */
		bool voted = record->number == supervisor->verdicts && record->crc != 0;

		sides[i] = (struct report_side){
			.replica = i,
			.area = &supervisor->members[i].area,
			.ram = &supervisor->members[i].ram,
			.record = voted ? record : NULL,
		};
	}
}

/* For those who want to know why the machine was stopped. */
static void write_report(struct supervisor *supervisor, const struct failure *failure)
{
	const struct machine_options *options = supervisor->options;
	struct report_side sides[VOTE_REPLICAS_MAX];
	char path[PATH_MAX];
	char folder[PATH_MAX];
	struct fail_stop_facts facts = {
		.folder = options->reports,
		.name = options->name,
		.why = failure->message,
		.time = (int64_t)time(NULL),
		.argc = options->argc,
		.argv = options->argv,
		.working_folder = getcwd(folder, sizeof(folder)),
		.agreed_votes = supervisor->verdicts,
		.agreed_position = supervisor->agreed_position,
		.differences = supervisor->tally.differences,
		.events = supervisor->tally.events,
		.side_count = supervisor->replicas,
	};

	take_sides(supervisor, sides);
	facts.sides = sides;

	result r = fail_stop_write(&facts, path, sizeof(path));

	if (failed(r))
		log_error("%s", r.failure->message);
	else
		log_info("a report of what was found is in %s", path);
}

/* Whether the machine was stopped because something is wrong with it, rather than by its user or its host. */
static bool is_fail_stop(const struct supervisor *supervisor, const struct failure *failure)
{
	return supervisor->options->reports && supervisor->begin_ns != 0 && supervisor->replicas > 1 &&
	       !supervisor->asked_to_end && supervisor->members[0].area.control &&
	       (failure->status == STATUS_NO_MAJORITY || (failure->status == STATUS_FAILED && !supervisor->over));
}

void ending_report(struct supervisor *supervisor, const struct failure *failure)
{
	if (is_fail_stop(supervisor, failure))
		write_report(supervisor, failure);
}

/* The last event: whoever listens is not told anything behind it. */
static void tell_end(struct supervisor *supervisor, const struct failure *failure)
{
	if (failure->status == STATUS_OK || supervisor->over)
		event_tell(supervisor, EVENT_MACHINE_ENDED, -1, "the machine has ended (%s)", supervisor->tally.end);
	else
		event_tell(supervisor, EVENT_MACHINE_STOPPED, -1, "the machine is stopped: %s", failure->message);
	if (supervisor->service)
		supervisor->service->stop(supervisor->service->context);
	supervisor->service = NULL;
}

void ending_tell(struct supervisor *supervisor, const struct failure *failure)
{
	if (supervisor->begin_ns == 0)
		return;
	steer_tell_shutdown(supervisor);
	if (failure->status == STATUS_NO_MAJORITY)
		event_tell(supervisor, EVENT_NO_MAJORITY, -1, "%s", failure->message);
	if (linger_wanted(supervisor, failure))
		return;
	tell_end(supervisor, failure);
}

void ending_linger(struct supervisor *supervisor, const struct failure *failure)
{
	if (!linger_wanted(supervisor, failure))
		return;
	linger(supervisor);
	tell_end(supervisor, failure);
}
