#include "lockstep/inject_targets.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/checked_word.h"
#include "base/futex.h"
#include "lockstep/control.h"
#include "vmm/machine.h"
#include "vmm/page_walk.h"

/* --- registers --- */

/* Flips the register's bit in `state`. */
static result flip_in(const struct inject_fault *fault, struct cpu_state *state)
{
	const struct register_info *info = register_find(fault->name);

	if (!info)
		return fail(STATUS_USAGE, "there is no register \"%s\" (but rax, cs.base, cr3, xmm0 ...)",
			    fault->name);
	if (fault->bit >= 8ull * info->width || !register_flip(state, info, (unsigned)fault->bit))
		return fail(STATUS_USAGE, "register %s has no bit %llu that means something", fault->name,
			    (unsigned long long)fault->bit);
	return OK;
}

result inject_target_check_register(const struct inject_fault *fault)
{
	struct cpu_state any = { .rip = 0 };

	return flip_in(fault, &any);
}

static bool is_fpu(const struct register_info *info)
{
	return (info->offset >= offsetof(struct cpu_state, fip) &&
		info->offset <= offsetof(struct cpu_state, mxcsr)) ||
	       (info->offset >= offsetof(struct cpu_state, st) &&
		info->offset < offsetof(struct cpu_state, pending_interrupt));
}

result inject_target_check_fpu(const struct inject_fault *fault)
{
	const struct register_info *info = register_find(fault->name);

	if (!info || !is_fpu(info))
		return fail(STATUS_USAGE, "there is no x87 or SSE register \"%s\" (but st0, xmm0, mxcsr, fcw ...)",
			    fault->name);
	return inject_target_check_register(fault);
}

static bool is_equal(const struct register_info *info, const struct cpu_state *a, const struct cpu_state *b)
{
	return memcmp((const uint8_t *)a + info->offset, (const uint8_t *)b + info->offset, info->width) == 0;
}

/* Puts the state in, and looks whether the register is what it should be: some bits are as the CPU or KVM wants
 * them. */
static result import_checked(const struct register_info *info, struct machine *machine,
			     const struct cpu_state *flipped)
{
	struct cpu_state kept;
	result r = machine_import(machine, flipped, machine->halted);

	if (failed(r))
		return fail(STATUS_GUEST, "register %s cannot have that value: %s", info->name, r.failure->message);
	TRY(machine_export(machine, &kept));
	if (!is_equal(info, &kept, flipped))
		return fail(STATUS_GUEST, "register %s does not keep that value", info->name);
	return OK;
}

result inject_target_flip_register(const struct inject_fault *fault, struct inject_context *context)
{
	struct machine *machine = context->machine;
	const struct register_info *info = register_find(fault->name);
	struct cpu_state state, flipped;

	invariant(info);
	TRY(machine_export(machine, &state));
	flipped = state;
	TRY(flip_in(fault, &flipped));
	registers_canonicalise(&flipped);
	if (is_equal(info, &state, &flipped))
		return fail(STATUS_GUEST, "bit %llu of register %s means nothing as the machine stands",
			    (unsigned long long)fault->bit, info->name);
	result r = import_checked(info, machine, &flipped);

	/* A state that was refused may have been taken in part. */
	if (failed(r))
		TRY(machine_import(machine, &state, machine->halted));
	return r;
}

/* --- memory --- */

static result flip_byte(struct ram *ram, uint64_t address, uint64_t bit)
{
	uint8_t byte;

	TRY(ram_read(ram, address, &byte, 1));
	byte ^= (uint8_t)(1u << bit);
	return ram_write(ram, address, &byte, 1);
}

result inject_target_flip_memory(const struct inject_fault *fault, struct inject_context *context)
{
	return flip_byte(context->machine->ram, fault->address, fault->bit);
}

enum { SEGMENT_LONG = 1 << 9 }; /* as in a VMCB (registers.h) */
#define CR0_PG (1ull << 31)
#define EFER_LMA (1ull << 10)

/* The linear address of the code `offset` bytes on: in 64-bit mode the base of CS counts for nothing, outside of it
 * addresses have 32 bits (AMD64 APM vol. 2, 4.5.3 and 1.2.4). */
static uint64_t code_address(const struct cpu_state *state, uint64_t offset)
{
	const struct cpu_segment *cs = &state->segment[SEG_CS];

	if ((state->efer & EFER_LMA) && (cs->attributes & SEGMENT_LONG))
		return state->rip + offset;
	return (uint32_t)(cs->base + state->rip + offset);
}

static result translate(const struct ram *ram, const struct cpu_state *state, uint64_t linear, uint64_t *physical)
{
	if (!page_walk(ram, state, linear, physical))
		return fail(STATUS_GUEST, "the code at 0x%llx is not mapped by page tables of four levels",
			    (unsigned long long)linear);
	return OK;
}

