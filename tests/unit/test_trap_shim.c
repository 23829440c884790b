/* The trap shim's memory: what is read back from the VMCB, and how trapped instructions end. Entering it needs nested
 * SVM and is the lab's business. */
#include "tests/unit/fixture.h"

#include <string.h>

#include "vmm/trap_shim.h"

/* From the VMCB's start (AMD64 APM vol. 2, tables B-1 and B-2). */
enum {
	VMCB = 0x1000,
	EXCEPTIONS = 0x08,
	INT_SHADOW = 0x68,
	EXIT_CODE = 0x70,
	EXIT_INFO_1 = 0x78,
	EXIT_INT_INFO = 0x88,
	EVENT_INJECT = 0xA8,
	NEXT_RIP = 0xC8,
	SEGMENTS = 0x400,
	EFER = 0x4D0,
	CR4 = 0x548,
	CR3 = 0x550,
	CR0 = 0x558,
	DR7 = 0x560,
	DR6 = 0x568,
	RFLAGS = 0x570,
	RIP = 0x578,
	RSP = 0x5D8,
	RAX = 0x5F8,
	CR2 = 0x640,
};

static uint8_t memory[TRAP_SHIM_SIZE];
static struct trap_shim shim = { .memory = memory };

static void setup(void)
{
	memset(memory, 0, sizeof(memory));
	shim = (struct trap_shim){ .memory = memory };
}

static uint64_t get(unsigned offset)
{
	return bytes_load_u64(memory + VMCB + offset);
}

static void set(unsigned offset, uint64_t value)
{
	bytes_store_u64(memory + VMCB + offset, value);
}

START_TEST(merge)
{
	static const enum cpu_segment_name segments[] = { SEG_ES, SEG_CS, SEG_SS, SEG_DS };
	struct cpu_state state, before;

	memset(&state, 0x77, sizeof(state));
	for (unsigned slot = 0; slot < 10; slot++) {
		uint8_t *at = memory + VMCB + SEGMENTS + 16 * slot;

		bytes_store_u16(at, (uint16_t)(0x100 + slot));
		bytes_store_u16(at + 2, (uint16_t)(0x200 + slot));
		bytes_store_u32(at + 4, 0x300 + slot);
		bytes_store_u64(at + 8, 0x400 + slot);
	}
	const unsigned offsets[] = { EFER, CR4, CR3, CR0, DR7, DR6, RFLAGS, RIP, RSP, RAX, CR2 };

	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++)
		set(offsets[i], 0x1000 + offsets[i]);
	set(INT_SHADOW, 3); /* bit 1 is GUEST_INTERRUPT_MASK */
	before = state;
	trap_shim_merge(&shim, &state);
	for (unsigned i = 0; i < ARRAY_SIZE(segments); i++) {
		const struct cpu_segment *segment = &state.segment[segments[i]];

		ck_assert_uint_eq(segment->selector, 0x100 + i);
		ck_assert_uint_eq(segment->attributes, 0x200 + i);
		ck_assert_uint_eq(segment->limit, 0x300 + i);
		ck_assert_uint_eq(segment->base, 0x400 + i);
	}
	ck_assert_uint_eq(state.gdt_limit, 0x306);
	ck_assert_uint_eq(state.gdt_base, 0x406);
	ck_assert_uint_eq(state.idt_limit, 0x308);
	ck_assert_uint_eq(state.idt_base, 0x408);
	ck_assert_uint_eq(state.efer, 0x1000 + EFER);
	ck_assert_uint_eq(state.cr0, 0x1000 + CR0);
	ck_assert_uint_eq(state.cr2, 0x1000 + CR2);
	ck_assert_uint_eq(state.cr3, 0x1000 + CR3);
	ck_assert_uint_eq(state.cr4, 0x1000 + CR4);
	ck_assert_uint_eq(state.dr6, 0x1000 + DR6);
	ck_assert_uint_eq(state.dr7, 0x1000 + DR7);
	ck_assert_uint_eq(state.rflags, 0x1000 + RFLAGS);
	ck_assert_uint_eq(state.rip, 0x1000 + RIP);
	ck_assert_uint_eq(state.gpr[GPR_RSP], 0x1000 + RSP);
	ck_assert_uint_eq(state.gpr[GPR_RAX], 0x1000 + RAX);
	ck_assert_uint_eq(state.interrupt_shadow, 1);
	ck_assert_uint_eq(state.pending_interrupt, 0);
	ck_assert_uint_eq(state.pending_exception, 0);
	/* What VMRUN does not switch is the vCPU's: FS, GS, LDTR, TR, syscall MSRs, FPU, the other GPRs. */
	ck_assert_mem_eq(&state.segment[SEG_FS], &before.segment[SEG_FS], 4 * sizeof(struct cpu_segment));
	ck_assert_mem_eq(state.msr, before.msr, sizeof(state.msr));
	ck_assert_mem_eq(state.xmm, before.xmm, sizeof(state.xmm));
	ck_assert_mem_eq(&state.gpr[GPR_R8], &before.gpr[GPR_R8], 8 * sizeof(uint64_t));
	ck_assert_uint_eq(state.gpr[GPR_RCX], before.gpr[GPR_RCX]);
	ck_assert_mem_eq(state.dr, before.dr, sizeof(state.dr));
}
END_TEST

