/*
 * One guest for tests of what native_step does not do: without a vCPU, with page tables that a test can change.
 */
#ifndef TERCET_TESTS_UNIT_NATIVE_ALONE_H
#define TERCET_TESTS_UNIT_NATIVE_ALONE_H

#include "tests/unit/guest_memory.h"
#include "vmm/native_step.h"

/* The first 2 MiB are mapped by tables of 4 KiB pages, the rest by large ones; all where they are, for everybody and
 * everything, accessed and dirty. */
enum {
	MEMORY = 16 << 20,
	ROOT = 0x800000, /* tables, level by level */
	TABLES_3 = 0x801000,
	TABLES_2 = 0x802000,
	TABLES_1 = 0x803000,
	CODE = 0x10000, /* RIP */
	DATA = 0x20000, /* R14 is 0x800 bytes behind it */
	OTHER = 0x21000,
	STACK = 0x30000, /* RSP likewise */
	/* Entries (AMD64 APM vol. 2, 5.4). */
	P = 1,
	W = 2,
	U = 4,
	A = 0x20,
	D = 0x40,
	PS = 0x80,
	ALL_BITS = P | W | U | A | D,
};
#define NX (UINT64_C(1) << 63)

/* Bits of registers (APM vol. 2, 3.1). */
#define CR0_WP (UINT64_C(1) << 16)
#define CR0_TS (UINT64_C(1) << 3)
#define CR0_AM (UINT64_C(1) << 18)
#define CR4_SMEP (UINT64_C(1) << 20)
#define CR4_SMAP (UINT64_C(1) << 21)
#define CR4_LA57 (UINT64_C(1) << 12)
#define FLAG_TF 0x100u
#define FLAG_IF 0x200u
#define FLAG_AC 0x40000u
#define FLAG_RF 0x10000u

/* The one guest of a test program, where it stands, and how its last run ended. */
extern struct ram alone_ram;
extern struct cpu_state alone;
extern struct native_outcome alone_outcome;

/* For a fixture: makes the guest in ring 3, and ends it. */
void native_alone_setup(void);
void native_alone_teardown(void);

/* Makes registers and page tables as at first, in ring 3 or 0. */
void restart_alone(bool user);

/* Writes guest memory, or an entry of a page table; and that of a page of the first 2 MiB. */
void put_alone(uint64_t address, const void *data, size_t length);
void put_entry_alone(uint64_t table, unsigned index, uint64_t entry);
void map_alone(uint64_t linear, uint64_t physical, uint64_t bits);

/* native_step_run. */
void run_alone(const struct native_target *target, uint64_t limit);

/* Writes `code` where RIP is. It must be executed as one instruction; or it must not, and no register and no byte of
 * memory may change, and `why` must be among the words that say so. */
void must_do(const char *code, size_t length);
void must_stop(const char *code, size_t length, const char *why);
#define DO(code) must_do(code, sizeof(code) - 1)
#define STOP(code, why) must_stop(code, sizeof(code) - 1, why)

#define LOAD "\x49\x8B\x06"  /* mov (%r14), %rax */
#define STORE "\x49\x89\x06" /* mov %rax, (%r14) */
#define ADD_TO "\x49\x01\x06" /* add %rax, (%r14) */

#endif