result inject_target_flip_code(const struct inject_fault *fault, struct inject_context *context)
{
	struct ram *ram = context->machine->ram;
	struct cpu_state state;
	uint64_t physical;

	TRY(machine_export(context->machine, &state));
	TRY(translate(ram, &state, code_address(&state, fault->address), &physical));
	return flip_byte(ram, physical, fault->bit);
}

/* The address of the entry of `wanted` level, or of the lowest level above it that there is, on the way to `linear`,
 * which is mapped. */
static result find_entry(const struct ram *ram, const struct cpu_state *state, uint64_t linear, uint64_t wanted,
			 uint64_t *address)
{
	/* AMD64 APM vol. 2, 5.3: nine bits of the address a level; there are no large pages at the top. */
	enum { PTE_LARGE = 1 << 7, BITS = 9, PAGE_SHIFT = 12, ENTRIES = 1 << BITS };
	const uint64_t table_address = 0x000FFFFFFFFFF000;
	uint64_t table = state->cr3 & table_address;

	for (unsigned level = INJECT_TARGET_LEVELS;; level--) {
		uint64_t entry;

		*address = table + sizeof(entry) * (linear >> (PAGE_SHIFT + BITS * (level - 1)) & (ENTRIES - 1));
		TRY(ram_read(ram, *address, &entry, sizeof(entry)));
		if (level == wanted || level == 1 || (level < INJECT_TARGET_LEVELS && (entry & PTE_LARGE)))
			return OK;
		table = entry & table_address;
	}
}

result inject_target_flip_page_table(const struct inject_fault *fault, struct inject_context *context)
{
	struct ram *ram = context->machine->ram;
	struct cpu_state state;
	uint64_t linear, physical, entry;

	TRY(machine_export(context->machine, &state));
	if (!(state.cr0 & CR0_PG))
		return fail(STATUS_GUEST, "the guest has not switched paging on");
	linear = code_address(&state, 0);
	TRY(translate(ram, &state, linear, &physical));
	TRY(find_entry(ram, &state, linear, fault->address, &entry));
	return flip_byte(ram, entry + fault->bit / 8, fault->bit % 8);
}

/* --- devices --- */

/* All devices' state, and where one device's is. */
struct saved_devices {
	uint8_t *bytes;
	size_t used;
	size_t offset, length;
};

static void saved_devices_release(struct saved_devices *saved)
{
	free(saved->bytes);
	saved->bytes = NULL;
}

/* Saves them all. The caller releases what is saved, also after a failure. */
static result save_devices(const struct board *board, struct saved_devices *saved)
{
	*saved = (struct saved_devices){ .bytes = malloc(CONTROL_DEVICES_MAX) };
	if (!saved->bytes)
		return fail(STATUS_FAILED, "no memory for the devices' state");

	struct bytes_writer writer = bytes_writer_over(saved->bytes, CONTROL_DEVICES_MAX);

	board_save(board, &writer);
	invariant(!writer.overflow);
	saved->used = writer.used;
	return OK;
}

static void append_name(char *names, size_t size, const char *name)
{
	size_t used = strlen(names);

	(void)snprintf(names + used, size - used, "%s%s", used > 0 ? ", " : "", name);
}

/* Finds the device that is meant, and flips its bit in what was saved. */
static result flip_saved(const struct inject_fault *fault, const struct board *board, struct saved_devices *saved)
{
	char names[256] = "";
	size_t index = 0;

	while (index < board_device_count(board) && strcmp(board_device_name(board, index), fault->name) != 0)
		append_name(names, sizeof(names), board_device_name(board, index++));
	if (index == board_device_count(board))
		return fail(STATUS_USAGE, "there is no device \"%s\" (but %s)", fault->name, names);
	if (!board_saved_device(saved->bytes, saved->used, index, &saved->offset, &saved->length) ||
	    fault->bit >= 8 * saved->length)
		return fail(STATUS_USAGE, "device %s has %zu bits of state, 0 is the first", fault->name,
			    8 * saved->length);
	saved->bytes[saved->offset + fault->bit / 8] ^= (uint8_t)(1u << (fault->bit % 8));
	return OK;
}

/* A board as every machine has one, for its table, and with as much on its PCI bus as there may be. */
static result make_board(struct board **board)
{
	struct board_pci_device pci[BOARD_PCI_MAX];

	for (size_t i = 0; i < BOARD_PCI_MAX; i++)
		pci[i] = (struct board_pci_device){ .kind = BOARD_PCI_DISK, .disk_size = 512 };
	return board_create(board, &(struct board_config){
					   .ram_size = RAM_SIZE_MIN, .pci = pci, .pci_count = BOARD_PCI_MAX });
}

