/* Machines at vote points: exported there and imported into a fresh one, a machine goes the same way, exit for exit; an
 * interrupt waits there for its window; and KVM forgets memory that was replaced behind its back. */
#include "tests/unit/guest_machine.h"

#include <string.h>

/* The timer's interrupt every 8 ticks, among exits that ask for the time and others that do not. This all happens in
 * ring 3, with interrupts always on: not every KVM lets ring 3 change that. */
GUEST_CODE(ticking, GUEST_TIMER
		    "mov $8, %al\n"
		    "out %al, $0x40\n"
		    "xor %eax, %eax\n"
		    "out %al, $0x40\n"
		    "1: inc %rbx\n"
		    "mov %rbx, 0x400000\n"
		    "in $0x40, %al\n"
		    "out %al, $0x80\n"
		    "mov $3, %ecx\n"
		    "2: add %rax, %r15\n"
		    "out %al, $0x81\n"
		    "dec %ecx\n"
		    "jnz 2b\n"
		    "jmp 1b\n"
		    ".org ticking_begin + 0x100\n"
		    "push %rax\n"
		    "inc %r12\n"
		    "mov %r12, 0x401000\n"
		    "mov $0x20, %al\n"
		    "out %al, $0x20\n"
		    "pop %rax\n"
		    "iretq");

/* Writes to one address for ever. */
GUEST_CODE(writer, "1: inc %rbx\n"
		   "mov %rbx, 0x400000\n"
		   "out %al, $0x80\n"
		   "jmp 1b");

enum { IDT = 0x300000, GATES = 0x21, HANDLER = 0x100, STEPS = 150, RFLAGS_IF = 0x200 };

static struct guest_machine guest;

static void teardown(void)
{
	guest_machine_destroy(&guest);
}

/* A trap gate for vector 0x20, of ring 3 (AMD64 APM vol. 2, 4.8.4): interrupts stay on. */
static void start_ticking(struct guest_machine *machine)
{
	const uint64_t handler = GUEST_MACHINE_CODE + HANDLER;
	const uint64_t gate[2] = {
		(handler & 0xFFFF) | UINT64_C(0x33) << 16 | UINT64_C(0xEF00) << 32 | (handler >> 16 & 0xFFFF) << 48,
		handler >> 32,
	};
	struct cpu_state state;

	guest_machine_make(machine, ticking_begin, ticking_end);
	must_succeed(ram_write(&machine->ram, IDT + 0x20 * sizeof(gate), gate, sizeof(gate)));
	must_succeed(machine_export(&machine->machine, &state));
	state.idt_base = IDT;
	state.idt_limit = GATES * sizeof(gate) - 1;
	state.rflags |= RFLAGS_IF;
	must_succeed(machine_import(&machine->machine, &state, false));
}

static void vote(struct guest_machine *machine)
{
	ck_assert(machine_can_vote(&machine->machine));
	guest_machine_settle(machine);
	machine_vote_point(&machine->machine);
}

/* One step, and a vote point where every machine has one. */
static void go_on(struct guest_machine *machine, uint64_t votes_every)
{
	ck_assert_int_eq(guest_machine_step(machine), OUTCOME_RUN);
	if (machine->machine.position % votes_every == 0)
		vote(machine);
}

/* The old machine, which has its exit and KVM's state at hand, and new ones that have neither. Interrupts are off: some
 * KVMs tell of an open window late, and when is their own business. */
START_TEST(old_and_new_go_the_same_way)
{
	const uint64_t votes_every = (uint64_t)_i;
	static struct exit_record records[STEPS];
	static struct guest_machine copies[STEPS];
	static struct cpu_state one, other;
	size_t votes = 0;

	guest_machine_make(&guest, ticking_begin, ticking_end);
	for (unsigned i = 0; i < STEPS; i++) {
		go_on(&guest, votes_every);
		records[i] = guest.machine.exit.record;
		if (guest.machine.position % votes_every == 0 && guest.machine.position % 5 == 0) {
			guest_machine_copy(&copies[votes], &guest);
			machine_place(&copies[votes++].machine, guest.machine.position);
		}
	}
	guest_machine_settle(&guest);
	must_succeed(machine_export(&guest.machine, &one));
	ck_assert_uint_gt(votes, 3);
	for (size_t i = 0; i < votes; i++) {
		struct guest_machine *copy = &copies[i];

		while (copy->machine.position < STEPS) {
			go_on(copy, votes_every);
			if (memcmp(&copy->machine.exit.record, &records[copy->machine.position - 1],
				   sizeof(struct exit_record)) != 0)
				ck_abort_msg("made anew at vote %zu, it goes another way at position %ju", i,
					     (uintmax_t)copy->machine.position);
		}
		guest_machine_settle(copy);
		must_succeed(machine_export(&copy->machine, &other));
		ck_assert_mem_eq(&one, &other, sizeof(one));
		ck_assert(memcmp(ram_page(&guest.ram, 0), ram_page(&copy->ram, 0), GUEST_MACHINE_MEMORY) == 0);
		guest_machine_destroy(copy);
	}
}
END_TEST