/* EVENTINJ (15.20): vector 7:0, type 10:8, error code valid 11, valid 31, error code 63:32. */
static const struct event {
	uint64_t injected;
	uint32_t interrupt, exception, code;
} events[] = {
	{ 0x00000020, 0, 0, 0 }, /* not valid */
	{ 0x80000020, 0x20 | CPU_EVENT_VALID, 0, 0 },
	{ 0x800000FF, 0xFF | CPU_EVENT_VALID, 0, 0 },
	{ 0x80000306, 0, 6 | CPU_EVENT_VALID, 0 },
	{ 0x0000000280000B0E, 0, 14 | CPU_EVENT_VALID | CPU_EVENT_HAS_CODE, 2 },
};

START_TEST(merge_events)
{
	struct cpu_state state;

	memset(&state, 0x77, sizeof(state));
	set(EVENT_INJECT, events[_i].injected);
	trap_shim_merge(&shim, &state);
	ck_assert_uint_eq(state.pending_interrupt, events[_i].interrupt);
	ck_assert_uint_eq(state.pending_exception, events[_i].exception);
	ck_assert_uint_eq(state.exception_code, events[_i].code);
}
END_TEST

static struct kvm_run *shims_out(void)
{
	static struct kvm_run run;

	run = (struct kvm_run){ .exit_reason = KVM_EXIT_IO };
	run.io.direction = KVM_EXIT_IO_OUT;
	run.io.port = 0xE5;
	run.io.size = 1;
	run.io.count = 1;
	run.s.regs.regs.rip = TRAP_SHIM_ADDRESS + 3;
	return &run;
}

START_TEST(stopped)
{
	struct kvm_run *run = shims_out();

	set(EXIT_CODE, TRAP_RDTSC);
	ck_assert(trap_shim_stopped(&shim, run));
	ck_assert_uint_eq(trap_shim_code(&shim), TRAP_RDTSC);
	/* The guest's own OUT, even at this port and this address: no VMRUN has come back. */
	trap_shim_arm(&shim);
	ck_assert(!trap_shim_stopped(&shim, run));
	set(EXIT_CODE, TRAP_CPUID);
	ck_assert(trap_shim_stopped(&shim, run));

	run->exit_reason = KVM_EXIT_HLT;
	ck_assert(!trap_shim_stopped(&shim, run));
	run = shims_out();
	run->io.direction = KVM_EXIT_IO_IN;
	ck_assert(!trap_shim_stopped(&shim, run));
	run = shims_out();
	run->io.port = 0xE4;
	ck_assert(!trap_shim_stopped(&shim, run));
	run = shims_out();
	run->s.regs.regs.rip = TRAP_SHIM_ADDRESS;
	ck_assert(!trap_shim_stopped(&shim, run));
	ck_assert(trap_shim_stopped(&shim, shims_out()));
}
END_TEST

