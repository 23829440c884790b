/* The CPU model: an allow list. Whatever a host has, the guest sees nothing that is not on it. */
#include "tests/unit/fixture.h"

#include <string.h>

#include "vmm/cpu_model.h"

#define BIT(n) (UINT32_C(1) << (n))

/* Bits that must never be seen, by leaf and register: nondeterministic, not emulated, or state that is not kept. */
static const struct never {
	uint32_t leaf;
	struct cpuid_registers bits;
	const char *what;
} nevers[] = {
	{ 1, { .ecx = BIT(3) }, "MONITOR" },
	{ 1, { .ecx = BIT(5) }, "VMX" },
	{ 1, { .ecx = BIT(12) }, "FMA" },
	{ 1, { .ecx = BIT(21) }, "x2APIC" },
	{ 1, { .ecx = BIT(24) }, "TSC deadline" },
	{ 1, { .ecx = BIT(26) | BIT(27) }, "XSAVE" },
	{ 1, { .ecx = BIT(28) }, "AVX" },
	{ 1, { .ecx = BIT(30) }, "RDRAND" },
	{ 1, { .edx = BIT(4) }, "TSC" },
	{ 1, { .edx = BIT(7) | BIT(14) }, "MCE, MCA" },
	{ 1, { .edx = BIT(9) }, "APIC" },
	{ 1, { .edx = BIT(12) }, "MTRR" },
	{ 7, { .ebx = BIT(4) | BIT(11) }, "TSX" },
	{ 7, { .ebx = BIT(5) | BIT(16) }, "AVX2, AVX-512" },
	{ 7, { .ebx = BIT(10) }, "INVPCID" },
	{ 7, { .ebx = BIT(18) }, "RDSEED" },
	{ 7, { .ecx = BIT(22) }, "RDPID" },
	{ 0x80000001, { .ecx = BIT(2) }, "SVM" },
	{ 0x80000001, { .edx = BIT(27) }, "RDTSCP" },
	{ 0x80000001, { .edx = BIT(4) }, "TSC" },
	{ 0x80000007, { .edx = BIT(8) }, "invariant TSC" },
	{ 0x80000008, { .ebx = BIT(4) }, "RDPRU" },
};

enum { EVERYTHING = 40 };

/* A host that has every bit of every leaf, and more leaves than anybody knows. */
static unsigned everything(struct kvm_cpuid_entry2 *entries)
{
	unsigned count = 0;

	for (uint32_t leaf = 0; leaf < EVERYTHING / 2; leaf++)
		for (unsigned half = 0; half < 2; half++)
			entries[count++] = (struct kvm_cpuid_entry2){
				.function = leaf | (half ? 0x80000000 : 0),
				.eax = UINT32_MAX,
				.ebx = UINT32_MAX,
				.ecx = UINT32_MAX,
				.edx = UINT32_MAX,
			};
	return count;
}

static struct cpu_model model_of_everything(void)
{
	struct kvm_cpuid_entry2 entries[EVERYTHING];
	struct cpu_model model;

	cpu_model_derive(&model, entries, everything(entries));
	return model;
}

START_TEST(never_seen)
{
	const struct cpu_model model = model_of_everything();
	const struct never *never = &nevers[_i];
	struct cpuid_registers seen = cpu_model_cpuid(&model, never->leaf, 0);

	ck_assert_msg(!(seen.eax & never->bits.eax) && !(seen.ebx & never->bits.ebx) &&
			      !(seen.ecx & never->bits.ecx) && !(seen.edx & never->bits.edx),
		      "the guest sees %s", never->what);
}
END_TEST

START_TEST(wanted)
{
	const struct cpu_model model = model_of_everything();
	struct cpuid_registers one = cpu_model_cpuid(&model, 1, 0);
	struct cpuid_registers extended = cpu_model_cpuid(&model, 0x80000001, 0);

	/* What a 64-bit kernel cannot do without: FPU, PSE, MSR, PAE, CX8, CMOV, FXSR, SSE, SSE2; SYSCALL, NX, LM. */
	const uint32_t needed = BIT(0) | BIT(3) | BIT(5) | BIT(6) | BIT(8) | BIT(15) | BIT(24) | BIT(25) | BIT(26);

	ck_assert_uint_eq(one.edx & needed, needed);
	ck_assert_uint_eq(extended.edx & (BIT(11) | BIT(20) | BIT(29)), BIT(11) | BIT(20) | BIT(29));
	/* It knows that it is virtual; it is alone, and its APIC ID is 0. */
	ck_assert_uint_eq(one.ecx & BIT(31), BIT(31));
	ck_assert_uint_eq(one.ebx, 0x0001FF00);
	ck_assert_uint_eq(cpu_model_cpuid(&model, 0, 0).eax, 7);
	ck_assert_uint_eq(cpu_model_cpuid(&model, 0x80000000, 0).eax, 0x80000008);
	ck_assert_uint_eq(cpu_model_cpuid(&model, 0x80000008, 0).eax, 0xFFFF);
	ck_assert_uint_eq(cpu_model_cpuid(&model, 0x80000008, 0).ecx, 0);
}
END_TEST