/* Goes on to where the timer's interrupt waits to be taken. */
static void run_to_interrupt(void)
{
	start_ticking(&guest);
	while (!board_interrupt_pending(guest.board)) {
		ck_assert_uint_lt(guest.machine.position, STEPS);
		(void)guest_machine_step(&guest);
	}
	guest_machine_settle(&guest);
	ck_assert(machine_can_wake(&guest.machine));
}

/* Elsewhere it is delivered at once; at a vote point it waits for the window, in the old machine as in a new one. */
START_TEST(interrupts_wait_at_vote_points)
{
	static struct guest_machine copy;
	struct machine *machines[] = { &guest.machine, &copy.machine };

	run_to_interrupt();
	guest_machine_copy(&copy, &guest);
	machine_vote_point(&guest.machine);
	machine_place(&copy.machine, guest.machine.position);
	for (unsigned i = 0; i < 2; i++) {
		must_succeed(machine_prepare(machines[i]));
		ck_assert_uint_eq(machines[i]->event, 0);
		ck_assert_uint_eq(machines[i]->vcpu.run->request_interrupt_window, 1);
		ck_assert(board_interrupt_pending(machines[i]->board));
	}
	guest_machine_destroy(&copy);
}
END_TEST

START_TEST(interrupts_do_not_wait_elsewhere)
{
	run_to_interrupt();
	/* One position after a vote point is none. */
	machine_vote_point(&guest.machine);
	ck_assert(guest.machine.voted);
	do
		(void)guest_machine_step(&guest);
	while (guest.machine.exit.record.reason == EXIT_INTERRUPT_WINDOW && guest.machine.position < STEPS);
	ck_assert(!guest.machine.voted);
	teardown();
	run_to_interrupt();
	must_succeed(machine_prepare(&guest.machine));
	ck_assert_uint_eq(guest.machine.event, EXIT_EVENT_INTERRUPT | 0x20);
	ck_assert(!board_interrupt_pending(guest.board));
	/* And arrives. */
	enum machine_stop stop = MACHINE_INTERRUPTED;
	uint64_t handled = guest.machine.exit.record.gpr[GPR_R12];

	while (stop == MACHINE_INTERRUPTED)
		must_succeed(machine_run(&guest.machine, &stop));
	ck_assert_uint_eq(guest.machine.exit.record.gpr[GPR_R12], handled + 1);
}
END_TEST

START_TEST(placed)
{
	start_ticking(&guest);
	for (unsigned i = 0; i < 30; i++)
		(void)guest_machine_step(&guest);
	guest_machine_settle(&guest);
	machine_place(&guest.machine, 1000);
	ck_assert_uint_eq(guest.machine.position, 1000);
	ck_assert_uint_eq(guest.machine.exit.record.position, 1000);
	ck_assert_uint_eq(guest.machine.exit.record.reason, 0);
	ck_assert_uint_eq(guest.machine.event, 0);
	ck_assert(guest.machine.voted);
	ck_assert(machine_can_vote(&guest.machine));
	(void)guest_machine_step(&guest);
	ck_assert_uint_eq(guest.machine.exit.record.position, 1001);
	ck_assert(!guest.machine.voted);
}
END_TEST

/* An exception that the exit raised, and that is not delivered yet, would be lost. */
START_TEST(exceptions_stand_against_votes)
{
	start_ticking(&guest);
	(void)guest_machine_step(&guest);
	ck_assert(machine_can_vote(&guest.machine));
	guest.machine.exit.refused = true;
	ck_assert(!machine_can_vote(&guest.machine));
}
END_TEST

/* --- memory that is replaced --- */

static uint64_t read_number(uint64_t address)
{
	uint64_t number;

	must_succeed(ram_read(&guest.ram, address, &number, sizeof(number)));
	return number;
}

/* The third entry of the first page directory maps 4 MiB on: now to 8 MiB. */
static void move_page(void)
{
	struct cpu_state state;

	must_succeed(machine_export(&guest.machine, &state));
	uint64_t directory = state.cr3 + 2ull * RAM_PAGE_SIZE + 2 * sizeof(uint64_t);
	uint64_t entry = read_number(directory);

	ck_assert_uint_eq(entry & ~UINT64_C(0xFFF), 0x400000);
	entry += 0x400000;
	/* Not through the door, as another machine's memory comes. */
	memcpy(guest.ram.memory + directory, &entry, sizeof(entry));
}

