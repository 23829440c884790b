#include "vmm/kvm_vcpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "base/fd.h"

result kvm_vcpu_create(struct kvm_vcpu *vcpu, const struct kvm_vm *vm)
{
	void *run;

	*vcpu = (struct kvm_vcpu){ .fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, 0), .run_size = vm->run_size };
	if (vcpu->fd < 0)
		return fail_errno(STATUS_HOST, errno, "KVM cannot create a virtual CPU");
	result r = fd_map(vcpu->fd, "the vCPU's page", vcpu->run_size, true, &run);

	if (failed(r)) {
		fd_close(&vcpu->fd);
		return r;
	}
	vcpu->run = run;
	vcpu->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
	return OK;
}

void kvm_vcpu_destroy(struct kvm_vcpu *vcpu)
{
	fd_unmap(vcpu->run, vcpu->run_size);
	vcpu->run = NULL;
	fd_close(&vcpu->fd);
}

result kvm_vcpu_set_cpuid(struct kvm_vcpu *vcpu, const struct kvm_cpuid_entry2 *entries, unsigned count)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + count * sizeof(*entries));

	if (!cpuid)
		return fail(STATUS_FAILED, "no memory for the CPU model");
	cpuid->nent = count;
	memcpy(cpuid->entries, entries, count * sizeof(*entries));
	int status = ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid);
	int error = errno;

	free(cpuid);
	if (status < 0)
		return fail_errno(STATUS_HOST, error, "KVM does not accept the CPU model");
	return OK;
}

void kvm_vcpu_kick(struct kvm_vcpu *vcpu)
{
	vcpu->kicked = 1;
	vcpu->run->immediate_exit = 1;
}

static result run_once(struct kvm_vcpu *vcpu, enum kvm_vcpu_stop *stop)
{
	*stop = KVM_VCPU_EXITED;
	if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
		if (vcpu->run->exit_reason == KVM_EXIT_INTR)
			*stop = KVM_VCPU_INTERRUPTED;
		return OK;
	}
	if (errno == EINTR || errno == EAGAIN) {
		*stop = KVM_VCPU_INTERRUPTED;
		return OK;
	}
	return fail_errno(STATUS_FAILED, errno, "KVM cannot run the guest");
}

result kvm_vcpu_run(struct kvm_vcpu *vcpu, enum kvm_vcpu_stop *stop)
{
	TRY(run_once(vcpu, stop));
	if (*stop == KVM_VCPU_INTERRUPTED) {
		/* In this order: a kick in between ends the next run, rather than none. */
		vcpu->run->immediate_exit = 0;
		vcpu->kicked = 0;
	}
	return OK;
}

result kvm_vcpu_complete(struct kvm_vcpu *vcpu, enum kvm_vcpu_stop *stop)
{
	vcpu->run->immediate_exit = 1;
	result r = run_once(vcpu, stop);

	/* Who was kicked meanwhile has not heard of it yet. */
	vcpu->run->immediate_exit = (uint8_t)vcpu->kicked;
	return r;
}

static result set_single_step(struct kvm_vcpu *vcpu, bool on)
{
	struct kvm_guest_debug debug = { .control = on ? KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP : 0 };

	if (ioctl(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug) < 0)
		return fail_errno(STATUS_FAILED, errno, "KVM cannot step through the guest");
	return OK;
}

result kvm_vcpu_step(struct kvm_vcpu *vcpu)
{
	enum kvm_vcpu_stop stop;

	TRY(set_single_step(vcpu, true));
	do
		TRY(kvm_vcpu_run(vcpu, &stop));
	while (stop == KVM_VCPU_INTERRUPTED);
	return set_single_step(vcpu, false);
}

result kvm_vcpu_set_rip(struct kvm_vcpu *vcpu, uint64_t rip)
{
	struct kvm_regs regs;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0)
		return fail_errno(STATUS_FAILED, errno, "KVM does not give the vCPU's registers");
	regs.rip = rip;
	if (ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		return fail_errno(STATUS_FAILED, errno, "KVM does not accept the vCPU's registers");
	vcpu->run->s.regs.regs = regs;
	return OK;
}