/* Every leaf that the model does not have gives zeros, however the host answers. */
START_TEST(other_leaves_are_zero)
{
	const struct cpu_model model = model_of_everything();
	const struct cpuid_registers zero = { 0 };
	const uint32_t absent[] = {
		2, 3, 4, 5, 6, 8, 9, 0xA, 0xB, 0xD, 0xF, 0x10, 0x12, 0x15, 0x16, 0x19, 0x1F, 0x40000000, 0x40000001,
		0x40000100, 0x80000009, 0x8000000A, 0x8000001D, 0x8000001F, 0xC0000000, UINT32_MAX,
	};

	for (size_t i = 0; i < ARRAY_SIZE(absent); i++) {
		struct cpuid_registers seen = cpu_model_cpuid(&model, absent[i], 0);

		ck_assert_msg(memcmp(&seen, &zero, sizeof(zero)) == 0, "leaf 0x%x is seen", absent[i]);
	}
	/* Leaf 7 has one subleaf; the others do not care for theirs. */
	struct cpuid_registers seven = cpu_model_cpuid(&model, 7, 1);

	ck_assert_mem_eq(&seven, &zero, sizeof(zero));
	ck_assert_uint_ne(cpu_model_cpuid(&model, 7, 0).ebx, 0);
	struct cpuid_registers one = cpu_model_cpuid(&model, 1, 0);
	struct cpuid_registers other = cpu_model_cpuid(&model, 1, 99);

	ck_assert_mem_eq(&one, &other, sizeof(one));
}
END_TEST

/* A feature that the host lacks is not made up. */
START_TEST(poor_host)
{
	struct cpu_model model;
	const struct kvm_cpuid_entry2 poor[] = {
		{ .function = 0, .eax = 1, .ebx = 0x68747541, .ecx = 0x444D4163, .edx = 0x69746E65 },
		{ .function = 1, .eax = 0x00800F12, .edx = BIT(0) },
		/* Another subleaf of 7 is not leaf 7. */
		{ .function = 7, .index = 1, .ebx = UINT32_MAX },
	};

	cpu_model_derive(&model, poor, ARRAY_SIZE(poor));
	ck_assert_uint_eq(cpu_model_cpuid(&model, 0, 0).ebx, 0x68747541);
	ck_assert_uint_eq(cpu_model_cpuid(&model, 1, 0).eax, 0x00800F12);
	ck_assert_uint_eq(cpu_model_cpuid(&model, 1, 0).edx, BIT(0));
	ck_assert_uint_eq(cpu_model_cpuid(&model, 1, 0).ecx, BIT(31));
	ck_assert_uint_eq(cpu_model_cpuid(&model, 7, 0).ebx, 0);
	ck_assert_uint_eq(cpu_model_cpuid(&model, 0x80000001, 0).edx, 0);
	ck_assert_uint_le(model.count, CPU_MODEL_LEAVES);
}
END_TEST

/* KVM is told the same; and of SVM, where the shim needs it. */
START_TEST(for_kvm)
{
	const struct cpu_model model = model_of_everything();
	struct kvm_cpuid_entry2 entries[CPU_MODEL_LEAVES + 1];

	ck_assert_uint_eq(cpu_model_for_kvm(&model, false, entries), model.count);
	ck_assert_mem_eq(entries, model.entries, model.count * sizeof(entries[0]));
	ck_assert_uint_eq(cpu_model_for_kvm(&model, true, entries), model.count + 1);
	for (unsigned i = 0; i < model.count; i++) {
		struct kvm_cpuid_entry2 expected = model.entries[i];

		if (expected.function == 0x80000000)
			expected.eax = 0x8000000A;
		if (expected.function == 0x80000001)
			expected.ecx |= BIT(2);
		ck_assert_mem_eq(&entries[i], &expected, sizeof(expected));
	}
	ck_assert_uint_eq(entries[model.count].function, 0x8000000A);
	ck_assert_uint_ge(entries[model.count].ebx, 2); /* one ASID is the host's */
	ck_assert_uint_eq(entries[model.count].edx, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cpu_model");
	TCase *tests = tcase_create("model");

	tcase_add_loop_test(tests, never_seen, 0, (int)ARRAY_SIZE(nevers));
	tcase_add_test(tests, wanted);
	tcase_add_test(tests, other_leaves_are_zero);
	tcase_add_test(tests, poor_host);
	tcase_add_test(tests, for_kvm);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
