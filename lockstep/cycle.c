/* run -> position -> tape -> devices -> vote -> run */
#include "lockstep/cycle.h"

#include <sched.h>

#include "base/futex.h"
#include "base/log.h"
#include "lockstep/attend.h"
#include "lockstep/ballot.h"
#include "lockstep/device_link.h"
#include "lockstep/hunt.h"
#include "lockstep/inject.h"
#include "lockstep/outbox.h"
#include "lockstep/reboot.h"
#include "lockstep/rendezvous.h"
#include "lockstep/replica_state.h"
#include "lockstep/scrub.h"
#include "lockstep/source.h"
#include "vmm/machine.h"

/* --- what the devices ask for --- */

static void set_end(struct replica *replica, enum machine_end end, uint64_t value)
{
	if (replica->end != END_RUNNING)
		return;
	replica->end = end;
	replica->end_value = value;
}

void cycle_request(void *context, enum board_request request, uint32_t argument)
{
	struct replica *replica = context;

	switch (request) {
	case BOARD_REQUEST_POWER_OFF:
		set_end(replica, END_POWER_OFF, 0);
		break;
	case BOARD_REQUEST_RESET:
		set_end(replica, END_RESET, RESET_BY_GUEST);
		break;
	case BOARD_REQUEST_EXIT:
		set_end(replica, END_EXIT, argument);
		break;
	case BOARD_REQUEST_NONE:
		break;
	}
}

/* --- votes --- */

/* Behind the verdict there is room in the outbox again. One that stands elsewhere by now comes back to this. */
static result pass_vote(struct replica *replica)
{
	TRY(attend_verdict(replica));
	if (replica->rejoined || replica->leave)
		return OK;
	if (replica->end == END_RESET)
		return reboot_machine(replica);
	if (replica->end == END_RUNNING)
		board_resume(replica->board);
	return OK;
}

static result cast_vote(struct replica *replica, enum vote_cause cause)
{
	struct stopwatch *time = &replica_statistics_of(replica)->time;
	unsigned core = 0;
	struct vote_record facts = {
		.position = replica->machine.position,
		.cause = cause,
		.end = replica->end,
		.end_value = replica->end_value,
		.guest_ns = board_now(replica->board),
		.console_taken = replica->console_taken,
		.buttons_taken = replica->buttons_taken,
		.inbox_taken = replica->inbox_taken,
		.resets_taken = replica->resets_taken,
		.boots = replica->boots,
		.halted = replica->machine.halted,
		.output_host_ns = replica->output_host_ns,
		.tape_at = attend_tape_at(replica),
		.epoch = replica->epoch,
	};
	uint64_t backlog;

	(void)stopwatch_enter(time, STAGE_BALLOT);
	if (getcpu(&core, NULL) == 0)
		facts.core = core;
	machine_vote_point(&replica->machine);
	scrub_add(replica);
	TRY(ballot_box_cast(&replica->box, &facts));
	replica->output_host_ns = 0;
	replica->output_urgent = false;
	replica->parted = false;
	replica->end_voted = replica->end != END_RUNNING;
	attend_ring(replica);
	backlog = replica->box.votes - atomic_load(&replica->supervisor->verdicts);
	if (backlog > replica_statistics_of(replica)->backlog_max)
		replica_statistics_of(replica)->backlog_max = backlog;
	(void)stopwatch_enter(time, STAGE_TAPE);
	return pass_vote(replica);
}

/* Where state cannot be taken from the machine, there is no vote, in no replica: the leader asks again later. */
static result vote(struct replica *replica, enum vote_cause cause)
{
	bool settled = true;

	/* A machine that can never go on is left as it is. */
	if (replica->end == END_RUNNING || replica->end == END_POWER_OFF || replica->end == END_RESET) {
		if (!machine_can_vote(&replica->machine))
			return OK;
		TRY(machine_settle(&replica->machine, &settled));
	}
	if (settled)
		return cast_vote(replica, cause);
	replica->moved = true;
	return OK;
}

/* --- one position --- */

static struct source_view view_of(const struct replica *replica)
{
	const struct machine *machine = &replica->machine;

	return (struct source_view){
		.position = machine->position,
		.now = board_now(replica->board),
		.deadline = board_deadline(replica->board),
		.console_room = board_console_room(replica->board),
		.console_taken = replica->console_taken,
		.buttons_taken = replica->buttons_taken,
		.inbox_taken = replica->inbox_taken,
		.resets_taken = replica->resets_taken,
		.exits_unvoted = machine->position - replica->box.voted_position,
		.output_pending = outbox_pending(&replica->outbox),
		.output_urgent = replica->output_urgent,
		.must_wait = machine->halted && !machine_can_wake(machine),
		.parted = replica->parted,
		.ended = replica->end != END_RUNNING,
		.end_voted = replica->end_voted,
		.may_vote = machine_can_vote(machine),
	};
}

