#include "lockstep/reboot.h"

#include <string.h>

#include "base/log.h"
#include "lockstep/attend.h"
#include "lockstep/life.h"

result reboot_load(struct replica *replica, struct cpu_state *entry)
{
	const struct replica_config *config = &replica->config;
	struct boot_source source = {
		.kind = (enum boot_kind)config->kind,
		.kernel_fd = config->kernel_fd,
		.kernel_name = config->kernel_name,
		.initrd_fd = config->initrd_fd,
		.initrd_name = config->initrd_name,
		.command_line = config->command_line,
	};

	memset(entry, 0, sizeof(*entry));
	TRY(life_seed(config->seed, replica->boots, source.seed));
	return boot_load(&replica->ram, &source, entry);
}

/* The vote was complete, so there is no instruction at hand that KVM would finish in the memory of the next boot. */
static result begin_again(struct replica *replica)
{
	struct cpu_state entry;

	TRY(ram_clear(&replica->ram));
	attend_beat(replica);
	TRY(reboot_load(replica, &entry));
	attend_beat(replica);
	TRY(machine_import(&replica->machine, &entry, false));
	TRY(machine_forget_memory(&replica->machine));
	board_reset(replica->board);
	preempt_boot(&replica->preempt);
	machine_place(&replica->machine, replica->machine.position);
	return OK;
}

result reboot_machine(struct replica *replica)
{
	struct control *own = replica->own.control;

	replica->boots++;
	log_debug("begins again at position %llu, for the %lluth time", (unsigned long long)replica->machine.position,
		  (unsigned long long)replica->boots);
	/* Files are read as long as the host takes. */
	atomic_store(&own->state, REPLICA_STARTING);
	TRY(begin_again(replica));
	atomic_store(&own->state, REPLICA_RUNNING);
	replica->end = END_RUNNING;
	replica->end_value = 0;
	replica->end_voted = false;
	replica->output_urgent = false;
	return OK;
}
