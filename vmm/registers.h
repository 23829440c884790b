/*
 * THE register table: name, place, width, mask and reason of everything a vCPU keeps for its guest.
 * Digests, differences, export, import, injection and reports all read it.
 *
 * `struct cpu_state` is the canonical state: what means something to the guest and nothing else, the same
 * whether the guest runs directly or as the nested guest of the trap shim. Its bytes are a byte format
 * (little-endian, no padding) that is hashed and sent between replicas.
 */
#ifndef TERCET_VMM_REGISTERS_H
#define TERCET_VMM_REGISTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cpu_gpr {
	GPR_RAX, /* the order of the instruction encoding (AMD64 APM vol. 3, table 1-9) */
	GPR_RCX,
	GPR_RDX,
	GPR_RBX,
	GPR_RSP,
	GPR_RBP,
	GPR_RSI,
	GPR_RDI,
	GPR_R8,
	GPR_R9,
	GPR_R10,
	GPR_R11,
	GPR_R12,
	GPR_R13,
	GPR_R14,
	GPR_R15,
	GPR_COUNT
};

enum cpu_segment_name { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEG_COUNT };

/* Attributes as in a VMCB (AMD64 APM vol. 2, appendix B): type 3:0, S 4, DPL 6:5, P 7, AVL 8, L 9, DB 10, G 11 */
struct cpu_segment {
	uint64_t base;
	uint32_t limit;
	uint16_t selector;
	uint16_t attributes;
};

/* MSRs that belong to the guest and pass to it directly (besides FS and GS base, which are segments). */
enum cpu_msr {
	CPU_MSR_STAR,
	CPU_MSR_LSTAR,
	CPU_MSR_CSTAR,
	CPU_MSR_SFMASK,
	CPU_MSR_KERNEL_GS_BASE,
	CPU_MSR_SYSENTER_CS,
	CPU_MSR_SYSENTER_ESP,
	CPU_MSR_SYSENTER_EIP,
	CPU_MSR_PAT,
	CPU_MSR_COUNT
};

/* Their numbers (AMD64 APM vol. 2, appendix A), in the order above. */
extern const uint32_t cpu_msr_numbers[CPU_MSR_COUNT];

#define CPU_EVENT_VALID (1u << 31) /* in pending_interrupt, pending_exception */
#define CPU_EVENT_HAS_CODE (1u << 11)

struct cpu_state {
	uint64_t gpr[GPR_COUNT];
	uint64_t rip;
	uint64_t rflags;
	struct cpu_segment segment[SEG_COUNT];
	uint64_t gdt_base;
	uint64_t idt_base;
	uint32_t gdt_limit;
	uint32_t idt_limit;
	uint64_t cr0, cr2, cr3, cr4, cr8;
	uint64_t efer; /* as the guest sees it: without SVME */
	uint64_t dr[4], dr6, dr7;
	uint64_t msr[CPU_MSR_COUNT];
	uint64_t fip, fdp;
	uint16_t fcw, fsw, fop;
	uint16_t ftw; /* abridged tag word of FXSAVE, 8 bits */
	uint32_t mxcsr;
	uint32_t interrupt_shadow;  /* 1 after STI, MOV SS */
	uint8_t st[8][16];          /* 10 bytes each are the register, the rest is 0 */
	uint8_t xmm[16][16];
	uint32_t pending_interrupt; /* vector | VALID: accepted, not delivered yet */
	uint32_t pending_exception; /* vector | HAS_CODE | VALID: likewise */
	uint32_t exception_code;
	uint32_t nmi;               /* bit 0 pending, bit 1 injected, bit 2 masked */
};

_Static_assert(sizeof(struct cpu_state) % 8 == 0, "the canonical state has no padding");

/* What it takes to change a register. */
enum register_change {
	CHANGE_ANY,        /* any code may */
	CHANGE_PRIVILEGED, /* an instruction that is refused in ring 3 (APM vol. 3, chapter 4 and 5) */
	CHANGE_SET_UP,     /* likewise, and kernels do so when they set up a processor, and never again */
};

struct register_info {
	const char *name;
	uint16_t offset; /* in struct cpu_state */
	uint16_t width;  /* bytes: 2, 4, 8, 10 or 16 */
	uint64_t mask;   /* bits that mean something (of the first 8 bytes); the others are hashed as 0 */
	const char *why; /* why a mask, or NULL */
	enum register_change change;
};

/* The table, in the order of struct cpu_state; covers every byte that is hashed. */
extern const struct register_info register_table[];
extern const size_t register_count;

/* Finds a register by name; NULL if there is none. */
const struct register_info *register_find(const char *name);

/* Clears everything that means nothing to the guest. Idempotent. */
void registers_canonicalise(struct cpu_state *state);

/* The value of up to 8 bytes of a register. */
uint64_t register_value(const struct cpu_state *state, const struct register_info *info);
void register_set_value(struct cpu_state *state, const struct register_info *info, uint64_t value);

/* Flips one bit (0 .. 8 * width - 1) of a register; false if there is no such bit. */
bool register_flip(struct cpu_state *state, const struct register_info *info, unsigned bit);

/* Calls `differ` for each register that differs; returns how many did. */
typedef void register_differ(void *context, const struct register_info *info, const uint8_t *a,
			     const uint8_t *b);
size_t registers_compare(const struct cpu_state *a, const struct cpu_state *b, register_differ *differ,
			 void *context);

/* Whether those are equal that take `change` or more. */
bool registers_equal_if(const struct cpu_state *a, const struct cpu_state *b, enum register_change change);

#endif