/* struct kvm_nested_state ends in a flexible array: room for a VMCB comes from the union. */
union nested_state {
	struct kvm_nested_state state;
	uint8_t room[sizeof(struct kvm_nested_state) + KVM_STATE_NESTED_SVM_VMCB_SIZE];
};

result kvm_vcpu_find(const struct kvm_vcpu *vcpu, enum kvm_vcpu_place *place)
{
	union nested_state nested = { .state = { .size = sizeof(nested) } };

	if (ioctl(vcpu->fd, KVM_GET_NESTED_STATE, &nested) < 0)
		return fail_errno(STATUS_FAILED, errno, "KVM does not give the nested guest's state");
	if (!(nested.state.flags & KVM_STATE_NESTED_GUEST_MODE))
		*place = KVM_VCPU_OUTSIDE;
	else
		*place = nested.state.flags & KVM_STATE_NESTED_RUN_PENDING ? KVM_VCPU_ENTERING : KVM_VCPU_NESTED;
	return OK;
}

uint64_t kvm_vcpu_watch_bits(unsigned count)
{
	/* The global enable bits: bit 1 of each two; all other bits 0 are breakpoints on execution (13.1.1.4). */
	return 0xAAull & ((1ull << (2 * count)) - 1);
}

result kvm_vcpu_watch(struct kvm_vcpu *vcpu, const uint64_t *addresses, unsigned count, bool *watched)
{
	enum { DR7_ENABLES = 0xFF };
	struct kvm_guest_debug debug = { .control = count ? KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP : 0 };
	struct kvm_debugregs own;

	invariant(count <= KVM_VCPU_WATCHES);
	if (ioctl(vcpu->fd, KVM_GET_DEBUGREGS, &own) < 0)
		return fail_errno(STATUS_FAILED, errno, "KVM does not give the vCPU's debug registers");
	*watched = !(own.dr7 & DR7_ENABLES);
	if (count && !*watched)
		return OK;
	for (unsigned i = 0; i < count; i++)
		debug.arch.debugreg[i] = addresses[i];
	debug.arch.debugreg[7] = kvm_vcpu_watch_bits(count);
	if (ioctl(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug) < 0)
		return fail_errno(STATUS_FAILED, errno, "KVM cannot watch the guest by debug registers");
	return OK;
}

result kvm_vcpu_interrupt(struct kvm_vcpu *vcpu, uint8_t vector)
{
	struct kvm_interrupt interrupt = { .irq = vector };

	if (ioctl(vcpu->fd, KVM_INTERRUPT, &interrupt) < 0)
		return fail_errno(STATUS_FAILED, errno, "KVM cannot take interrupt vector %u", vector);
	return OK;
}

enum { MSRS_MAX = 16 };

/* struct kvm_msrs ends in a flexible array: room for its entries comes from the union. */
union msr_list {
	struct kvm_msrs list;
	uint8_t room[sizeof(struct kvm_msrs) + MSRS_MAX * sizeof(struct kvm_msr_entry)];
};

result kvm_vcpu_get_msrs(const struct kvm_vcpu *vcpu, const uint32_t *numbers, uint64_t *values, unsigned count)
{
	union msr_list msrs = { .room = { 0 } };

	invariant(count <= MSRS_MAX);
	msrs.list.nmsrs = count;
	for (unsigned i = 0; i < count; i++)
		msrs.list.entries[i].index = numbers[i];
	int done = ioctl(vcpu->fd, KVM_GET_MSRS, &msrs);

	if (done != (int)count)
		return fail(STATUS_FAILED, "KVM cannot read MSR 0x%x", numbers[done < 0 ? 0 : done]);
	for (unsigned i = 0; i < count; i++)
		values[i] = msrs.list.entries[i].data;
	return OK;
}

result kvm_vcpu_set_msrs(struct kvm_vcpu *vcpu, const uint32_t *numbers, const uint64_t *values, unsigned count)
{
	union msr_list msrs = { .room = { 0 } };

	invariant(count <= MSRS_MAX);
	msrs.list.nmsrs = count;
	for (unsigned i = 0; i < count; i++)
		msrs.list.entries[i] = (struct kvm_msr_entry){ .index = numbers[i], .data = values[i] };
	int done = ioctl(vcpu->fd, KVM_SET_MSRS, &msrs);

	if (done != (int)count)
		return fail(STATUS_FAILED, "KVM cannot write 0x%llx to MSR 0x%x",
			    (unsigned long long)values[done < 0 ? 0 : done], numbers[done < 0 ? 0 : done]);
	return OK;
}