START_TEST(finish)
{
	set(RIP, 0x1000);
	set(RAX, 0xFFFFFFFFFFFFFFFF);
	set(RFLAGS, 0x10202);
	set(INT_SHADOW, 3);
	set(EVENT_INJECT, 0x80000306);
	trap_shim_finish(&shim, 0x12345678, 2);
	ck_assert_uint_eq(trap_shim_rip(&shim), 0x1002);
	ck_assert_uint_eq(trap_shim_rax(&shim), 0x12345678);
	ck_assert_uint_eq(get(RFLAGS), 0x202);
	ck_assert_uint_eq(get(INT_SHADOW), 2);
	ck_assert_uint_eq(get(EVENT_INJECT), 0);
	/* The CPU knows better, where it says. */
	set(NEXT_RIP, 0x1007);
	trap_shim_finish(&shim, 1, 2);
	ck_assert_uint_eq(trap_shim_rip(&shim), 0x1007);
}
END_TEST

START_TEST(interrupts)
{
	set(RFLAGS, 0x202);
	ck_assert(trap_shim_interrupt_ready(&shim));
	set(RFLAGS, 0x2);
	ck_assert(!trap_shim_interrupt_ready(&shim));
	set(RFLAGS, 0x202);
	set(INT_SHADOW, 1);
	ck_assert(!trap_shim_interrupt_ready(&shim));
	set(INT_SHADOW, 2);
	ck_assert(trap_shim_interrupt_ready(&shim));
	set(EVENT_INJECT, 0x80000030);
	ck_assert(trap_shim_event_staged(&shim));
	ck_assert(!trap_shim_interrupt_ready(&shim));
	trap_shim_undefined(&shim);
	ck_assert_uint_eq(get(EVENT_INJECT), 0x80000306);
	ck_assert(!trap_shim_interrupt_ready(&shim));
	/* An event that is not valid is none. */
	set(EVENT_INJECT, 0x306);
	ck_assert(trap_shim_interrupt_ready(&shim));
}
END_TEST

START_TEST(fault_intercept)
{
	struct cpu_state state = { 0 };

	bytes_store_u32(memory + VMCB + EXCEPTIONS + 4, 0x44000);
	trap_shim_intercept_faults(&shim, true);
	ck_assert_uint_eq(get(EXCEPTIONS), UINT64_C(0x44000) << 32 | 1 << 13);
	ck_assert(shim.intercepts_faults);
	trap_shim_intercept_faults(&shim, false);
	ck_assert_uint_eq(get(EXCEPTIONS), UINT64_C(0x44000) << 32);
	ck_assert(!shim.intercepts_faults);

	set(EVENT_INJECT, 0x80000020);
	set(EXIT_CODE, TRAP_GENERAL_PROTECTION);
	ck_assert(trap_shim_fault_is_plain(&shim));
	trap_shim_forget_fault(&shim);
	ck_assert(!trap_shim_event_staged(&shim));
	ck_assert(!trap_shim_stopped(&shim, shims_out()));
	trap_shim_merge(&shim, &state);
	ck_assert_uint_eq(state.pending_interrupt | state.pending_exception, 0);
}
END_TEST

/* What a #GP becomes, by what was being delivered when it came (EXITINTINFO, APM vol. 2, 15.7.3): itself, or a double
 * fault, or the end. */
static const struct fault {
	uint64_t delivered, injected;
	bool intercepted; /* afterwards */
} faults[] = {
	{ 0, UINT64_C(0x12380000B0D), true },
	{ 0x0000030E, UINT64_C(0x12380000B0D), true }, /* not valid */
	{ 0x80000020, UINT64_C(0x12380000B0D), true }, /* an interrupt */
	{ 0x80000480, UINT64_C(0x12380000B0D), true }, /* INT $0x80 */
	{ 0x80000306, UINT64_C(0x12380000B0D), true }, /* #UD */
	{ 0x80000300, 0x80000B08, true },              /* #DE */
	{ 0x80000B0A, 0x80000B08, true },              /* #TS */
	{ 0x80000B0D, 0x80000B08, true },              /* #GP */
	{ 0x80000B0E, 0x80000B08, true },              /* #PF */
	{ 0x80000310, UINT64_C(0x12380000B0D), true }, /* #MF */
	{ 0x80000B08, 0x80000B08, false },             /* #DF */
};

