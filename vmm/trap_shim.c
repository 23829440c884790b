#include "vmm/trap_shim.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"

/* The shim's own pages. */
enum {
	SHIM_CODE = 0x0000,
	SHIM_VMCB = 0x1000,
	SHIM_HOST_SAVE = 0x2000,
	SHIM_PML4 = 0x3000,
	SHIM_PDPT = 0x4000,
	SHIM_PD = 0x5000,
	SHIM_PORT = 0xE5, /* no device of the board is there */
};

/* vmrun %rax; out %al, $SHIM_PORT; jmp back */
static const uint8_t shim_code[] = { 0x0F, 0x01, 0xD8, 0xE6, SHIM_PORT, 0xEB, 0xF9 };
enum { SHIM_OUT_OFFSET = 3 };

/* VMCB control area (AMD64 APM vol. 2, table B-1). */
enum {
	VMCB_INTERCEPT_EXCEPTIONS = 0x08, /* a bit for each vector */
	VMCB_INTERCEPT_3 = 0x0C,
	VMCB_INTERCEPT_4 = 0x10,
	VMCB_ASID = 0x58,
	VMCB_INT_CTL = 0x60,
	VMCB_INT_SHADOW = 0x68,
	VMCB_EXIT_CODE = 0x70,
	VMCB_EXIT_INFO_1 = 0x78,
	VMCB_EXIT_INT_INFO = 0x88, /* what was being delivered, in the form of VMCB_EVENT_INJECT */
	VMCB_EVENT_INJECT = 0xA8,
	VMCB_NEXT_RIP = 0xC8,
	INTERCEPT_3_RDTSC = 1 << 14,
	INTERCEPT_3_CPUID = 1 << 18,
	/* VMRUN VMMCALL VMLOAD VMSAVE STGI CLGI SKINIT RDTSCP */
	INTERCEPT_4_SVM_AND_RDTSCP = 0xFF,
	SHIM_ASID = 1,
};

/* VMCB state save area (table B-2), from the VMCB's start. */
enum {
	SAVE_SEGMENTS = 0x400, /* ES CS SS DS FS GS GDTR LDTR IDTR TR, 16 bytes each */
	SAVE_ES = 0,
	SAVE_CS = 1,
	SAVE_SS = 2,
	SAVE_DS = 3,
	SAVE_GDTR = 6,
	SAVE_IDTR = 8,
	SAVE_CPL = 0x4CB,
	SAVE_EFER = 0x4D0,
	SAVE_CR4 = 0x548,
	SAVE_CR3 = 0x550,
	SAVE_CR0 = 0x558,
	SAVE_DR7 = 0x560,
	SAVE_DR6 = 0x568,
	SAVE_RFLAGS = 0x570,
	SAVE_RIP = 0x578,
	SAVE_RSP = 0x5D8,
	SAVE_RAX = 0x5F8,
	SAVE_CR2 = 0x640,
	SAVE_PAT = 0x668,
};

#define EFER_SVME (1ull << 12)
#define EFER_LME_LMA_SVME 0x1500ull
#define MSR_VM_HSAVE_PA 0xC0010117u
#define RFLAGS_RESERVED 0x2ull
#define RFLAGS_IF (1ull << 9)
#define RFLAGS_RF (1ull << 16)
/* An exit code that no CPU gives: written before an entry, gone after the nested guest came out. */
#define EXIT_CODE_NONE 0x7E5C37E5C37E5C37ull

#define EVENT_EXCEPTION (3u << 8)
#define EVENT_TYPE_MASK (7u << 8)
#define EVENT_CODE_VALID (1u << 11)
#define EVENT_VALID (1u << 31)
#define VECTOR_DE 0u
#define VECTOR_UD 6u
#define VECTOR_DF 8u
#define VECTOR_TS 10u
#define VECTOR_GP 13u
#define VECTOR_PF 14u

static uint8_t *vmcb(const struct trap_shim *shim)
{
	return shim->memory + SHIM_VMCB;
}

static uint64_t vmcb_get(const struct trap_shim *shim, unsigned offset)
{
	return bytes_load_u64(vmcb(shim) + offset);
}

