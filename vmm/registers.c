#include "vmm/registers.h"

#include <string.h>

#include "base/result.h"

const uint32_t cpu_msr_numbers[CPU_MSR_COUNT] = {
	[CPU_MSR_STAR] = 0xC0000081,       [CPU_MSR_LSTAR] = 0xC0000082,
	[CPU_MSR_CSTAR] = 0xC0000083,      [CPU_MSR_SFMASK] = 0xC0000084,
	[CPU_MSR_KERNEL_GS_BASE] = 0xC0000102, [CPU_MSR_SYSENTER_CS] = 0x174,
	[CPU_MSR_SYSENTER_ESP] = 0x175,    [CPU_MSR_SYSENTER_EIP] = 0x176,
	[CPU_MSR_PAT] = 0x277,
};

#define ALL UINT64_MAX
#define FIELD(member) (uint16_t) offsetof(struct cpu_state, member), (uint16_t)sizeof(((struct cpu_state *)0)->member)
#define REGISTER(label, member) { label, FIELD(member), ALL, NULL, CHANGE_ANY }
#define PRIVILEGED(label, member) { label, FIELD(member), ALL, NULL, CHANGE_PRIVILEGED }
#define SET_UP(label, member) { label, FIELD(member), ALL, NULL, CHANGE_SET_UP }
#define MASKED(label, member, mask, why) { label, FIELD(member), mask, why, CHANGE_ANY }
#define SEGMENT(label, index)                                                                            \
	REGISTER(label ".base", segment[index].base), REGISTER(label ".limit", segment[index].limit),    \
		REGISTER(label ".selector", segment[index].selector),                                    \
		MASKED(label ".attributes", segment[index].attributes, 0xFFF, "a descriptor has 12 attribute bits")
#define X87(label, index)                                                                                 \
	{                                                                                                 \
		label, (uint16_t)offsetof(struct cpu_state, st[index]), 10, ALL,                          \
			"80 bits; the six bytes behind them are reserved (APM vol. 2, 11.5.4)", CHANGE_ANY \
	}

const struct register_info register_table[] = {
	REGISTER("rax", gpr[GPR_RAX]),
	REGISTER("rcx", gpr[GPR_RCX]),
	REGISTER("rdx", gpr[GPR_RDX]),
	REGISTER("rbx", gpr[GPR_RBX]),
	REGISTER("rsp", gpr[GPR_RSP]),
	REGISTER("rbp", gpr[GPR_RBP]),
	REGISTER("rsi", gpr[GPR_RSI]),
	REGISTER("rdi", gpr[GPR_RDI]),
	REGISTER("r8", gpr[GPR_R8]),
	REGISTER("r9", gpr[GPR_R9]),
	REGISTER("r10", gpr[GPR_R10]),
	REGISTER("r11", gpr[GPR_R11]),
	REGISTER("r12", gpr[GPR_R12]),
	REGISTER("r13", gpr[GPR_R13]),
	REGISTER("r14", gpr[GPR_R14]),
	REGISTER("r15", gpr[GPR_R15]),
	REGISTER("rip", rip),
	MASKED("rflags", rflags, 0x3FFFFFull, "bits 63:22 are reserved and read as zero"),
	SEGMENT("es", SEG_ES),
	SEGMENT("cs", SEG_CS),
	SEGMENT("ss", SEG_SS),
	SEGMENT("ds", SEG_DS),
	SEGMENT("fs", SEG_FS),
	SEGMENT("gs", SEG_GS),
	SEGMENT("ldtr", SEG_LDTR),
	SEGMENT("tr", SEG_TR),
	PRIVILEGED("gdtr.base", gdt_base),
	PRIVILEGED("idtr.base", idt_base),
	PRIVILEGED("gdtr.limit", gdt_limit),
	PRIVILEGED("idtr.limit", idt_limit),
	PRIVILEGED("cr0", cr0),
	REGISTER("cr2", cr2),
	PRIVILEGED("cr3", cr3),
	PRIVILEGED("cr4", cr4),
	PRIVILEGED("cr8", cr8),
	SET_UP("efer", efer),
	PRIVILEGED("dr0", dr[0]),
	PRIVILEGED("dr1", dr[1]),
	PRIVILEGED("dr2", dr[2]),
	PRIVILEGED("dr3", dr[3]),
	REGISTER("dr6", dr6),
	PRIVILEGED("dr7", dr7),
	SET_UP("star", msr[CPU_MSR_STAR]),
	SET_UP("lstar", msr[CPU_MSR_LSTAR]),
	SET_UP("cstar", msr[CPU_MSR_CSTAR]),
	SET_UP("sfmask", msr[CPU_MSR_SFMASK]),
	PRIVILEGED("kernel_gs_base", msr[CPU_MSR_KERNEL_GS_BASE]),
	PRIVILEGED("sysenter_cs", msr[CPU_MSR_SYSENTER_CS]), /* 32-bit Linux clears it for tasks in virtual-8086 mode */
	SET_UP("sysenter_esp", msr[CPU_MSR_SYSENTER_ESP]),
	SET_UP("sysenter_eip", msr[CPU_MSR_SYSENTER_EIP]),
	SET_UP("pat", msr[CPU_MSR_PAT]),
	REGISTER("fip", fip),
	REGISTER("fdp", fdp),
	REGISTER("fcw", fcw),
	REGISTER("fsw", fsw),
	MASKED("fop", fop, 0x7FF, "an x87 opcode has 11 bits"),
	MASKED("ftw", ftw, 0xFF, "the abridged tag word has 8 bits"),
	REGISTER("mxcsr", mxcsr),
	REGISTER("interrupt_shadow", interrupt_shadow),
	X87("st0", 0),
	X87("st1", 1),
	X87("st2", 2),
	X87("st3", 3),
	X87("st4", 4),
	X87("st5", 5),
	X87("st6", 6),
	X87("st7", 7),
	REGISTER("xmm0", xmm[0]),
	REGISTER("xmm1", xmm[1]),
	REGISTER("xmm2", xmm[2]),
	REGISTER("xmm3", xmm[3]),
	REGISTER("xmm4", xmm[4]),
	REGISTER("xmm5", xmm[5]),
	REGISTER("xmm6", xmm[6]),
	REGISTER("xmm7", xmm[7]),
	REGISTER("xmm8", xmm[8]),
	REGISTER("xmm9", xmm[9]),
	REGISTER("xmm10", xmm[10]),
	REGISTER("xmm11", xmm[11]),
	REGISTER("xmm12", xmm[12]),
	REGISTER("xmm13", xmm[13]),
	REGISTER("xmm14", xmm[14]),
	REGISTER("xmm15", xmm[15]),
	REGISTER("pending_interrupt", pending_interrupt),
	REGISTER("pending_exception", pending_exception),
	REGISTER("exception_code", exception_code),
	REGISTER("nmi", nmi),
};