/* What KVM has made of page tables and code goes with them. */
START_TEST(replaced_memory_counts)
{
	static const uint8_t longer[] = { 0x48, 0x83, 0xC3, 0x10, 0x90 }; /* add $16, %rbx; nop */

	guest_machine_make(&guest, writer_begin, writer_end);
	for (unsigned i = 0; i < 5; i++)
		(void)guest_machine_step(&guest);
	ck_assert_uint_eq(read_number(0x400000), 5);
	guest_machine_settle(&guest);
	move_page();
	must_succeed(machine_forget_memory(&guest.machine));
	(void)guest_machine_step(&guest);
	ck_assert_uint_eq(read_number(0x400000), 5);
	ck_assert_uint_eq(read_number(0x800000), 6);
	/* Other code at the same place: adds 16, then writes and exits as before. */
	guest_machine_settle(&guest);
	uint8_t code[32];
	/* cppcheck-suppress comparePointers; labels at both ends of one piece of code */
	const size_t rest = (size_t)(writer_end - writer_begin) - 3;

	memcpy(code, longer, sizeof(longer));
	memcpy(code + sizeof(longer), writer_begin + 3, rest);
	code[sizeof(longer) + rest - 1] = (uint8_t)(code[sizeof(longer) + rest - 1] - 2); /* the jump is longer */
	memcpy(guest.ram.memory + GUEST_MACHINE_CODE, code, sizeof(longer) + rest);
	must_succeed(machine_forget_memory(&guest.machine));
	struct cpu_state state;

	must_succeed(machine_export(&guest.machine, &state));
	state.rip = GUEST_MACHINE_CODE;
	must_succeed(machine_import(&guest.machine, &state, false));
	for (unsigned i = 1; i <= 3; i++) {
		(void)guest_machine_step(&guest);
		ck_assert_uint_eq(read_number(0x800000), 6 + 16 * i);
	}
}
END_TEST

static bool is_dirty(const uint64_t *bitmap, uint64_t page)
{
	return bitmap[page / 64] >> (page % 64) & 1;
}

/* What was written before is forgotten, what is written afterwards is not missed. */
START_TEST(dirty_log_begins_anew)
{
	uint64_t bitmap[GUEST_MACHINE_BITMAP];

	guest_machine_make(&guest, writer_begin, writer_end);
	guest_machine_collect_dirty(&guest, bitmap);
	(void)guest_machine_step(&guest);
	must_succeed(machine_forget_memory(&guest.machine));
	guest_machine_collect_dirty(&guest, bitmap);
	ck_assert(!is_dirty(bitmap, 0x400));
	for (unsigned round = 0; round < 3; round++) {
		(void)guest_machine_step(&guest);
		guest_machine_collect_dirty(&guest, bitmap);
		ck_assert(is_dirty(bitmap, 0x400));
		must_succeed(machine_forget_memory(&guest.machine));
	}
}
END_TEST

/* Memory above 4 GiB is a slot of its own. */
START_TEST(both_sides_of_the_hole)
{
	const uint64_t size = RAM_HOLE_START + (UINT64_C(16) << 20);
	uint64_t *bitmap;
	struct kvm_vm vm;
	struct ram ram;

	guest_memory_make(&ram, size);
	ck_assert_uint_gt(ram_high_size(&ram), 0);
	bitmap = calloc(ram_bitmap_words(&ram), sizeof(*bitmap));
	ck_assert_ptr_nonnull(bitmap);
	must_succeed(kvm_vm_create(&vm));
	must_succeed(kvm_vm_map_ram(&vm, &ram));
	for (unsigned i = 0; i < 3; i++) {
		must_succeed(kvm_vm_remap_ram(&vm, &ram));
		must_succeed(kvm_vm_collect_dirty(&vm, &ram, bitmap));
	}
	kvm_vm_destroy(&vm);
	free(bitmap);
	ram_unmap(&ram);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("machine_vote");
	TCase *tests = tcase_create("KVM");
	TCase *memories = tcase_create("memory slots");

	tcase_add_checked_fixture(tests, NULL, teardown);
	tcase_add_loop_test(tests, old_and_new_go_the_same_way, 1, 6);
	tcase_add_test(tests, interrupts_wait_at_vote_points);
	tcase_add_test(tests, interrupts_do_not_wait_elsewhere);
	tcase_add_test(tests, placed);
	tcase_add_test(tests, exceptions_stand_against_votes);
	tcase_add_test(tests, replaced_memory_counts);
	tcase_add_test(tests, dirty_log_begins_anew);
	tcase_set_timeout(tests, 60);
	tcase_add_test(memories, both_sides_of_the_hole);
	if (guest_machine_available("machines at vote points")) {
		suite_add_tcase(suite, tests);
		suite_add_tcase(suite, memories);
	}
	return fixture_run(suite);
}