static void vmcb_set(struct trap_shim *shim, unsigned offset, uint64_t value)
{
	bytes_store_u64(vmcb(shim) + offset, value);
}

result trap_shim_create(struct trap_shim *shim, struct kvm_vm *vm)
{
	enum { PTE_TABLE = 0x63, PTE_LARGE_PAGE = 0xE3 }; /* present, writable, accessed, dirty; large */
	void *memory = mmap(NULL, TRAP_SHIM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	shim->memory = NULL;
	if (memory == MAP_FAILED)
		return fail_errno(STATUS_FAILED, errno, "no memory for the trap shim");
	shim->memory = memory;
	memcpy(shim->memory + SHIM_CODE, shim_code, sizeof(shim_code));
	/* One large page that maps the shim where it lies. */
	bytes_store_u64(shim->memory + SHIM_PML4, (TRAP_SHIM_ADDRESS + SHIM_PDPT) | PTE_TABLE);
	bytes_store_u64(shim->memory + SHIM_PDPT + 8 * (TRAP_SHIM_ADDRESS >> 30 & 511),
			(TRAP_SHIM_ADDRESS + SHIM_PD) | PTE_TABLE);
	bytes_store_u64(shim->memory + SHIM_PD + 8 * (TRAP_SHIM_ADDRESS >> 21 & 511),
			TRAP_SHIM_ADDRESS | PTE_LARGE_PAGE);

	result r = kvm_vm_map_private(vm, TRAP_SHIM_ADDRESS, shim->memory, TRAP_SHIM_SIZE);

	if (failed(r))
		trap_shim_destroy(shim);
	return r;
}

void trap_shim_destroy(struct trap_shim *shim)
{
	if (shim->memory)
		(void)munmap(shim->memory, TRAP_SHIM_SIZE);
	shim->memory = NULL;
}

static void put_segment(struct trap_shim *shim, unsigned slot, const struct cpu_segment *segment)
{
	uint8_t *at = vmcb(shim) + SAVE_SEGMENTS + 16 * slot;

	bytes_store_u16(at, segment->selector);
	bytes_store_u16(at + 2, segment->attributes);
	bytes_store_u32(at + 4, segment->limit);
	bytes_store_u64(at + 8, segment->base);
}

static struct cpu_segment take_segment(const struct trap_shim *shim, unsigned slot)
{
	const uint8_t *at = vmcb(shim) + SAVE_SEGMENTS + 16 * slot;

	return (struct cpu_segment){
		.selector = bytes_load_u16(at),
		.attributes = bytes_load_u16(at + 2),
		.limit = bytes_load_u32(at + 4),
		.base = bytes_load_u64(at + 8),
	};
}

static void fill_vmcb(struct trap_shim *shim, const struct cpu_state *guest)
{
	const struct cpu_segment gdtr = { .base = guest->gdt_base, .limit = guest->gdt_limit };
	const struct cpu_segment idtr = { .base = guest->idt_base, .limit = guest->idt_limit };
	uint64_t event = 0;

	memset(vmcb(shim), 0, 0x1000);
	if (shim->intercepts_faults)
		bytes_store_u32(vmcb(shim) + VMCB_INTERCEPT_EXCEPTIONS, 1u << VECTOR_GP);
	bytes_store_u32(vmcb(shim) + VMCB_INTERCEPT_3, INTERCEPT_3_RDTSC | INTERCEPT_3_CPUID);
	bytes_store_u32(vmcb(shim) + VMCB_INTERCEPT_4, INTERCEPT_4_SVM_AND_RDTSCP);
	bytes_store_u32(vmcb(shim) + VMCB_ASID, SHIM_ASID);
	vmcb_set(shim, VMCB_INT_CTL, guest->cr8 & 15);
	vmcb_set(shim, VMCB_INT_SHADOW, guest->interrupt_shadow & 1);

	/* At most one event can wait for delivery; an exception comes before an interrupt. */
	if (guest->pending_exception & CPU_EVENT_VALID) {
		event = (guest->pending_exception & 0xFF) | EVENT_EXCEPTION | EVENT_VALID;
		if (guest->pending_exception & CPU_EVENT_HAS_CODE)
			event |= EVENT_CODE_VALID | (uint64_t)guest->exception_code << 32;
	} else if (guest->pending_interrupt & CPU_EVENT_VALID) {
		event = (guest->pending_interrupt & 0xFF) | EVENT_VALID;
	}
	vmcb_set(shim, VMCB_EVENT_INJECT, event);

	put_segment(shim, SAVE_ES, &guest->segment[SEG_ES]);
	put_segment(shim, SAVE_CS, &guest->segment[SEG_CS]);
	put_segment(shim, SAVE_SS, &guest->segment[SEG_SS]);
	put_segment(shim, SAVE_DS, &guest->segment[SEG_DS]);
	put_segment(shim, SAVE_GDTR, &gdtr);
	put_segment(shim, SAVE_IDTR, &idtr);
	vmcb(shim)[SAVE_CPL] = guest->segment[SEG_SS].attributes >> 5 & 3;
	vmcb_set(shim, SAVE_EFER, guest->efer | EFER_SVME);
	vmcb_set(shim, SAVE_CR0, guest->cr0);
	vmcb_set(shim, SAVE_CR2, guest->cr2);
	vmcb_set(shim, SAVE_CR3, guest->cr3);
	vmcb_set(shim, SAVE_CR4, guest->cr4);
	vmcb_set(shim, SAVE_DR6, guest->dr6);
	vmcb_set(shim, SAVE_DR7, guest->dr7 | shim->watch);
	vmcb_set(shim, SAVE_RFLAGS, guest->rflags);
	vmcb_set(shim, SAVE_RIP, guest->rip);
	vmcb_set(shim, SAVE_RSP, guest->gpr[GPR_RSP]);
	vmcb_set(shim, SAVE_RAX, guest->gpr[GPR_RAX]);
	vmcb_set(shim, SAVE_PAT, guest->msr[CPU_MSR_PAT]);
}

/* The vCPU in the shim: flat 64-bit code without interrupts; what VMRUN does not switch is the guest's. */
static struct cpu_state shim_state(const struct cpu_state *guest)
{
	const struct cpu_segment code = { 0, 0xFFFFFFFF, 0x08, 0xA9B }; /* 64-bit code, accessed */
	const struct cpu_segment data = { 0, 0xFFFFFFFF, 0x10, 0xC93 }; /* data, writable, accessed */
	struct cpu_state state = *guest;

	state.rip = TRAP_SHIM_ADDRESS + SHIM_CODE;
	state.rflags = RFLAGS_RESERVED;
	state.gpr[GPR_RAX] = TRAP_SHIM_ADDRESS + SHIM_VMCB;
	state.gpr[GPR_RSP] = 0;
	state.segment[SEG_CS] = code;
	state.segment[SEG_SS] = data;
	state.segment[SEG_DS] = data;
	state.segment[SEG_ES] = data;
	state.gdt_base = 0;
	state.gdt_limit = 0;
	state.idt_base = 0;
	state.idt_limit = 0;
	state.cr0 = 0x80000031; /* PG, NE, ET, PE */
	state.cr2 = 0;
	state.cr3 = TRAP_SHIM_ADDRESS + SHIM_PML4;
	state.cr4 = 0x620; /* PAE, OSFXSR, OSXMMEXCPT */
	state.efer = EFER_LME_LMA_SVME;
	state.dr6 = 0xFFFF0FF0;
	state.dr7 = 0x400;
	state.interrupt_shadow = 0;
	state.pending_interrupt = 0;
	state.pending_exception = 0;
	return state;
}

result trap_shim_load(struct trap_shim *shim, struct kvm_vcpu *vcpu, const struct cpu_state *guest)
{
	const uint32_t host_save = MSR_VM_HSAVE_PA;
	const uint64_t host_save_address = TRAP_SHIM_ADDRESS + SHIM_HOST_SAVE;
	const struct cpu_state state = shim_state(guest);

	TRY(kvm_vcpu_leave_nested(vcpu));
	fill_vmcb(shim, guest);
	TRY(kvm_vcpu_set_state(vcpu, &state));
	return kvm_vcpu_set_msrs(vcpu, &host_save, &host_save_address, 1);
}

void trap_shim_merge(const struct trap_shim *shim, struct cpu_state *state)
{
	struct cpu_segment gdtr = take_segment(shim, SAVE_GDTR);
	struct cpu_segment idtr = take_segment(shim, SAVE_IDTR);
	uint64_t event = vmcb_get(shim, VMCB_EVENT_INJECT);

	state->segment[SEG_ES] = take_segment(shim, SAVE_ES);
	state->segment[SEG_CS] = take_segment(shim, SAVE_CS);
	state->segment[SEG_SS] = take_segment(shim, SAVE_SS);
	state->segment[SEG_DS] = take_segment(shim, SAVE_DS);
	state->gdt_base = gdtr.base;
	state->gdt_limit = gdtr.limit;
	state->idt_base = idtr.base;
	state->idt_limit = idtr.limit;
	state->efer = vmcb_get(shim, SAVE_EFER);
	state->cr0 = vmcb_get(shim, SAVE_CR0);
	state->cr2 = vmcb_get(shim, SAVE_CR2);
	state->cr3 = vmcb_get(shim, SAVE_CR3);
	state->cr4 = vmcb_get(shim, SAVE_CR4);
	state->dr6 = vmcb_get(shim, SAVE_DR6);
	state->dr7 = vmcb_get(shim, SAVE_DR7) & ~shim->watch;
	state->rflags = vmcb_get(shim, SAVE_RFLAGS);
	state->rip = vmcb_get(shim, SAVE_RIP);
	state->gpr[GPR_RSP] = vmcb_get(shim, SAVE_RSP);
	state->gpr[GPR_RAX] = vmcb_get(shim, SAVE_RAX);
	state->interrupt_shadow = vmcb_get(shim, VMCB_INT_SHADOW) & 1;
	state->pending_interrupt = 0;
	state->pending_exception = 0;
	state->exception_code = 0;
	if (!(event & EVENT_VALID))
		return;
	if ((event & EVENT_TYPE_MASK) == EVENT_EXCEPTION) {
		state->pending_exception = (uint32_t)(event & 0xFF) | CPU_EVENT_VALID |
					   (event & EVENT_CODE_VALID ? CPU_EVENT_HAS_CODE : 0);
		state->exception_code = (uint32_t)(event >> 32);
	} else {
		state->pending_interrupt = (uint32_t)(event & 0xFF) | CPU_EVENT_VALID;
	}
}

void trap_shim_arm(struct trap_shim *shim)
{
	vmcb_set(shim, VMCB_EXIT_CODE, EXIT_CODE_NONE);
}

bool trap_shim_stopped(const struct trap_shim *shim, const struct kvm_run *run)
{
	/* A guest can do an OUT to this port at this RIP too, but then its VMRUN has not come back. */
	return run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT &&
	       run->io.port == SHIM_PORT && run->s.regs.regs.rip == TRAP_SHIM_ADDRESS + SHIM_OUT_OFFSET &&
	       vmcb_get(shim, VMCB_EXIT_CODE) != EXIT_CODE_NONE;
}

uint64_t trap_shim_code(const struct trap_shim *shim)
{
	return vmcb_get(shim, VMCB_EXIT_CODE);
}

uint64_t trap_shim_rax(const struct trap_shim *shim)
{
	return vmcb_get(shim, SAVE_RAX);
}

uint64_t trap_shim_rsp(const struct trap_shim *shim)
{
	return vmcb_get(shim, SAVE_RSP);
}

uint64_t trap_shim_rflags(const struct trap_shim *shim)
{
	return vmcb_get(shim, SAVE_RFLAGS);
}

uint64_t trap_shim_rip(const struct trap_shim *shim)
{
	return vmcb_get(shim, SAVE_RIP);
}

void trap_shim_finish(struct trap_shim *shim, uint64_t rax, unsigned length)
{
	uint64_t next = vmcb_get(shim, VMCB_NEXT_RIP);

	vmcb_set(shim, SAVE_RIP, next ? next : vmcb_get(shim, SAVE_RIP) + length);
	vmcb_set(shim, SAVE_RAX, rax);
	vmcb_set(shim, SAVE_RFLAGS, vmcb_get(shim, SAVE_RFLAGS) & ~RFLAGS_RF);
	vmcb_set(shim, VMCB_INT_SHADOW, vmcb_get(shim, VMCB_INT_SHADOW) & ~1ull);
	vmcb_set(shim, VMCB_EVENT_INJECT, 0);
}

void trap_shim_undefined(struct trap_shim *shim)
{
	vmcb_set(shim, VMCB_EVENT_INJECT, VECTOR_UD | EVENT_EXCEPTION | EVENT_VALID);
}

void trap_shim_intercept_faults(struct trap_shim *shim, bool on)
{
	shim->intercepts_faults = on;
	bytes_store_u32(vmcb(shim) + VMCB_INTERCEPT_EXCEPTIONS, on ? 1u << VECTOR_GP : 0);
}

bool trap_shim_fault_is_plain(const struct trap_shim *shim)
{
	return !(vmcb_get(shim, VMCB_EXIT_INT_INFO) & EVENT_VALID);
}

void trap_shim_forget_fault(struct trap_shim *shim)
{
	vmcb_set(shim, VMCB_EVENT_INJECT, 0);
	trap_shim_arm(shim);
}

/* Whether a #GP while this exception is delivered makes a double fault: the contributory ones, and #PF. */
static bool doubles(uint64_t vector)
{
	return vector == VECTOR_DE || (vector >= VECTOR_TS && vector <= VECTOR_PF);
}

bool trap_shim_return_fault(struct trap_shim *shim, const struct kvm_run *run, bool sets_rf)
{
	uint64_t delivered = vmcb_get(shim, VMCB_EXIT_INT_INFO);
	uint64_t event = VECTOR_GP | EVENT_EXCEPTION | EVENT_CODE_VALID | EVENT_VALID |
			 vmcb_get(shim, VMCB_EXIT_INFO_1) << 32;

	if (!trap_shim_stopped(shim, run) || trap_shim_code(shim) != TRAP_GENERAL_PROTECTION)
		return false;
	if ((delivered & EVENT_VALID) && (delivered & EVENT_TYPE_MASK) == EVENT_EXCEPTION) {
		uint64_t vector = delivered & 0xFF;

		if (doubles(vector) || vector == VECTOR_DF)
			event = VECTOR_DF | EVENT_EXCEPTION | EVENT_CODE_VALID | EVENT_VALID;
		/* The third one ends the machine, which is for the CPU to do: it shall fault again, unseen by us. */
		if (vector == VECTOR_DF)
			bytes_store_u32(vmcb(shim) + VMCB_INTERCEPT_EXCEPTIONS, 0);
	}
	vmcb_set(shim, VMCB_EVENT_INJECT, event);
	if (sets_rf)
		vmcb_set(shim, SAVE_RFLAGS, vmcb_get(shim, SAVE_RFLAGS) | RFLAGS_RF);
	trap_shim_arm(shim);
	return true;
}

void trap_shim_watch(struct trap_shim *shim, uint64_t bits)
{
	vmcb_set(shim, SAVE_DR7, (vmcb_get(shim, SAVE_DR7) & ~shim->watch) | bits);
	shim->watch = bits;
}

bool trap_shim_was_in_user_mode(const struct trap_shim *shim)
{
	return shim->memory && vmcb(shim)[SAVE_CPL] == 3;
}

bool trap_shim_event_staged(const struct trap_shim *shim)
{
	return (vmcb_get(shim, VMCB_EVENT_INJECT) & EVENT_VALID) != 0;
}

bool trap_shim_interrupt_ready(const struct trap_shim *shim)
{
	return (vmcb_get(shim, SAVE_RFLAGS) & RFLAGS_IF) && !(vmcb_get(shim, VMCB_INT_SHADOW) & 1) &&
	       !trap_shim_event_staged(shim);
}
