#include "vmm/machine.h"

#include <string.h>

#include "base/log.h"
#include "vmm/breakpoint.h"
#include "vmm/interrupt_shadow.h"
#include "vmm/page_walk.h"

#define EFER_SVME (1ull << 12)
#define MSR_EFER 0xC0000080u
#define MSR_SYSENTER_ESP 0x175u
#define MSR_SYSENTER_EIP 0x176u
#define RFLAGS_IF (1ull << 9)

/* MSRs that the guest reaches without an exit: state of the CPU that is exported with it. */
static const uint32_t passed_msrs[] = {
	0xC0000081, 0xC0000082, 0xC0000083, 0xC0000084, /* STAR, LSTAR, CSTAR, SFMASK */
	0xC0000100, 0xC0000101, 0xC0000102,             /* FS, GS, kernel GS base */
	0x174,                                          /* SYSENTER_CS */
	0x277,                                          /* PAT */
};

static result machine_open(struct machine *machine, bool trap_shim)
{
	struct kvm_cpuid_entry2 entries[CPU_MODEL_LEAVES + 1];
	bool svm;

	TRY(kvm_vm_create(&machine->vm));
	if (trap_shim) {
		TRY(kvm_vm_offers_svm(&machine->vm, &svm));
		if (!svm)
			return fail(STATUS_HOST,
				    "a Linux guest needs nested SVM, which this host's KVM does not offer: use an AMD "
				    "machine with kvm_amd nested=1, or `make demo`, which brings its own "
				    "(`tercet doctor` tells more)");
	}
	TRY(cpu_model_build(&machine->cpu_model, &machine->vm));
	TRY(kvm_vm_map_ram(&machine->vm, machine->ram));
	TRY(kvm_vm_filter_msrs(&machine->vm, passed_msrs, ARRAY_SIZE(passed_msrs)));
	TRY(kvm_vcpu_create(&machine->vcpu, &machine->vm));
	TRY(kvm_vcpu_set_cpuid(&machine->vcpu, entries,
			       cpu_model_for_kvm(&machine->cpu_model, trap_shim, entries)));
	if (trap_shim)
		TRY(trap_shim_create(&machine->shim, &machine->vm));
	machine->has_shim = trap_shim;
	machine->loses_shadows = trap_shim && interrupt_shadow_is_lost();
	return OK;
}

result machine_create(struct machine *machine, struct ram *ram, struct board *board, bool trap_shim)
{
	*machine = (struct machine){
		.vm = { .kvm_fd = -1, .vm_fd = -1 },
		.vcpu = { .fd = -1 },
		.ram = ram,
		.board = board,
	};
	result r = machine_open(machine, trap_shim);

	if (failed(r))
		machine_destroy(machine);
	return r;
}

void machine_destroy(struct machine *machine)
{
	kvm_vcpu_destroy(&machine->vcpu);
	kvm_vm_destroy(&machine->vm);
	trap_shim_destroy(&machine->shim);
}

/* Which reason a trapped instruction is, by the shim's VMCB. */
static enum exit_reason trap_reason(uint64_t code)
{
	switch (code) {
	case TRAP_RDTSC:
		return EXIT_RDTSC;
	case TRAP_CPUID:
		return EXIT_CPUID;
	case TRAP_VMRUN:
	case TRAP_VMMCALL:
	case TRAP_VMLOAD:
	case TRAP_VMSAVE:
	case TRAP_STGI:
	case TRAP_CLGI:
	case TRAP_SKINIT:
	case TRAP_RDTSCP:
		return EXIT_UNDEFINED;
	default:
		return EXIT_INTERNAL;
	}
}

static void decode_trap(struct machine *machine)
{
	struct exit_record *record = &machine->exit.record;

	record->reason = trap_reason(trap_shim_code(&machine->shim));
	record->gpr[GPR_RAX] = trap_shim_rax(&machine->shim);
	record->gpr[GPR_RSP] = trap_shim_rsp(&machine->shim);
	record->rip = trap_shim_rip(&machine->shim);
	record->rflags = trap_shim_rflags(&machine->shim);
	if (record->reason == EXIT_CPUID) {
		record->address = (uint32_t)record->gpr[GPR_RAX];
		record->data = (uint32_t)record->gpr[GPR_RCX]; /* the subleaf */
	} else {
		record->address = trap_shim_code(&machine->shim);
	}
}