/* Commits one fault; gives whether it is done with. */
static result inject_one(struct replica *replica, const struct inject_fault *fault, bool *done)
{
	struct inject_context context = { .machine = &replica->machine, .area = &replica->own };
	struct replica_statistics *statistics = replica_statistics_of(replica);
	bool settled = true;
	result r;

	if (inject_needs_settled(fault))
		TRY(machine_settle(&replica->machine, &settled));
	*done = settled;
	if (!settled) {
		replica->moved = true;
		return OK;
	}
	/* Before: one that is killed or hangs does not come back. */
	statistics->injected++;
	statistics->injected_ns = clock_monotonic_ns();
	r = inject_commit(fault, &context);
	if (failed(r) && r.failure->status == STATUS_FAILED)
		return r;
	if (failed(r)) {
		/* What is not there cannot be hit; the machine has nothing to do with it. */
		statistics->injected--;
		log_warning("the fault at position %llu is not committed: %s",
			    (unsigned long long)replica->machine.position, r.failure->message);
		return OK;
	}
	log_info("injected a fault at position %llu", (unsigned long long)replica->machine.position);
	if (context.slow_factor > 0)
		replica->slow_factor = context.slow_factor;
	return OK;
}

static result inject_due(struct replica *replica)
{
	for (unsigned i = 0; i < replica->fault_count && !replica->moved;) {
		const struct inject_fault fault = replica->faults[i];
		bool done = false;

		if (fault.position <= replica->machine.position)
			TRY(inject_one(replica, &fault, &done));
		if (done)
			replica->faults[i] = replica->faults[--replica->fault_count];
		else
			i++;
	}
	return OK;
}

/* A source that fails is a tape that does not fit: the supervisor must judge that. */
static result ask(struct replica *replica, bool for_time, struct input *input)
{
	const struct source_view view = view_of(replica);
	const struct source_operations *operations = replica->source->operations;
	result r = for_time ? operations->time(replica->source, &view, input) :
			      operations->next(replica->source, &view, input);

	input->kind = failed(r) ? INPUT_ATTENTION : input->kind;
	if (failed(r))
		TRY(attend_complain(replica, COMPLAINT_TAPE, r.failure->message));
	else if (input->kind == INPUT_ATTENTION)
		TRY(attend(replica));
	if (input->kind == INPUT_LEAVE)
		replica->leave = true;
	return OK;
}

/* Takes inputs until the position is closed. */
static result take_inputs(struct replica *replica)
{
	while (!replica->moved && !replica->leave) {
		struct input input;

		if (replica->rejoined) {
			replica->rejoined = false;
			TRY(pass_vote(replica));
			continue;
		}
		if (replica->fault_count > 0)
			TRY(inject_due(replica));
		if (replica->moved)
			return OK;
		if (replica->leads)
			device_link_attend(replica);
		TRY(ask(replica, false, &input));
		switch (input.kind) {
		case INPUT_CLOSED:
			return OK;
		case INPUT_STOP:
			replica->stop = input.stop;
			return OK;
		case INPUT_TIME:
			board_advance(replica->board, input.value);
			break;
		case INPUT_CONSOLE:
			board_console_input(replica->board, input.data, input.length);
			replica->console_taken += input.length;
			break;
		case INPUT_BUTTON:
			board_power_button(replica->board);
			replica->buttons_taken++;
			break;
		case INPUT_DEVICE:
			device_link_input(replica, input.entry);
			break;
		case INPUT_RESET:
			replica->resets_taken++;
			replica->end = END_RESET;
			replica->end_value = RESET_BY_HOST;
			replica->end_voted = false;
			break;
		case INPUT_SKIP:
			replica->inbox_taken = input.value;
			break;
		case INPUT_VOTE:
			TRY(vote(replica, (enum vote_cause)input.value));
			break;
		case INPUT_LEAVE:
		case INPUT_ATTENTION:
			break;
		}
	}
	return OK;
}

/* To the next exit, or to where it is decided that the segment has one. */
static result run_to_exit(struct replica *replica)
{
	bool ended = false;

	while (!ended && !replica->leave && !replica->rejoined) {
		enum machine_stop stop;

		TRY(machine_run(&replica->machine, &stop));
		if (stop == MACHINE_EXITED)
			break;
		/* Kicked, somewhere inside the segment: by the supervisor, or by the alarm. */
		replica_statistics_of(replica)->signals++;
		TRY(attend(replica));
		if (replica->leads && !replica->leave && !replica->rejoined) {
			const struct source_view view = view_of(replica);

			TRY(preempt_kicked(replica, &view, &ended));
		}
	}
	return OK;
}