static struct cpu_segment segment_from_kvm(const struct kvm_segment *s)
{
	unsigned attributes = 0;

	if (s->present && !s->unusable)
		attributes = (s->type & 15u) | (s->s & 1u) << 4 | (s->dpl & 3u) << 5 | 1u << 7 |
			     (s->avl & 1u) << 8 | (s->l & 1u) << 9 | (s->db & 1u) << 10 | (s->g & 1u) << 11;
	return (struct cpu_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.attributes = (uint16_t)attributes,
	};
}

static struct kvm_segment segment_to_kvm(const struct cpu_segment *s)
{
	unsigned a = s->attributes;

	return (struct kvm_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.type = (uint8_t)(a & 15),
		.s = (uint8_t)(a >> 4 & 1),
		.dpl = (uint8_t)(a >> 5 & 3),
		.present = (uint8_t)(a >> 7 & 1),
		.avl = (uint8_t)(a >> 8 & 1),
		.l = (uint8_t)(a >> 9 & 1),
		.db = (uint8_t)(a >> 10 & 1),
		.g = (uint8_t)(a >> 11 & 1),
		.unusable = !(a >> 7 & 1),
	};
}

/* Pairs of a general register's place in the canonical state and in kvm_regs. */
#define GPR_PAIRS(each)                                                                                     \
	each(GPR_RAX, rax) each(GPR_RCX, rcx) each(GPR_RDX, rdx) each(GPR_RBX, rbx) each(GPR_RSP, rsp)        \
	each(GPR_RBP, rbp) each(GPR_RSI, rsi) each(GPR_RDI, rdi) each(GPR_R8, r8) each(GPR_R9, r9)            \
	each(GPR_R10, r10) each(GPR_R11, r11) each(GPR_R12, r12) each(GPR_R13, r13) each(GPR_R14, r14)        \
	each(GPR_R15, r15)

#define SEGMENT_PAIRS(each)                                                                            \
	each(SEG_ES, es) each(SEG_CS, cs) each(SEG_SS, ss) each(SEG_DS, ds) each(SEG_FS, fs)           \
	each(SEG_GS, gs) each(SEG_LDTR, ldt) each(SEG_TR, tr)

/* The FXSAVE image of 64-bit mode (AMD64 APM vol. 2, 11.4.4 and 15.5.10), which begins KVM's XSAVE area. */
enum {
	FX_FCW = 0,
	FX_FSW = 2,
	FX_FTW = 4,
	FX_FOP = 6,
	FX_FIP = 8,
	FX_FDP = 16,
	FX_MXCSR = 24,
	FX_ST = 32,
	FX_XMM = 160,
	XSAVE_XSTATE_BV = 512,
	XSTATE_X87_SSE = 3,
};

static result get_fpu(const struct kvm_vcpu *vcpu, struct cpu_state *state)
{
	/* KVM_GET_XSAVE, not KVM_GET_FPU: only the former fills in what the CPU left out as "initial". */
	struct kvm_xsave xsave;

	if (ioctl(vcpu->fd, KVM_GET_XSAVE, &xsave) < 0)
		return fail_errno(STATUS_FAILED, errno, "KVM does not give the FPU's state");
	const uint8_t *fx = (const uint8_t *)xsave.region;

	state->fcw = bytes_load_u16(fx + FX_FCW);
	state->fsw = bytes_load_u16(fx + FX_FSW);
	state->ftw = bytes_load_u16(fx + FX_FTW);
	state->fop = bytes_load_u16(fx + FX_FOP);
	state->fip = bytes_load_u64(fx + FX_FIP);
	state->fdp = bytes_load_u64(fx + FX_FDP);
	state->mxcsr = bytes_load_u32(fx + FX_MXCSR);
	memcpy(state->st, fx + FX_ST, sizeof(state->st));
	memcpy(state->xmm, fx + FX_XMM, sizeof(state->xmm));
	return OK;
}