START_TEST(faults_are_returned)
{
	const struct fault *fault = &faults[_i];

	trap_shim_intercept_faults(&shim, true);
	set(EXIT_CODE, TRAP_GENERAL_PROTECTION);
	set(EXIT_INFO_1, 0x123);
	set(EXIT_INT_INFO, fault->delivered);
	set(RFLAGS, 0x202);
	set(RIP, 0x1000);
	ck_assert_int_eq(trap_shim_fault_is_plain(&shim), !(fault->delivered >> 31));
	ck_assert(trap_shim_return_fault(&shim, shims_out(), true));
	ck_assert_uint_eq(get(EVENT_INJECT), fault->injected);
	ck_assert_uint_eq(get(EXCEPTIONS), fault->intercepted ? 1 << 13 : 0);
	ck_assert_uint_eq(get(RFLAGS), 0x10202);
	ck_assert_uint_eq(get(RIP), 0x1000);
	ck_assert(!trap_shim_stopped(&shim, shims_out()));
	ck_assert(!trap_shim_return_fault(&shim, shims_out(), true));
}
END_TEST

/* Some CPUs see to RF themselves, or do without. */
START_TEST(flags_of_faults)
{
	set(RFLAGS, 0x202);
	set(EXIT_CODE, TRAP_GENERAL_PROTECTION);
	ck_assert(trap_shim_return_fault(&shim, shims_out(), false));
	ck_assert_uint_eq(get(RFLAGS), 0x202);
	ck_assert_uint_eq(get(EVENT_INJECT), 0x80000B0D);
}
END_TEST

START_TEST(other_exits_are_no_faults)
{
	struct kvm_run *run = shims_out();

	set(EXIT_CODE, TRAP_RDTSC);
	ck_assert(!trap_shim_return_fault(&shim, run, true));
	set(EXIT_CODE, TRAP_GENERAL_PROTECTION);
	run->exit_reason = KVM_EXIT_HLT;
	ck_assert(!trap_shim_return_fault(&shim, run, true));
	ck_assert_uint_eq(get(EVENT_INJECT), 0);
	ck_assert_uint_eq(get(RFLAGS), 0);
}
END_TEST

/* What we look for with debug registers is not the guest's. */
START_TEST(watches)
{
	struct cpu_state state = { 0 };

	set(DR7, 0x400);
	trap_shim_watch(&shim, 0xA);
	ck_assert_uint_eq(get(DR7), 0x40A);
	trap_shim_merge(&shim, &state);
	ck_assert_uint_eq(state.dr7, 0x400);
	trap_shim_watch(&shim, 0x2);
	ck_assert_uint_eq(get(DR7), 0x402);
	trap_shim_watch(&shim, 0);
	ck_assert_uint_eq(get(DR7), 0x400);
}
END_TEST

/* What is written beside the VMCB belongs to others. */
START_TEST(nothing_else_is_touched)
{
	struct cpu_state state = { 0 };

	memset(memory, 0xA5, sizeof(memory));
	trap_shim_arm(&shim);
	trap_shim_finish(&shim, 1, 2);
	trap_shim_undefined(&shim);
	trap_shim_intercept_faults(&shim, true);
	trap_shim_forget_fault(&shim);
	set(EXIT_CODE, TRAP_GENERAL_PROTECTION);
	ck_assert(trap_shim_return_fault(&shim, shims_out(), true));
	trap_shim_watch(&shim, 0xAA);
	trap_shim_merge(&shim, &state);
	for (size_t i = 0; i < sizeof(memory); i++)
		if ((i < VMCB || i >= VMCB + 0x1000) && memory[i] != 0xA5)
			ck_abort_msg("byte 0x%zx was written", i);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("trap_shim");
	TCase *tests = tcase_create("VMCB");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, merge);
	tcase_add_loop_test(tests, merge_events, 0, (int)ARRAY_SIZE(events));
	tcase_add_test(tests, stopped);
	tcase_add_test(tests, finish);
	tcase_add_test(tests, interrupts);
	tcase_add_test(tests, fault_intercept);
	tcase_add_loop_test(tests, faults_are_returned, 0, (int)ARRAY_SIZE(faults));
	tcase_add_test(tests, flags_of_faults);
	tcase_add_test(tests, other_exits_are_no_faults);
	tcase_add_test(tests, watches);
	tcase_add_test(tests, nothing_else_is_touched);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
