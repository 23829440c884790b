/* birth, life and death of the process */
#include "lockstep/replica.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "base/fd.h"
#include "base/futex.h"
#include "base/log.h"
#include "lockstep/attend.h"
#include "lockstep/ballot.h"
#include "lockstep/cycle.h"
#include "lockstep/device_link.h"
#include "lockstep/outbox.h"
#include "lockstep/reboot.h"
#include "lockstep/replica_config.h"
#include "lockstep/replica_state.h"
#include "lockstep/sandbox.h"
#include "lockstep/tombstone.h"
#include "vmm/boot.h"
#include "vmm/machine.h"

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
		TRY(ram_map(&replica->peer_rams[i], config->peer_ram_fds[i], config->memory, false));
	}
	/* What a replica before this one left in it may be anything. */
	TRY(fd_clear(config->ram_fd, "guest RAM", config->memory));
	return ram_map(&replica->ram, config->ram_fd, config->memory, true);
}

static void show_life(void *context)
{
	attend_beat(context);
}

static result build_machine(struct replica *replica)
{
	const struct replica_config *config = &replica->config;
	struct board_config board = {
		.ram_size = config->memory,
		.rtc_epoch = config->rtc_epoch,
		.out = device_link_board(replica),
		.pci = config->pci,
		.pci_count = config->pci_count,
	};
	struct cpu_state entry;

	board.out.request = cycle_request;
	TRY(board_create(&replica->board, &board));
	/* The files first: what is wrong with them is wrong on every host. */
	if (!config->joins)
		TRY(reboot_load(replica, &entry));
	TRY(machine_create(&replica->machine, &replica->ram, replica->board,
			   boot_needs_shim((enum boot_kind)config->kind)));
	if (!config->joins)
		TRY(machine_import(&replica->machine, &entry, false));
	outbox_init(&replica->outbox, replica->own.outbox, &replica->own.control->output_written);
	TRY(ballot_box_create(&replica->box, &replica->own, &replica->machine, &replica->outbox, config->digest_key,
			      config->replicas > 1 || config->digests != 0));
	TRY(preempt_create(replica));
	replica->box.pages.alive = show_life;
	replica->box.pages.alive_context = replica;
	return OK;
}

/* From here on it meets what its guest does, and needs nothing new. */
static result confine(struct replica *replica)
{
	const struct sandbox sandbox = {
		.role = SANDBOX_REPLICA,
		.outlets = { replica->config.doorbell_fd },
		.outlet_count = 1,
		.tried = &replica->own.control->forbidden_call,
	};

	if (!replica->config.sandbox)
		return OK;
	replica_config_release(&replica->config);
	return sandbox_enter(&sandbox);
}

static result replica_start(struct replica *replica, int config_fd)
{
	char role[32];

	TRY(replica_config_take(&replica->config, config_fd));
	fd_close(&config_fd);
	(void)snprintf(role, sizeof(role), "replica %u", replica->config.index);
	log_set_role(role);
	log_set_verbose(replica->config.verbose != 0);
	TRY(map_shared(replica));
	/* A machine's first replicas are born when it is; their program is loaded since then. */
	stopwatch_enter_at(&replica_statistics_of(replica)->time, STAGE_STARTUP,
			   replica->config.joins ? clock_monotonic_ns() : replica->config.born_ns);
	TRY(tombstone_erect(&replica->own.control->tombstone));
	for (uint32_t i = 0; i < replica->config.faults; i++)
		if (replica->config.fault[i].replica == replica->config.index && !replica->config.joins)
			replica->faults[replica->fault_count++] = replica->config.fault[i];
	TRY(build_machine(replica));
	return confine(replica);
}

static void replica_destroy(struct replica *replica)
{
	preempt_destroy(replica);
	ballot_box_destroy(&replica->box);
	machine_destroy(&replica->machine);
	board_destroy(replica->board);
	ram_unmap(&replica->ram);
	for (unsigned i = 0; i < VOTE_REPLICAS_MAX; i++) {
		area_unmap(&replica->peers[i]);
		if (replica->peer_rams[i].memory)
			ram_unmap(&replica->peer_rams[i]);
	}
	checkpoint_destroy(&replica->checkpoint);
	if (replica->supervisor)
		fd_unmap(replica->supervisor, sizeof(*replica->supervisor));
	if (replica->own.control)
		stopwatch_stop(&replica_statistics_of(replica)->time);
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
	attend_ring(replica);
}

/* What a kick takes out of its guest. */
static struct kvm_vcpu *volatile kicked;

static void on_kick(int signal_number)
{
	(void)signal_number;
	if (kicked && kicked->run)
		kvm_vcpu_kick(kicked);
}

int replica_main(int config_fd)
{
	const struct sigaction kick = { .sa_handler = on_kick };
	/* Large, and zero at the start. */
	struct replica *replica = calloc(1, sizeof(*replica));
	int status = STATUS_OK;

	/* Nobody outlives the supervisor; a terminal's ^C is for the supervisor alone. Its kick only ends KVM_RUN. */
	if (!replica || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || signal(SIGINT, SIG_IGN) == SIG_ERR ||
	    sigaction(SIGUSR1, &kick, NULL) < 0) {
		free(replica);
		return STATUS_FAILED;
	}
	kicked = &replica->machine.vcpu;
	replica->machine.vm.kvm_fd = replica->machine.vm.vm_fd = replica->machine.vcpu.fd = -1;
	result r = replica_start(replica, config_fd);

	if (!failed(r))
		r = cycle_run(replica);
	if (failed(r)) {
		status = (int)r.failure->status;
		report_failure(replica, r.failure);
	} else {
		if (replica->board)
			replica_statistics_of(replica)->unassigned = board_unassigned_accesses(replica->board);
		atomic_store(&replica->own.control->state, REPLICA_ENDED);
	}
	kicked = NULL;
	replica_destroy(replica);
	free(replica);
	return status;
}