static void decode_io(struct machine *machine, const struct kvm_run *run)
{
	struct machine_exit *exit = &machine->exit;
	bool out = run->io.direction == KVM_EXIT_IO_OUT;
	uint64_t length = (uint64_t)run->io.size * run->io.count;

	invariant(run->io.data_offset <= machine->vcpu.run_size &&
		  length <= machine->vcpu.run_size - run->io.data_offset);
	exit->record.reason = out ? EXIT_PORT_OUT : EXIT_PORT_IN;
	exit->record.address = run->io.port;
	exit->record.size = run->io.size;
	exit->count = run->io.count;
	exit->data = (uint8_t *)machine->vcpu.run + run->io.data_offset;
	exit->record.data = exit->count;
	if (out) {
		exit->record.data = 0;
		memcpy(&exit->record.data, exit->data, length < 8 ? length : 8);
	}
}

static void decode_mmio(struct machine *machine, struct kvm_run *run)
{
	struct machine_exit *exit = &machine->exit;

	invariant(run->mmio.len <= sizeof(run->mmio.data));
	exit->record.reason = run->mmio.is_write ? EXIT_MMIO_WRITE : EXIT_MMIO_READ;
	exit->record.address = run->mmio.phys_addr;
	exit->record.size = (uint16_t)run->mmio.len;
	exit->count = 1;
	exit->data = run->mmio.data;
	if (run->mmio.is_write)
		memcpy(&exit->record.data, exit->data, run->mmio.len);
}

/* Turns KVM's exit into ours. */
static void decode_exit(struct machine *machine)
{
	struct kvm_run *run = machine->vcpu.run;
	struct machine_exit *exit = &machine->exit;
	const struct kvm_regs *regs = &run->s.regs.regs;

	memset(exit, 0, sizeof(*exit));
	exit->record.position = machine->position;
	exit->record.event = machine->event;
	kvm_vcpu_gprs(regs, exit->record.gpr);
	exit->record.rip = regs->rip;
	exit->record.rflags = regs->rflags;
	machine->in_shim = machine->has_shim && trap_shim_stopped(&machine->shim, run);
	if (machine->in_shim) {
		decode_trap(machine);
		return;
	}
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		decode_io(machine, run);
		break;
	case KVM_EXIT_MMIO:
		decode_mmio(machine, run);
		break;
	case KVM_EXIT_HLT:
		exit->record.reason = EXIT_HALT;
		break;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		exit->record.reason = EXIT_INTERRUPT_WINDOW;
		break;
	case KVM_EXIT_X86_RDMSR:
		exit->record.reason = EXIT_MSR_READ;
		exit->record.address = run->msr.index;
		break;
	case KVM_EXIT_X86_WRMSR:
		exit->record.reason = EXIT_MSR_WRITE;
		exit->record.address = run->msr.index;
		exit->record.data = run->msr.data;
		break;
	case KVM_EXIT_SET_TPR:
		exit->record.reason = EXIT_TASK_PRIORITY;
		break;
	case KVM_EXIT_SHUTDOWN:
		exit->record.reason = EXIT_SHUTDOWN;
		break;
	default: /* internal error, failed entry, or a reason we never asked for */
		exit->record.reason = EXIT_INTERNAL;
		exit->record.address = run->exit_reason;
		exit->record.data = run->exit_reason == KVM_EXIT_INTERNAL_ERROR ? run->internal.suberror : 0;
	}
}

/*
 * Between the shim's VMRUN and the nested guest's first instruction KVM takes the interrupt window for open,
 * whatever RFLAGS.IF is (svm_interrupt_allowed gives -EBUSY there, which is taken for true), as often as it is kept
 * from entering the guest. Nothing has happened to the guest then, and how often is the host's business. Where
 * RFLAGS.IF is set, an event in the VMCB is still to be delivered, such as a #GP that came to the shim because of
 * breakpoints.
 */
static result false_window(const struct machine *machine, bool *is_false)
{
	const struct kvm_run *run = machine->vcpu.run;
	enum kvm_vcpu_place place;

	*is_false = machine->has_shim && run->exit_reason == KVM_EXIT_IRQ_WINDOW_OPEN &&
		    !(run->s.regs.regs.rflags & RFLAGS_IF);
	if (*is_false || !machine->has_shim || run->exit_reason != KVM_EXIT_IRQ_WINDOW_OPEN ||
	    !trap_shim_event_staged(&machine->shim))
		return OK;
	TRY(kvm_vcpu_find(&machine->vcpu, &place));
	*is_false = place == KVM_VCPU_ENTERING;
	return OK;
}