static result set_fpu(struct kvm_vcpu *vcpu, const struct cpu_state *state)
{
	struct kvm_xsave xsave = { 0 };
	uint8_t *fx = (uint8_t *)xsave.region;

	bytes_store_u16(fx + FX_FCW, state->fcw);
	bytes_store_u16(fx + FX_FSW, state->fsw);
	bytes_store_u16(fx + FX_FTW, state->ftw);
	bytes_store_u16(fx + FX_FOP, state->fop);
	bytes_store_u64(fx + FX_FIP, state->fip);
	bytes_store_u64(fx + FX_FDP, state->fdp);
	bytes_store_u32(fx + FX_MXCSR, state->mxcsr);
	memcpy(fx + FX_ST, state->st, sizeof(state->st));
	memcpy(fx + FX_XMM, state->xmm, sizeof(state->xmm));
	bytes_store_u64(fx + XSAVE_XSTATE_BV, XSTATE_X87_SSE);
	if (ioctl(vcpu->fd, KVM_SET_XSAVE, &xsave) < 0)
		return fail_errno(STATUS_FAILED, errno, "KVM does not accept the FPU's state");
	return OK;
}

/* Hardware interrupts wait in kvm_vcpu_events; sregs' interrupt_bitmap says the same and needs no reading. */
static void events_to_state(const struct kvm_vcpu_events *events, struct cpu_state *state)
{
	if (events->interrupt.injected)
		state->pending_interrupt = events->interrupt.nr | CPU_EVENT_VALID;
	if (events->exception.injected) {
		state->pending_exception = events->exception.nr | CPU_EVENT_VALID |
					   (events->exception.has_error_code ? CPU_EVENT_HAS_CODE : 0);
		state->exception_code = events->exception.error_code;
	}
	state->interrupt_shadow = events->interrupt.shadow ? 1 : 0;
	state->nmi = (events->nmi.pending ? 1u : 0u) | (events->nmi.injected ? 2u : 0u) |
		     (events->nmi.masked ? 4u : 0u);
}

static struct kvm_vcpu_events events_from_state(const struct cpu_state *state)
{
	struct kvm_vcpu_events events = {
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
		.interrupt.injected = (state->pending_interrupt & CPU_EVENT_VALID) != 0,
		.interrupt.nr = (uint8_t)state->pending_interrupt,
		.interrupt.shadow = state->interrupt_shadow ? KVM_X86_SHADOW_INT_STI : 0,
		.exception.injected = (state->pending_exception & CPU_EVENT_VALID) != 0,
		.exception.nr = (uint8_t)state->pending_exception,
		.exception.has_error_code = (state->pending_exception & CPU_EVENT_HAS_CODE) != 0,
		.exception.error_code = state->exception_code,
		.nmi.pending = (state->nmi & 1) != 0,
		.nmi.injected = (state->nmi & 2) != 0,
		.nmi.masked = (state->nmi & 4) != 0,
	};

	return events;
}

static void system_to_state(const struct kvm_sregs *sregs, struct cpu_state *state)
{
#define GET_SEGMENT(index, member) state->segment[index] = segment_from_kvm(&sregs->member);
	SEGMENT_PAIRS(GET_SEGMENT)
#undef GET_SEGMENT
	state->gdt_base = sregs->gdt.base;
	state->gdt_limit = sregs->gdt.limit;
	state->idt_base = sregs->idt.base;
	state->idt_limit = sregs->idt.limit;
	state->cr0 = sregs->cr0;
	state->cr2 = sregs->cr2;
	state->cr3 = sregs->cr3;
	state->cr4 = sregs->cr4;
	state->cr8 = sregs->cr8;
	state->efer = sregs->efer;
}

result kvm_vcpu_get_paging(const struct kvm_vcpu *vcpu, struct cpu_state *state)
{
	struct kvm_sregs sregs;

	memset(state, 0, sizeof(*state));
	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return fail_errno(STATUS_FAILED, errno, "KVM does not give the vCPU's registers");
	system_to_state(&sregs, state);
	return OK;
}

