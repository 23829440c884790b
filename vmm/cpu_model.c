#include "vmm/cpu_model.h"

#include <string.h>

#define BIT(n) (1u << (n))

enum { LEAF_MAX_BASIC = 7, FLAG_SUBLEAF = KVM_CPUID_FLAG_SIGNIFCANT_INDEX };
#define LEAF_MAX_EXTENDED 0x80000008u
#define LEAF_SVM 0x8000000Au
#define SVM_FEATURE BIT(2) /* Fn8000_0001 ECX */

/*
 * One row a leaf that the guest sees: which bits of the host's it may have, and which are forced on.
 * Bit names: AMD64 APM vol. 3 appendix E; Intel SDM vol. 2A, CPUID.
 */
struct leaf_rule {
	uint32_t leaf;
	struct cpuid_registers keep;
	struct cpuid_registers force;
};

static const struct leaf_rule leaf_rules[] = {
	/* Vendor. Leaves 2 to 6 describe caches, power and MONITOR: absent. */
	{ 0, { 0, ~0u, ~0u, ~0u }, { LEAF_MAX_BASIC, 0, 0, 0 } },
	{ 1,
	  {
		  .eax = 0x0FFF3FFF, /* family, model, stepping */
		  .ebx = 0x0000FF00, /* CLFLUSH size; one CPU with APIC ID 0 */
		  /* SSE3 PCLMULQDQ SSSE3 CMPXCHG16B SSE4.1 SSE4.2 MOVBE POPCNT AES. Not MONITOR, VMX, FMA, PCID,
		   * x2APIC, TSC deadline, XSAVE, AVX, F16C, RDRAND. */
		  .ecx = BIT(0) | BIT(1) | BIT(9) | BIT(13) | BIT(19) | BIT(20) | BIT(22) | BIT(23) | BIT(25),
		  /* FPU VME DE PSE MSR PAE CX8 SEP PGE CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2 SS. Not TSC, MCE,
		   * APIC, MTRR, MCA. */
		  .edx = BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(5) | BIT(6) | BIT(8) | BIT(11) | BIT(13) |
			 BIT(15) | BIT(16) | BIT(17) | BIT(19) | BIT(23) | BIT(24) | BIT(25) | BIT(26) | BIT(27),
	  },
	  { .ebx = BIT(16), .ecx = BIT(31) /* runs under a hypervisor */ } },
	/* FSGSBASE BMI1 SMEP BMI2 ERMS SMAP. Not TSX, RDSEED, AVX2, INVPCID, SHA, PKU, RDPID. */
	{ 7, { .ebx = BIT(0) | BIT(3) | BIT(7) | BIT(8) | BIT(9) | BIT(20) }, { 0, 0, 0, 0 } },
	{ 0x80000000, { 0, ~0u, ~0u, ~0u }, { LEAF_MAX_EXTENDED, 0, 0, 0 } },
	{ 0x80000001,
	  {
		  .eax = ~0u,
		  .ecx = BIT(0) | BIT(5) | BIT(6) | BIT(8), /* LAHF ABM SSE4A PREFETCHW; not SVM */
		  /* Copies of leaf 1, and SYSCALL NX MMXEXT FFXSR 1G pages LM. Not RDTSCP. */
		  .edx = BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(5) | BIT(6) | BIT(8) | BIT(11) | BIT(13) |
			 BIT(15) | BIT(16) | BIT(17) | BIT(20) | BIT(22) | BIT(23) | BIT(24) | BIT(25) |
			 BIT(26) | BIT(29),
	  },
	  { 0, 0, 0, 0 } },
	{ 0x80000002, { ~0u, ~0u, ~0u, ~0u }, { 0, 0, 0, 0 } }, /* brand string */
	{ 0x80000003, { ~0u, ~0u, ~0u, ~0u }, { 0, 0, 0, 0 } },
	{ 0x80000004, { ~0u, ~0u, ~0u, ~0u }, { 0, 0, 0, 0 } },
	{ 0x80000005, { ~0u, ~0u, ~0u, ~0u }, { 0, 0, 0, 0 } }, /* level 1 caches */
	{ 0x80000006, { ~0u, ~0u, ~0u, ~0u }, { 0, 0, 0, 0 } }, /* level 2 caches */
	{ 0x80000007, { 0, 0, 0, 0 }, { 0, 0, 0, 0 } },         /* no invariant TSC */
	{ 0x80000008, { .eax = 0xFFFF }, { 0, 0, 0, 0 } },      /* address sizes */
};

static const struct kvm_cpuid_entry2 *find_leaf(const struct kvm_cpuid_entry2 *entries, unsigned count,
						uint32_t leaf)
{
	for (unsigned i = 0; i < count; i++)
		if (entries[i].function == leaf && entries[i].index == 0)
			return &entries[i];
	return NULL;
}

void cpu_model_derive(struct cpu_model *model, const struct kvm_cpuid_entry2 *supported, unsigned count)
{
	_Static_assert(ARRAY_SIZE(leaf_rules) <= CPU_MODEL_LEAVES, "every rule gives a leaf");
	*model = (struct cpu_model){ .count = 0 };
	for (size_t i = 0; i < ARRAY_SIZE(leaf_rules); i++) {
		const struct leaf_rule *rule = &leaf_rules[i];
		const struct kvm_cpuid_entry2 *host = find_leaf(supported, count, rule->leaf);
		const struct kvm_cpuid_entry2 none = { 0 };

		if (!host)
			host = &none;
		model->entries[model->count++] = (struct kvm_cpuid_entry2){
			.function = rule->leaf,
			.flags = rule->leaf == 7 ? FLAG_SUBLEAF : 0,
			.eax = (host->eax & rule->keep.eax) | rule->force.eax,
			.ebx = (host->ebx & rule->keep.ebx) | rule->force.ebx,
			.ecx = (host->ecx & rule->keep.ecx) | rule->force.ecx,
			.edx = (host->edx & rule->keep.edx) | rule->force.edx,
		};
	}
}

result cpu_model_build(struct cpu_model *model, const struct kvm_vm *vm)
{
	struct kvm_cpuid_entry2 entries[KVM_VM_CPUID_MAX];
	unsigned count;

	TRY(kvm_vm_supported_cpuid(vm, entries, &count));
	cpu_model_derive(model, entries, count);
	return OK;
}

unsigned cpu_model_for_kvm(const struct cpu_model *model, bool trap_shim, struct kvm_cpuid_entry2 *entries)
{
	memcpy(entries, model->entries, model->count * sizeof(*entries));
	if (!trap_shim)
		return model->count;
	for (unsigned i = 0; i < model->count; i++) {
		if (entries[i].function == 0x80000000)
			entries[i].eax = LEAF_SVM;
		else if (entries[i].function == 0x80000001)
			entries[i].ecx |= SVM_FEATURE;
	}
	/* Revision 1 and 8 ASIDs; no optional feature of SVM is needed (APM vol. 3, Fn8000_000A). */
	entries[model->count] = (struct kvm_cpuid_entry2){ .function = LEAF_SVM, .eax = 1, .ebx = 8 };
	return model->count + 1;
}

struct cpuid_registers cpu_model_cpuid(const struct cpu_model *model, uint32_t leaf, uint32_t subleaf)
{
	const struct kvm_cpuid_entry2 *entry = find_leaf(model->entries, model->count, leaf);

	if (!entry || ((entry->flags & FLAG_SUBLEAF) && subleaf != 0))
		return (struct cpuid_registers){ 0, 0, 0, 0 };
	return (struct cpuid_registers){ entry->eax, entry->ebx, entry->ecx, entry->edx };
}
