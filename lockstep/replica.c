/* run -> position -> tape -> devices -> vote -> run */
#include "lockstep/replica.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/futex.h"
#include "base/log.h"
#include "lockstep/ballot.h"
#include "lockstep/control.h"
#include "lockstep/inject.h"
#include "lockstep/outbox.h"
#include "lockstep/replica_config.h"
#include "lockstep/source.h"
#include "vmm/boot.h"
#include "vmm/machine.h"

/* A replica that waits for a verdict looks up at least so often. */
#define VERDICT_LOOK_NS (100 * NS_PER_MS)

struct replica {
	struct replica_config config;
	struct area own;
	struct area peers[VOTE_REPLICAS_MAX];
	struct supervisor_page *supervisor;
	struct ram ram;
	struct board *board;
	struct machine machine;
	struct outbox outbox;
	struct ballot_box box;
	union {
		struct source_live live;
		struct source_tape tape;
	} sources;
	struct source *source;
	bool leads;

	enum machine_end end;
	uint64_t end_value;
	bool end_voted;
	uint64_t console_taken;
	uint64_t buttons_taken;
	uint64_t output_host_ns; /* when the oldest output since the last vote was made */
	bool moved;              /* the next exit is at hand already */
	bool leave;
};

static struct replica_statistics *statistics(struct replica *replica)
{
	return &replica->own.control->statistics;
}

/* --- what the devices ask for --- */

static void on_output(void *context, enum output_channel channel, const void *data, size_t length)
{
	struct replica *replica = context;

	if (replica->leads && replica->output_host_ns == 0)
		replica->output_host_ns = clock_monotonic_ns();
	outbox_put(&replica->outbox, channel, replica->machine.position, data, length);
}

static void set_end(struct replica *replica, enum machine_end end, uint64_t value)
{
	if (replica->end != END_RUNNING)
		return;
	replica->end = end;
	replica->end_value = value;
}

static void on_request(void *context, enum board_request request, uint32_t argument)
{
	struct replica *replica = context;

	switch (request) {
	case BOARD_REQUEST_POWER_OFF:
		set_end(replica, END_POWER_OFF, 0);
		break;
	case BOARD_REQUEST_RESET:
		set_end(replica, END_RESET, 0);
		break;
	case BOARD_REQUEST_EXIT:
		set_end(replica, END_EXIT, argument);
		break;
	case BOARD_REQUEST_NONE:
		break;
	}
}

/* --- votes --- */

static void ring_doorbell(const struct replica *replica)
{
	const uint64_t one = 1;
	ssize_t written = write(replica->config.doorbell_fd, &one, sizeof(one));

	(void)written; /* full means that the supervisor has been rung already */
}

/* Whether this replica may go on after its vote: a follower after the verdict, the leader within its backlog. */
static bool may_go_on(struct replica *replica)
{
	uint64_t verdicts = atomic_load_explicit(&replica->supervisor->verdicts, memory_order_acquire);
	uint64_t released = atomic_load_explicit(&replica->supervisor->output_released, memory_order_acquire);
	uint64_t votes = replica->box.votes;
	uint64_t backlog = votes - verdicts;
	uint64_t exits_unsettled;

	if (backlog == 0)
		return replica->outbox.voted - released <= CONTROL_OUTBOX_SIZE / 2;
	if (!replica->leads || replica->end != END_RUNNING || backlog >= CONTROL_VOTE_BACKLOG)
		return false;
	/* The logs of every vote without a verdict must stay readable. */
	exits_unsettled = replica->machine.position -
			  replica->own.control->records[verdicts % CONTROL_VOTE_SLOTS].position;
	return exits_unsettled <= CONTROL_EXIT_LOG / 4 &&
	       replica->outbox.voted - released <= CONTROL_OUTBOX_SIZE / 2;
}

static void wait_for_verdict(struct replica *replica)
{
	uint64_t begin;

	if (may_go_on(replica))
		return;
	begin = clock_monotonic_ns();
	for (;;) {
		uint32_t sequence = atomic_load(&replica->supervisor->sequence);

		if (may_go_on(replica))
			break;
		if (atomic_load(&replica->supervisor->command) == COMMAND_END) {
			replica->leave = true;
			break;
		}
		futex_wait(&replica->supervisor->sequence, sequence, VERDICT_LOOK_NS);
	}
	statistics(replica)->wait_ns += clock_monotonic_ns() - begin;
}