void kvm_vcpu_gprs(const struct kvm_regs *regs, uint64_t gpr[GPR_COUNT])
{
#define GET_GPR(index, member) gpr[index] = regs->member;
	GPR_PAIRS(GET_GPR)
#undef GET_GPR
}

void kvm_vcpu_peek(const struct kvm_vcpu *vcpu, struct cpu_state *state)
{
	const struct kvm_regs *regs = &vcpu->run->s.regs.regs;

	kvm_vcpu_gprs(regs, state->gpr);
	state->rip = regs->rip;
	state->rflags = regs->rflags;
}

result kvm_vcpu_get_state(const struct kvm_vcpu *vcpu, struct cpu_state *state)
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_debugregs debug;
	struct kvm_vcpu_events events;

	memset(state, 0, sizeof(*state));
	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0 || ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0 ||
	    ioctl(vcpu->fd, KVM_GET_DEBUGREGS, &debug) < 0 ||
	    ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events) < 0)
		return fail_errno(STATUS_FAILED, errno, "KVM does not give the vCPU's registers");
	kvm_vcpu_gprs(&regs, state->gpr);
	state->rip = regs.rip;
	state->rflags = regs.rflags;
	system_to_state(&sregs, state);
	for (size_t i = 0; i < ARRAY_SIZE(state->dr); i++)
		state->dr[i] = debug.db[i];
	state->dr6 = debug.dr6;
	state->dr7 = debug.dr7;
	events_to_state(&events, state);
	TRY(get_fpu(vcpu, state));
	return kvm_vcpu_get_msrs(vcpu, cpu_msr_numbers, state->msr, CPU_MSR_COUNT);
}

result kvm_vcpu_set_state(struct kvm_vcpu *vcpu, const struct cpu_state *state)
{
	struct kvm_regs regs = { .rip = state->rip, .rflags = state->rflags };
	struct kvm_sregs sregs = {
		.gdt = { .base = state->gdt_base, .limit = (uint16_t)state->gdt_limit },
		.idt = { .base = state->idt_base, .limit = (uint16_t)state->idt_limit },
		.cr0 = state->cr0,
		.cr2 = state->cr2,
		.cr3 = state->cr3,
		.cr4 = state->cr4,
		.cr8 = state->cr8,
		.efer = state->efer,
		.apic_base = 0, /* no APIC */
	};
	struct kvm_debugregs debug = { .dr6 = state->dr6, .dr7 = state->dr7 };
	struct kvm_vcpu_events events = events_from_state(state);

#define SET_GPR(index, member) regs.member = state->gpr[index];
	GPR_PAIRS(SET_GPR)
#undef SET_GPR
#define SET_SEGMENT(index, member) sregs.member = segment_to_kvm(&state->segment[index]);
	SEGMENT_PAIRS(SET_SEGMENT)
#undef SET_SEGMENT
	for (size_t i = 0; i < ARRAY_SIZE(state->dr); i++)
		debug.db[i] = state->dr[i];
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0 ||
	    ioctl(vcpu->fd, KVM_SET_DEBUGREGS, &debug) < 0)
		return fail_errno(STATUS_FAILED, errno, "KVM does not accept the vCPU's registers");
	TRY(kvm_vcpu_set_msrs(vcpu, cpu_msr_numbers, state->msr, CPU_MSR_COUNT));
	TRY(set_fpu(vcpu, state));
	/* Last: setting registers drops pending exceptions. */
	if (ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events) < 0)
		return fail_errno(STATUS_FAILED, errno, "KVM does not accept the vCPU's pending events");
	return OK;
}

result kvm_vcpu_leave_nested(struct kvm_vcpu *vcpu)
{
	struct kvm_nested_state state = {
		.flags = KVM_STATE_NESTED_GIF_SET, /* the one flag KVM takes while EFER.SVME is clear */
		.format = KVM_STATE_NESTED_FORMAT_SVM,
		.size = sizeof(state),
	};

	if (ioctl(vcpu->fd, KVM_SET_NESTED_STATE, &state) < 0)
		return fail_errno(STATUS_FAILED, errno, "KVM cannot leave nested guest mode");
	return OK;
}