result inject_target_check_device(const struct inject_fault *fault)
{
	struct saved_devices saved;
	struct board *board;

	TRY(make_board(&board));
	result r = save_devices(board, &saved);

	if (!failed(r))
		r = flip_saved(fault, board, &saved);
	saved_devices_release(&saved);
	board_destroy(board);
	return r;
}

static result load_devices(const struct inject_fault *fault, struct board *board, const struct saved_devices *saved)
{
	struct bytes_reader reader = bytes_reader_over(saved->bytes, saved->used);
	result r = board_load(board, &reader);

	if (failed(r))
		return fail(STATUS_GUEST, "device %s cannot hold that state: %s", fault->name, r.failure->message);
	return OK;
}

result inject_target_flip_device(const struct inject_fault *fault, struct inject_context *context)
{
	struct board *board = context->machine->board;
	struct saved_devices saved;
	result r = save_devices(board, &saved);

	if (!failed(r))
		r = flip_saved(fault, board, &saved);
	if (!failed(r))
		r = load_devices(fault, board, &saved);
	saved_devices_release(&saved);
	return r;
}

/* --- shared memory --- */

static void flip_shared(uint8_t *byte, uint64_t bit)
{
	/* Others read it meanwhile, and words beside it are atomic. */
	atomic_fetch_xor((_Atomic uint8_t *)byte, (uint8_t)(1u << bit));
}

result inject_target_flip_tape(const struct inject_fault *fault, struct inject_context *context)
{
	const struct area *area = context->area;
	const uint64_t written = checked_word_load(&area->control->tape_written, 0);

	if (fault->address >= written)
		return fail(STATUS_GUEST, "the replica has written %llu bytes of tape so far",
			    (unsigned long long)written);
	flip_shared(area->tape.data + ((written - 1 - fault->address) & (area->tape.size - 1)), fault->bit);
	return OK;
}

result inject_target_flip_control(const struct inject_fault *fault, struct inject_context *context)
{
	flip_shared((uint8_t *)context->area->control + fault->address, fault->bit);
	return OK;
}

/* --- the process --- */

result inject_target_kill(const struct inject_fault *fault, struct inject_context *context)
{
	(void)fault;
	(void)context;
	return fail_errno(STATUS_FAILED, pthread_kill(pthread_self(), SIGKILL), "the replica cannot kill itself");
}

result inject_target_stop(const struct inject_fault *fault, struct inject_context *context)
{
	_Atomic uint64_t *until = &context->area->control->stopped_until_ns;

	atomic_store(until, clock_monotonic_ns() + fault->address * NS_PER_S);
	/* To this thread: it stops before the call returns. */
	int failure = pthread_kill(pthread_self(), SIGSTOP);

	atomic_store(until, 0);
	if (failure != 0)
		return fail_errno(STATUS_FAILED, failure, "the replica cannot stop itself");
	return OK;
}

result inject_target_hang(const struct inject_fault *fault, struct inject_context *context)
{
	(void)fault;
	(void)context;
	/* A signal that asks for attention gets none; a core that others need is left to them. */
	for (;;)
		(void)pause();
}

result inject_target_slow(const struct inject_fault *fault, struct inject_context *context)
{
	context->slow_factor = fault->address;
	return OK;
}

/* --- the fault space --- */

static json_t *register_json(const struct register_info *info)
{
	struct cpu_state state = { .rip = 0 };
	const uint8_t *bytes = (const uint8_t *)&state + info->offset;
	char mask[2 * 16 + 3] = "0x";
	json_int_t bits = 0;

	invariant(info->width <= 16);
	for (unsigned bit = 0; bit < 8u * info->width; bit++)
		bits += register_flip(&state, info, bit);
	for (size_t i = 0; i < info->width; i++)
		(void)snprintf(mask + 2 + 2 * i, 3, "%02x", bytes[info->width - 1u - i]);
	return json_pack("{s:s, s:I, s:s, s:b}", "name", info->name, "bits", bits, "mask", mask, "fpu",
			 (int)is_fpu(info));
}

json_t *inject_target_registers_json(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < register_count; i++)
		(void)json_array_append_new(list, register_json(&register_table[i]));
	return list;
}

json_t *inject_target_devices_json(void)
{
	struct saved_devices saved;
	struct board *board;
	json_t *list = NULL;

	if (failed(make_board(&board)))
		return NULL;
	if (!failed(save_devices(board, &saved)))
		list = json_array();
	for (size_t i = 0; list && i < board_device_count(board); i++) {
		bool there = board_saved_device(saved.bytes, saved.used, i, &saved.offset, &saved.length);

		invariant(there);
		(void)json_array_append_new(list, json_pack("{s:s, s:I}", "name", board_device_name(board, i), "bits",
							    8 * (json_int_t)saved.length));
	}
	saved_devices_release(&saved);
	board_destroy(board);
	return list;
}