static result cast_vote(struct replica *replica, enum vote_cause cause)
{
	const uint64_t begin = clock_monotonic_ns();
	const struct vote_record facts = {
		.position = replica->machine.position,
		.cause = cause,
		.end = replica->end,
		.end_value = replica->end_value,
		.guest_ns = board_now(replica->board),
		.console_taken = replica->console_taken,
		.buttons_taken = replica->buttons_taken,
		.output_host_ns = replica->output_host_ns,
	};
	uint64_t backlog;

	TRY(ballot_box_cast(&replica->box, &facts));
	replica->output_host_ns = 0;
	replica->end_voted = replica->end != END_RUNNING;
	ring_doorbell(replica);
	backlog = replica->box.votes - atomic_load(&replica->supervisor->verdicts);
	if (backlog > statistics(replica)->backlog_max)
		statistics(replica)->backlog_max = backlog;
	statistics(replica)->vote_ns += clock_monotonic_ns() - begin;
	wait_for_verdict(replica);
	return OK;
}

static result vote(struct replica *replica, enum vote_cause cause)
{
	bool settled = true;

	/* At its end the machine's last instruction stays as it is. */
	if (replica->end == END_RUNNING)
		TRY(machine_settle(&replica->machine, &settled));
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
		.exits_unvoted = machine->position - replica->box.voted_position,
		.output_pending = outbox_pending(&replica->outbox),
		.must_wait = machine->halted && !machine_can_wake(machine),
		.ended = replica->end != END_RUNNING,
		.end_voted = replica->end_voted,
	};
}

static result inject_due(struct replica *replica)
{
	struct replica_config *config = &replica->config;

	for (uint32_t i = 0; i < config->faults; i++) {
		struct inject_fault *fault = &config->fault[i];
		bool settled;

		if (fault->replica != config->index || fault->position > replica->machine.position)
			continue;
		TRY(machine_settle(&replica->machine, &settled));
		if (!settled) {
			replica->moved = true;
			return OK;
		}
		TRY(inject_commit(fault, &replica->machine));
		log_info("injected a fault at position %llu", (unsigned long long)replica->machine.position);
		fault->replica = VOTE_REPLICAS_MAX; /* once */
	}
	return OK;
}

/* Takes inputs until the position is closed. */
static result take_inputs(struct replica *replica)
{
	if (replica->config.faults > 0)
		TRY(inject_due(replica));
	while (!replica->moved && !replica->leave) {
		const struct source_view view = view_of(replica);
		struct input input;

		TRY(replica->source->operations->next(replica->source, &view, &input));
		switch (input.kind) {
		case INPUT_CLOSED:
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
		case INPUT_VOTE:
			TRY(vote(replica, (enum vote_cause)input.value));
			break;
		case INPUT_LEAVE:
			replica->leave = true;
			break;
		}
	}
	return OK;
}

static result run_segment(struct replica *replica)
{
	enum machine_stop stop;
	uint64_t begin = clock_monotonic_ns();

	TRY(machine_prepare(&replica->machine));
	for (;;) {
		TRY(machine_run(&replica->machine, &stop));
		if (stop == MACHINE_EXITED)
			break;
		statistics(replica)->signals++;
		if (atomic_load(&replica->supervisor->command) == COMMAND_END) {
			replica->leave = true;
			break;
		}
	}
	statistics(replica)->guest_ns += clock_monotonic_ns() - begin;
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

	atomic_store_explicit(&replica->own.control->reached, machine->position, memory_order_release);
	statistics(replica)->exits[machine->exit.record.reason]++;
	ballot_box_log_exit(&replica->box);
	if (machine_exit_is_timed(machine)) {
		const struct source_view view = view_of(replica);
		uint64_t now;

		TRY(replica->source->operations->time(replica->source, &view, &now));
		board_advance(replica->board, now);
	}
	TRY(machine_answer(machine, &outcome));
	judge(replica, outcome);
	return OK;
}

static result replica_live(struct replica *replica)
{
	atomic_store(&replica->own.control->state, REPLICA_RUNNING);
	while (!replica->leave) {
		replica->moved = false;
		TRY(take_inputs(replica));
		if (replica->leave)
			break;
		if (!replica->moved)
			TRY(run_segment(replica));
		if (!replica->leave)
			TRY(handle_exit(replica));
	}
	return OK;
}

/* --- birth and death --- */

static result map_shared(struct replica *replica)
{
	const struct replica_config *config = &replica->config;
	uint64_t pages = config->memory / RAM_PAGE_SIZE;

	TRY(area_map(&replica->own, config->own_area_fd, pages, true));
	TRY(area_check(&replica->own, config->index));
	TRY(supervisor_page_map(&replica->supervisor, config->supervisor_fd, false));
	TRY(supervisor_page_check(replica->supervisor));
	for (unsigned i = 0; i < config->replicas; i++) {
		if (i == config->index)
			continue;
		TRY(area_map(&replica->peers[i], config->peer_area_fds[i], pages, false));
		TRY(area_check(&replica->peers[i], i));
	}
	return ram_map(&replica->ram, config->ram_fd, config->memory, true);
}