/*
 * Inside a segment, past a stop that was not found: if the complaint was heard, another leads, who does not stop there
 * either. It tells when and how the segment ends. `*stop` is where, or NULL if the guest may go on to an exit.
 */
static result await_end(struct replica *replica, const struct stop_point **stop)
{
	*stop = NULL;
	while (!replica->leave && !replica->rejoined && !replica->leads) {
		struct input input;

		TRY(ask(replica, false, &input));
		if (input.kind == INPUT_CLOSED)
			return OK;
		if (input.kind == INPUT_STOP) {
			*stop = input.stop;
			return OK;
		}
		if (input.kind != INPUT_ATTENTION && input.kind != INPUT_LEAVE)
			TRY(attend_complain(replica, COMPLAINT_TAPE,
					    "the tape has an input for the middle of a segment"));
	}
	return OK;
}

/* To where the leader was preempted, or to the next exit where that was passed. */
static result run_to_stop(struct replica *replica, const struct stop_point *stop)
{
	while (stop) {
		enum hunt_end end;

		TRY(hunt_run(replica, stop, &end));
		if (end == HUNT_FOUND || end == HUNT_LEFT)
			return OK;
		if (end == HUNT_EXITED)
			return attend_complain(replica, COMPLAINT_PASSED,
					       "the guest comes to an exit where its leader was stopped");
		TRY(attend_complain(replica, COMPLAINT_PASSED,
				    "the guest does not come to where its leader was stopped"));
		TRY(await_end(replica, &stop));
	}
	return run_to_exit(replica);
}

static result run_segment(struct replica *replica)
{
	struct stopwatch *time = &replica_statistics_of(replica)->time;
	const struct stop_point *stop = replica->stop;
	uint64_t begin;

	replica->stop = NULL;
	checked_word_store(&replica->own.control->closed, replica->machine.position);
	rendezvous_open(replica);
	TRY(machine_prepare(&replica->machine));
	begin = stopwatch_enter(time, STAGE_GUEST);
	if (replica->leads)
		preempt_enter(replica, begin);
	TRY(stop ? run_to_stop(replica, stop) : run_to_exit(replica));
	inject_dawdle(replica->slow_factor, begin);
	(void)stopwatch_enter(time, STAGE_EXIT);
	return OK;
}

/* A guest that can never run again has ended, too. */
static void judge(struct replica *replica, enum exit_outcome outcome)
{
	const struct machine *machine = &replica->machine;

	if (outcome == OUTCOME_CRASHED)
		set_end(replica, END_CRASHED, machine->exit.record.reason);
	else if (outcome == OUTCOME_HALTED && !machine_interrupts_enabled(machine))
		set_end(replica, END_DEAD_HALT, 0);
}

static result handle_exit(struct replica *replica)
{
	struct machine *machine = &replica->machine;
	enum exit_outcome outcome;

	checked_word_store(&replica->own.control->reached, machine->position);
	replica_statistics_of(replica)->exits[machine->exit.record.reason]++;
	ballot_box_log_exit(&replica->box);
	TRY(rendezvous_meet(replica));
	if (replica->leave || replica->rejoined)
		return OK;
	if (machine_exit_is_timed(machine)) {
		struct input input;

		do
			TRY(ask(replica, true, &input));
		while (input.kind == INPUT_ATTENTION && !replica->leave && !replica->rejoined);
		if (replica->leave || replica->rejoined)
			return OK;
		board_advance(replica->board, input.value);
	}
	TRY(machine_answer(machine, &outcome));
	judge(replica, outcome);
	return OK;
}

result cycle_run(struct replica *replica)
{
	if (replica->config.joins) {
		TRY(attend_join(replica));
	} else {
		attend_begin(replica);
		atomic_store(&replica->own.control->state, REPLICA_RUNNING);
	}
	while (!replica->leave) {
		(void)stopwatch_enter(&replica_statistics_of(replica)->time, STAGE_TAPE);
		replica->moved = false;
		attend_beat(replica);
		attend_rest(replica);
		TRY(take_inputs(replica));
		if (!replica->moved && !replica->leave)
			TRY(run_segment(replica));
		if (!replica->leave && !replica->rejoined)
			TRY(handle_exit(replica));
	}
	return OK;
}
