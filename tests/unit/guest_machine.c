#include "tests/unit/guest_machine.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/boot.h"
#include "vmm/boot_paging.h"

enum { STATE = 16384, TABLES = 6 };

GUEST_CODE(walker, "1: out %al, $0x80\n"
		   "jmp 1b");

bool guest_machine_available(const char *what)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		printf("skip %s: /dev/kvm cannot be opened\n", what);
		return false;
	}
	close(fd);
	return true;
}

static void make_empty(struct guest_machine *guest, bool trap_shim)
{
	memset(guest, 0, sizeof(*guest));
	fixture_init(&guest->fixture);
	const struct board_config config = { .ram_size = GUEST_MACHINE_MEMORY, .out = guest->fixture.board };

	guest_memory_make(&guest->ram, GUEST_MACHINE_MEMORY);
	must_succeed(board_create(&guest->board, &config));
	must_succeed(machine_create(&guest->machine, &guest->ram, guest->board, trap_shim));
}

static void make(struct guest_machine *guest, const uint8_t *code, const uint8_t *code_end, bool trap_shim, bool user)
{
	struct cpu_state entry;

	make_empty(guest, trap_shim);
	must_succeed(ram_write(&guest->ram, GUEST_MACHINE_CODE, code, (uint64_t)(code_end - code)));
	must_succeed(boot_paging_enter(&guest->ram, user, &entry));
	entry.rip = GUEST_MACHINE_CODE;
	entry.gpr[GPR_RSP] = GUEST_MACHINE_CODE - 0x1000;
	must_succeed(machine_import(&guest->machine, &entry, false));
}

void guest_machine_make(struct guest_machine *guest, const uint8_t *code, const uint8_t *code_end)
{
	make(guest, code, code_end, false, true);
}

void guest_machine_make_behind_shim(struct guest_machine *guest, const uint8_t *code, const uint8_t *code_end,
				    bool user)
{
	make(guest, code, code_end, true, user);
}

void guest_machine_destroy(struct guest_machine *guest)
{
	machine_destroy(&guest->machine);
	board_destroy(guest->board);
	ram_unmap(&guest->ram);
}

static enum exit_outcome answer(struct guest_machine *guest)
{
	enum exit_outcome outcome;

	if (machine_exit_is_timed(&guest->machine))
		board_advance(guest->board, board_now(guest->board) + 1000);
	must_succeed(machine_answer(&guest->machine, &outcome));
	return outcome;
}

enum exit_outcome guest_machine_step(struct guest_machine *guest)
{
	enum machine_stop stop;

	must_succeed(machine_prepare(&guest->machine));
	do
		must_succeed(machine_run(&guest->machine, &stop));
	while (stop == MACHINE_INTERRUPTED);
	return answer(guest);
}

void guest_machine_settle(struct guest_machine *guest)
{
	for (;;) {
		bool settled;

		must_succeed(machine_settle(&guest->machine, &settled));
		if (settled)
			return;
		(void)answer(guest);
	}
}

void guest_machine_collect_dirty(struct guest_machine *guest, uint64_t bitmap[GUEST_MACHINE_BITMAP])
{
	memset(bitmap, 0, GUEST_MACHINE_BITMAP * sizeof(*bitmap));
	must_succeed(machine_collect_dirty(&guest->machine, bitmap));
	must_succeed(machine_watch_pages(&guest->machine, bitmap));
}

unsigned guest_machine_dirty_tables(void)
{
	const uint64_t first = BOOT_PAGE_TABLES / RAM_PAGE_SIZE;
	uint64_t dirty[GUEST_MACHINE_BITMAP];
	struct guest_machine guest;
	unsigned tables = 0;

	guest_machine_make(&guest, walker_begin, walker_end);
	(void)guest_machine_step(&guest);
	guest_machine_collect_dirty(&guest, dirty);
	(void)guest_machine_step(&guest);
	guest_machine_collect_dirty(&guest, dirty);
	guest_machine_destroy(&guest);
	for (uint64_t page = 0; page < 64 * ARRAY_SIZE(dirty); page++) {
		if (!(dirty[page / 64] >> page % 64 & 1))
			continue;
		ck_assert_uint_ge(page, first);
		ck_assert_uint_lt(page, first + TABLES);
		tables++;
	}
	/* Three levels lead to a large page. */
	ck_assert(tables == 0 || tables == 3);
	return tables;
}

void guest_machine_copy(struct guest_machine *copy, struct guest_machine *original)
{
	static uint8_t bytes[STATE];
	struct bytes_writer writer = bytes_writer_over(bytes, sizeof(bytes));
	struct cpu_state state;

	make_empty(copy, original->machine.has_shim);
	board_save(original->board, &writer);
	ck_assert(!writer.overflow);
	struct bytes_reader reader = bytes_reader_over(bytes, writer.used);

	must_succeed(board_load(copy->board, &reader));
	must_succeed(ram_write(&copy->ram, 0, ram_page(&original->ram, 0), GUEST_MACHINE_MEMORY));
	must_succeed(machine_export(&original->machine, &state));
	must_succeed(machine_import(&copy->machine, &state, original->machine.halted));
	copy->machine.position = original->machine.position;
}