static result build_machine(struct replica *replica)
{
	const struct replica_config *config = &replica->config;
	const struct board_config board = {
		.ram_size = config->memory,
		.rtc_epoch = config->rtc_epoch,
		.out = { .context = replica, .output = on_output, .request = on_request },
	};
	const struct boot_source boot = {
		.kind = (enum boot_kind)config->kind,
		.kernel_fd = config->kernel_fd,
		.kernel_name = config->kernel_name,
		.initrd_fd = config->initrd_fd,
		.initrd_name = config->initrd_name,
		.command_line = config->command_line,
	};
	struct boot_source source = boot;
	struct cpu_state entry;

	memcpy(source.seed, config->seed, sizeof(source.seed));
	TRY(board_create(&replica->board, &board));
	/* The files first: what is wrong with them is wrong on every host. */
	TRY(boot_load(&replica->ram, &source, &entry));
	TRY(machine_create(&replica->machine, &replica->ram, replica->board, boot_needs_shim(source.kind)));
	TRY(machine_import(&replica->machine, &entry, false));
	outbox_init(&replica->outbox, replica->own.outbox, &replica->own.control->output_written);
	return ballot_box_create(&replica->box, &replica->own, &replica->machine, &replica->outbox,
				 config->digest_key, config->replicas > 1);
}

static void choose_source(struct replica *replica)
{
	const struct source_links links = {
		.index = replica->config.index,
		.replicas = replica->config.replicas,
		.own = &replica->own,
		.peers = replica->peers,
		.supervisor = replica->supervisor,
		.host_zero = replica->config.host_zero,
	};

	replica->leads = atomic_load(&replica->supervisor->leader) == replica->config.index;
	if (replica->leads) {
		source_live_init(&replica->sources.live, &links, replica->config.vote_interval);
		replica->source = &replica->sources.live.source;
	} else {
		source_tape_init(&replica->sources.tape, &links);
		replica->source = &replica->sources.tape.source;
	}
}

static result replica_start(struct replica *replica, int config_fd)
{
	char role[32];

	TRY(replica_config_take(&replica->config, config_fd));
	(void)snprintf(role, sizeof(role), "replica %u", replica->config.index);
	log_set_role(role);
	log_set_verbose(replica->config.verbose != 0);
	TRY(map_shared(replica));
	TRY(build_machine(replica));
	choose_source(replica);
	return OK;
}

static void replica_destroy(struct replica *replica)
{
	ballot_box_destroy(&replica->box);
	machine_destroy(&replica->machine);
	board_destroy(replica->board);
	ram_unmap(&replica->ram);
	for (unsigned i = 0; i < VOTE_REPLICAS_MAX; i++)
		area_unmap(&replica->peers[i]);
	if (replica->supervisor)
		fd_unmap(replica->supervisor, sizeof(*replica->supervisor));
	area_unmap(&replica->own);
}

/* Tells the supervisor why this replica cannot go on. */
static void report_failure(struct replica *replica, const struct failure *failure)
{
	struct control *control = replica->own.control;

	if (!control) {
		log_error("%s", failure->message);
		return;
	}
	(void)snprintf(control->failure, sizeof(control->failure), "%s", failure->message);
	control->failure_status = failure->status;
	atomic_store(&control->state, REPLICA_FAILED);
	ring_doorbell(replica);
}

int replica_main(int config_fd)
{
	/* Large, and zero at the start. */
	struct replica *replica = calloc(1, sizeof(*replica));
	int status = STATUS_OK;

	/* Nobody outlives the supervisor; a terminal's ^C is for the supervisor alone. */
	if (!replica || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || signal(SIGINT, SIG_IGN) == SIG_ERR) {
		free(replica);
		return STATUS_FAILED;
	}
	replica->machine.vm.kvm_fd = replica->machine.vm.vm_fd = replica->machine.vcpu.fd = -1;
	result r = replica_start(replica, config_fd);

	if (!failed(r))
		r = replica_live(replica);
	if (failed(r)) {
		status = (int)r.failure->status;
		report_failure(replica, r.failure);
	} else {
		if (replica->board)
			statistics(replica)->unassigned = board_unassigned_accesses(replica->board);
		atomic_store(&replica->own.control->state, REPLICA_ENDED);
	}
	replica_destroy(replica);
	free(replica);
	return status;
}