/*
 * A signal may come between the #GP of a breakpoint and the shim's own exit, and whoever got it may have taken the
 * breakpoint out. The guest shall then execute what stands there now. A fault of its own comes again, but for that of
 * an MSR that was refused: it would exit again.
 */
static bool fault_forgotten(struct machine *machine)
{
	struct trap_shim *shim = &machine->shim;

	if (!breakpoints_were_lifted(machine->breakpoints) || !machine->has_shim ||
	    !trap_shim_stopped(shim, machine->vcpu.run) || trap_shim_code(shim) != TRAP_GENERAL_PROTECTION ||
	    !trap_shim_fault_is_plain(shim) ||
	    (machine->exit.refused && trap_shim_rip(shim) == machine->exit.record.rip))
		return false;
	trap_shim_forget_fault(shim);
	return true;
}

/* The guest's #GP that came to the shim only because of breakpoints. The emulator that loses shadows sets RF for
 * injected faults as it does for others, or for none: that depends on its version. */
static bool fault_returned(struct machine *machine)
{
	return machine->has_shim &&
	       trap_shim_return_fault(&machine->shim, machine->vcpu.run, !machine->loses_shadows);
}

result machine_run(struct machine *machine, enum machine_stop *stop)
{
	enum kvm_vcpu_stop vcpu_stop;
	bool hit, no_window;

	invariant(!machine->halted);
	do {
		TRY(kvm_vcpu_run(&machine->vcpu, &vcpu_stop));
		if (vcpu_stop == KVM_VCPU_INTERRUPTED) {
			*stop = MACHINE_INTERRUPTED;
			return OK;
		}
		TRY(breakpoints_seen(machine->breakpoints, &hit));
		if (hit) {
			*stop = MACHINE_BREAKPOINT;
			return OK;
		}
		TRY(false_window(machine, &no_window));
	} while (no_window || fault_forgotten(machine) || fault_returned(machine));
	if (machine->loses_shadows && machine->vcpu.run->exit_reason == KVM_EXIT_IRQ_WINDOW_OPEN)
		TRY(interrupt_shadow_finish(&machine->vcpu, machine->ram));
	machine->position++;
	machine->voted = false;
	decode_exit(machine);
	*stop = MACHINE_EXITED;
	return OK;
}

bool machine_exit_is_timed(const struct machine *machine)
{
	return exit_is_timed(machine->board, &machine->exit);
}

/* Length of RDTSC or CPUID with whatever prefixes the guest wrote before it, for CPUs that do not tell. */
static result trapped_length(struct machine *machine, unsigned *length)
{
	enum { INSTRUCTION_MAX = 15, OPCODE = 2 };
	struct cpu_state state;
	uint8_t bytes[INSTRUCTION_MAX];

	memset(&state, 0, sizeof(state));
	trap_shim_merge(&machine->shim, &state);
	size_t got = page_walk_read(machine->ram, &state, state.segment[SEG_CS].base + state.rip, bytes,
				    sizeof(bytes));

	for (size_t i = 0; i + OPCODE <= got; i++) {
		if (bytes[i] == 0x0F && (bytes[i + 1] == 0x31 || bytes[i + 1] == 0xA2)) {
			*length = (unsigned)i + OPCODE;
			return OK;
		}
	}
	/* The guest changed the code or its tables after it ran: only it can have an opinion about the length. */
	log_debug("trapped instruction at 0x%llx cannot be read back", (unsigned long long)state.rip);
	*length = OPCODE;
	return OK;
}

static result finish_trap(struct machine *machine)
{
	struct machine_exit *exit = &machine->exit;
	struct kvm_run *run = machine->vcpu.run;
	struct kvm_regs *regs = &run->s.regs.regs;
	unsigned length;

	if (exit->record.reason == EXIT_UNDEFINED) {
		trap_shim_undefined(&machine->shim);
		return OK;
	}
	TRY(trapped_length(machine, &length));
	if (exit->record.reason == EXIT_RDTSC) {
		regs->rdx = exit->result >> 32;
		trap_shim_finish(&machine->shim, (uint32_t)exit->result, length);
	} else {
		regs->rbx = exit->cpuid.ebx;
		regs->rcx = exit->cpuid.ecx;
		regs->rdx = exit->cpuid.edx;
		trap_shim_finish(&machine->shim, exit->cpuid.eax, length);
	}
	run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
	return OK;
}

