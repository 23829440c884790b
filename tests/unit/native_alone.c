#include "tests/unit/native_alone.h"

#include <string.h>

#include "vmm/boot_paging.h"

struct ram alone_ram;
struct cpu_state alone;
struct native_outcome alone_outcome;
static struct native_step *native;

void put_alone(uint64_t address, const void *data, size_t length)
{
	must_succeed(ram_write(&alone_ram, address, data, length));
}

void put_entry_alone(uint64_t table, unsigned index, uint64_t entry)
{
	put_alone(table + 8 * index, &entry, sizeof(entry));
}

void map_alone(uint64_t linear, uint64_t physical, uint64_t bits)
{
	put_entry_alone(TABLES_1, (unsigned)(linear / RAM_PAGE_SIZE), physical | bits);
}

void restart_alone(bool user)
{
	must_succeed(boot_paging_enter(&alone_ram, user, &alone));
	alone.cr3 = ROOT;
	put_entry_alone(ROOT, 0, TABLES_3 | ALL_BITS);
	put_entry_alone(TABLES_3, 0, TABLES_2 | ALL_BITS);
	put_entry_alone(TABLES_2, 0, TABLES_1 | ALL_BITS);
	for (unsigned i = 1; i < 512; i++)
		put_entry_alone(TABLES_2, i, (uint64_t)i << 21 | ALL_BITS | PS);
	for (unsigned i = 0; i < 512; i++)
		put_entry_alone(TABLES_1, i, (uint64_t)i << 12 | ALL_BITS);
	alone.rip = CODE;
	alone.gpr[GPR_RSP] = STACK + 0x800;
	alone.gpr[GPR_R14] = DATA + 0x800;
}

void native_alone_setup(void)
{
	guest_memory_make(&alone_ram, MEMORY);
	must_succeed(native_step_create(&native, &alone_ram));
	restart_alone(true);
}

void native_alone_teardown(void)
{
	native_step_destroy(native);
	ram_unmap(&alone_ram);
}

void run_alone(const struct native_target *target, uint64_t limit)
{
	native_step_run(native, &alone, target, limit, &alone_outcome);
}

void must_do(const char *code, size_t length)
{
	put_alone(alone.rip, code, length);
	run_alone(NULL, 1);
	ck_assert_msg(alone_outcome.end == NATIVE_LIMIT && alone_outcome.executed == 1, "byte %#x: %s",
		      (uint8_t)code[0], alone_outcome.why);
}

void must_stop(const char *code, size_t length, const char *why)
{
	static uint8_t before[MEMORY];
	const struct cpu_state old = alone;

	put_alone(alone.rip, code, length);
	memcpy(before, alone_ram.memory, MEMORY);
	run_alone(NULL, 1);
	ck_assert_msg(alone_outcome.end == NATIVE_STOPPED && alone_outcome.executed == 0, "%s: was executed", why);
	ck_assert_msg(strstr(alone_outcome.why, why) != NULL, "%s: stopped by %s", why, alone_outcome.why);
	ck_assert_mem_eq(&old, &alone, sizeof(alone));
	ck_assert(memcmp(before, alone_ram.memory, MEMORY) == 0);
}