const size_t register_count = ARRAY_SIZE(register_table);

const struct register_info *register_find(const char *name)
{
	for (size_t i = 0; i < register_count; i++)
		if (strcmp(register_table[i].name, name) == 0)
			return &register_table[i];
	return NULL;
}

static const uint8_t *register_bytes(const struct cpu_state *state, const struct register_info *info)
{
	return (const uint8_t *)state + info->offset;
}

uint64_t register_value(const struct cpu_state *state, const struct register_info *info)
{
	uint64_t value = 0;

	memcpy(&value, register_bytes(state, info), info->width < 8 ? info->width : 8);
	return value;
}

void register_set_value(struct cpu_state *state, const struct register_info *info, uint64_t value)
{
	memcpy((uint8_t *)state + info->offset, &value, info->width < 8 ? info->width : 8);
}

bool register_flip(struct cpu_state *state, const struct register_info *info, unsigned bit)
{
	if (bit >= 8u * info->width || (bit < 64 && !(info->mask >> bit & 1)))
		return false;
	((uint8_t *)state)[info->offset + bit / 8] ^= (uint8_t)(1u << (bit % 8));
	return true;
}

enum {
	FSW_ERROR_SUMMARY = 1 << 7,
	SEGMENT_PRESENT = 1 << 7,
	SEGMENT_ACCESSED = 1 << 0,
	SEGMENT_TSS_BUSY = 1 << 1,
	SEGMENT_DB = 1 << 10,
	SEGMENT_G = 1 << 11,
};

/* Hardware and KVM keep descriptor bits differently in a VMCB and in kvm_segment; the guest cannot see these
 * differences (a loaded descriptor was accessed, a loaded task register is busy, granularity is in the limit). */
static void canonicalise_segment(struct cpu_segment *segment, enum cpu_segment_name name)
{
	uint16_t attributes = segment->attributes;

	if (!(attributes & SEGMENT_PRESENT)) {
		/* A null segment: base of FS and GS counts all the same, the others mean nothing. */
		if (name != SEG_FS && name != SEG_GS)
			segment->base = 0;
		segment->limit = 0;
		segment->attributes = 0;
		return;
	}
	if (name == SEG_TR)
		attributes |= SEGMENT_TSS_BUSY;
	else if (name != SEG_CS && name != SEG_LDTR && name != SEG_SS)
		attributes |= SEGMENT_ACCESSED;
	attributes = (uint16_t)(attributes & ~SEGMENT_G);
	if (segment->limit > 0xFFFFF)
		attributes |= SEGMENT_G;
	segment->attributes = attributes;
}

void registers_canonicalise(struct cpu_state *state)
{
	for (size_t i = 0; i < register_count; i++) {
		const struct register_info *info = &register_table[i];

		if (info->mask != ALL)
			register_set_value(state, info, register_value(state, info) & info->mask);
	}
	for (size_t i = 0; i < ARRAY_SIZE(state->st); i++)
		memset(&state->st[i][10], 0, 6);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		canonicalise_segment(&state->segment[i], (enum cpu_segment_name)i);
	/* AMD CPUs save the x87 instruction and data pointers only while an exception is pending (APM vol. 2,
	 * 11.4.4); at other times they are left over from whoever ran on that core before. */
	if (!(state->fsw & FSW_ERROR_SUMMARY)) {
		state->fip = 0;
		state->fdp = 0;
		state->fop = 0;
	}
	if (!(state->pending_interrupt & CPU_EVENT_VALID))
		state->pending_interrupt = 0;
	if (!(state->pending_exception & CPU_EVENT_VALID))
		state->pending_exception = 0;
	if (!(state->pending_exception & CPU_EVENT_HAS_CODE))
		state->exception_code = 0;
}

size_t registers_compare(const struct cpu_state *a, const struct cpu_state *b, register_differ *differ,
			 void *context)
{
	size_t count = 0;

	for (size_t i = 0; i < register_count; i++) {
		const struct register_info *info = &register_table[i];

		if (memcmp(register_bytes(a, info), register_bytes(b, info), info->width) == 0)
			continue;
		count++;
		if (differ)
			differ(context, info, register_bytes(a, info), register_bytes(b, info));
	}
	return count;
}

bool registers_equal_if(const struct cpu_state *a, const struct cpu_state *b, enum register_change change)
{
	for (size_t i = 0; i < register_count; i++) {
		const struct register_info *info = &register_table[i];

		if (info->change >= change &&
		    memcmp(register_bytes(a, info), register_bytes(b, info), info->width) != 0)
			return false;
	}
	return true;
}