/* What the guest wrote to an MSR that tercet keeps may mean something to the CPU as well. */
static result pass_msr_on(struct machine *machine, uint32_t number)
{
	uint64_t value;

	switch (number) {
	case MSR_EFER:
		/* The nested guest's EFER must keep SVME, or the CPU would throw it out of nested mode. */
		value = machine->msrs.efer | (machine->has_shim ? EFER_SVME : 0);
		break;
	case MSR_SYSENTER_ESP:
		value = machine->msrs.sysenter_esp;
		break;
	case MSR_SYSENTER_EIP:
		value = machine->msrs.sysenter_eip;
		break;
	default:
		return OK;
	}
	return kvm_vcpu_set_msrs(&machine->vcpu, &number, &value, 1);
}

static result finish_msr(struct machine *machine)
{
	struct machine_exit *exit = &machine->exit;
	struct kvm_run *run = machine->vcpu.run;

	run->msr.error = exit->refused;
	run->msr.data = exit->result;
	if (exit->refused)
		log_debug("guest %s MSR 0x%llx (0x%llx): #GP",
			  exit->record.reason == EXIT_MSR_READ ? "reads" : "writes",
			  (unsigned long long)exit->record.address, (unsigned long long)exit->record.data);
	if (exit->record.reason == EXIT_MSR_WRITE && !exit->refused)
		return pass_msr_on(machine, (uint32_t)exit->record.address);
	return OK;
}

result machine_answer(struct machine *machine, enum exit_outcome *outcome)
{
	const struct exit_context context = {
		.board = machine->board,
		.cpu_model = &machine->cpu_model,
		.msrs = &machine->msrs,
	};
	enum exit_reason reason = machine->exit.record.reason;

	*outcome = exit_answer(&context, &machine->exit);
	machine->halted = *outcome == OUTCOME_HALTED;
	if (reason == EXIT_MSR_READ || reason == EXIT_MSR_WRITE)
		return finish_msr(machine);
	if (machine->in_shim && reason != EXIT_PREEMPTED && *outcome == OUTCOME_RUN)
		return finish_trap(machine);
	return OK;
}

bool machine_can_wake(const struct machine *machine)
{
	return machine_interrupts_enabled(machine) && board_interrupt_pending(machine->board);
}

bool machine_interrupts_enabled(const struct machine *machine)
{
	return machine->in_shim ? trap_shim_interrupt_ready(&machine->shim) :
				  (machine->vcpu.run->s.regs.regs.rflags & RFLAGS_IF) != 0;
}

/*
 * Whether the guest takes an interrupt when it goes on. The exit's instruction is completed first, and with it
 * ends an interrupt shadow, so RFLAGS.IF decides, and not KVM's ready_for_interrupt_injection: before a refused MSR
 * access is completed that says "ready", and then the #GP takes the interrupt's place. In the shim the vCPU is not
 * in its guest: there the window opens as soon as it is.
 */
static bool can_interrupt(const struct machine *machine)
{
	return !machine->in_shim && !machine->voted && machine_interrupts_enabled(machine) && !machine->exit.refused &&
	       (machine->exit.record.reason != EXIT_INTERRUPT_WINDOW ||
		machine->vcpu.run->ready_for_interrupt_injection);
}

result machine_prepare(struct machine *machine)
{
	struct kvm_run *run = machine->vcpu.run;

	/* Once a position, not at every entry: a signal can fall between the guest's coming out of VMRUN and the
	 * shim's OUT, and what the CPU wrote must then still be there. */
	if (machine->has_shim)
		trap_shim_arm(&machine->shim);
	run->request_interrupt_window = 0;
	machine->event = 0;
	if (!board_interrupt_pending(machine->board))
		return OK;
	if (!can_interrupt(machine)) {
		/* With an event staged in the VMCB the window would open before VMRUN has delivered it, and what is
		 * injected then takes its place: the interrupt waits for the next exit. */
		run->request_interrupt_window = !(machine->in_shim && trap_shim_event_staged(&machine->shim));
		/* A halted guest is entered only where it can wake: the window opens at once, behind its HLT. */
		machine->halted = false;
		return OK;
	}
	uint8_t vector = board_interrupt_acknowledge(machine->board);

	machine->halted = false;
	machine->event = (uint16_t)(EXIT_EVENT_INTERRUPT | vector);
	run->request_interrupt_window = board_interrupt_pending(machine->board);
	return kvm_vcpu_interrupt(&machine->vcpu, vector);
}

result machine_settle(struct machine *machine, bool *settled)
{
	enum kvm_vcpu_stop stop;

	/* In the shim the OUT is the shim's own: whether it is complete makes no difference to the guest, but
	 * changed registers must reach the vCPU before they can be read back. */
	TRY(kvm_vcpu_complete(&machine->vcpu, &stop));
	*settled = stop == KVM_VCPU_INTERRUPTED;
	if (*settled)
		return OK;
	machine->position++;
	machine->voted = false;
	decode_exit(machine);
	return OK;
}

bool machine_can_vote(const struct machine *machine)
{
	return !machine->exit.refused && !(machine->in_shim && trap_shim_event_staged(&machine->shim));
}

void machine_vote_point(struct machine *machine)
{
	machine->voted = true;
}

void machine_place(struct machine *machine, uint64_t position)
{
	machine->position = position;
	machine->event = 0;
	machine->voted = true;
	memset(&machine->exit, 0, sizeof(machine->exit));
	machine->exit.record.position = position;
}

result machine_forget_memory(struct machine *machine)
{
	return kvm_vm_remap_ram(&machine->vm, machine->ram);
}

result machine_export(struct machine *machine, struct cpu_state *state)
{
	enum kvm_vcpu_stop stop;

	/* What was changed where KVM_RUN looks for it must reach the vCPU before it can be read back. */
	if (machine->vcpu.run->kvm_dirty_regs)
		TRY(kvm_vcpu_complete(&machine->vcpu, &stop));
	TRY(kvm_vcpu_get_state(&machine->vcpu, state));
	if (machine->in_shim)
		trap_shim_merge(&machine->shim, state);
	state->efer &= ~EFER_SVME;
	state->msr[CPU_MSR_SYSENTER_ESP] = machine->msrs.sysenter_esp;
	state->msr[CPU_MSR_SYSENTER_EIP] = machine->msrs.sysenter_eip;
	registers_canonicalise(state);
	return OK;
}

/* KVM finishes the instruction of an exit at the next run, whatever the registers are by then: before, then. What
 * the devices would have to say to it makes no difference any more. */
static result drop_exit(struct machine *machine)
{
	enum { PARTS_MAX = 1 << 16 };
	enum kvm_vcpu_stop stop = KVM_VCPU_EXITED;

	for (unsigned i = 0; stop != KVM_VCPU_INTERRUPTED; i++) {
		if (i == PARTS_MAX)
			return fail(STATUS_FAILED, "an instruction that KVM emulates does not end");
		TRY(kvm_vcpu_complete(&machine->vcpu, &stop));
	}
	return OK;
}

result machine_import(struct machine *machine, const struct cpu_state *state, bool halted)
{
	TRY(drop_exit(machine));
	machine->halted = halted;
	machine->msrs = (struct exit_msrs){
		.efer = state->efer,
		.sysenter_esp = state->msr[CPU_MSR_SYSENTER_ESP],
		.sysenter_eip = state->msr[CPU_MSR_SYSENTER_EIP],
	};
	machine->vcpu.run->kvm_dirty_regs = 0;
	if (!machine->has_shim)
		return kvm_vcpu_set_state(&machine->vcpu, state);
	machine->in_shim = true;
	return trap_shim_load(&machine->shim, &machine->vcpu, state);
}

result machine_collect_dirty(struct machine *machine, uint64_t *bitmap)
{
	TRY(kvm_vm_collect_dirty(&machine->vm, machine->ram, bitmap));
	ram_collect_dirty(machine->ram, bitmap);
	return OK;
}

result machine_watch_pages(struct machine *machine, uint64_t *bitmap)
{
	return kvm_vm_watch_pages(&machine->vm, machine->ram, bitmap);
}
