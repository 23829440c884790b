#include "lockstep/inject.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* Flips the register's bit in `state`. */
static result flip_in(const struct inject_fault *fault, struct cpu_state *state)
{
	const struct register_info *info = register_find(fault->name);

	if (!info)
		return fail(STATUS_USAGE, "--inject: there is no register \"%s\" (but rax, cs.base, cr3, xmm0 ...)",
			    fault->name);
	if (fault->bit >= 8ull * info->width || !register_flip(state, info, (unsigned)fault->bit))
		return fail(STATUS_USAGE, "--inject: register %s has no bit %llu that means something", fault->name,
			    (unsigned long long)fault->bit);
	return OK;
}

static result check_register(const struct inject_fault *fault)
{
	struct cpu_state any = { .rip = 0 };

	return flip_in(fault, &any);
}

static result flip_register(const struct inject_fault *fault, struct machine *machine)
{
	struct cpu_state state;

	TRY(machine_export(machine, &state));
	TRY(flip_in(fault, &state));
	return machine_import(machine, &state, machine->halted);
}

static result check_memory(const struct inject_fault *fault)
{
	if (fault->bit > 7)
		return fail(STATUS_USAGE, "--inject: a byte of memory has bits 0 to 7, not %llu",
			    (unsigned long long)fault->bit);
	return OK;
}

static result flip_memory(const struct inject_fault *fault, struct machine *machine)
{
	uint8_t byte;

	TRY(check_memory(fault));
	TRY(ram_read(machine->ram, fault->address, &byte, 1));
	byte ^= (uint8_t)(1u << fault->bit);
	return ram_write(machine->ram, fault->address, &byte, 1);
}

/* A device's state is flipped where it is saved, and loaded again with all the others. */
static result flip_saved_device(const struct inject_fault *fault, struct machine *machine, uint8_t *bytes,
				size_t size)
{
	struct bytes_writer writer = bytes_writer_over(bytes, size);
	size_t index = 0;
	size_t offset = 0, length = 0;

	while (index < board_device_count(machine->board) &&
	       strcmp(board_device_name(machine->board, index), fault->name) != 0)
		index++;
	if (index == board_device_count(machine->board))
		return fail(STATUS_USAGE, "--inject: there is no device \"%s\"", fault->name);
	board_save(machine->board, &writer);
	invariant(!writer.overflow);
	if (!board_saved_device(bytes, writer.used, index, &offset, &length) || fault->bit >= 8 * length)
		return fail(STATUS_USAGE, "--inject: device %s has %zu bits of state", fault->name, 8 * length);
	bytes[offset + fault->bit / 8] ^= (uint8_t)(1u << (fault->bit % 8));

	struct bytes_reader reader = bytes_reader_over(bytes, writer.used);

	return in_context(board_load(machine->board, &reader), "--inject: device %s cannot hold that state",
			  fault->name);
}

/* Which devices a board has, and how much state, is known where there is one. */
static result check_device(const struct inject_fault *fault)
{
	(void)fault;
	return OK;
}

static result flip_device(const struct inject_fault *fault, struct machine *machine)
{
	enum { SIZE = 16384 };
	uint8_t *bytes = malloc(SIZE);

	if (!bytes)
		return fail(STATUS_FAILED, "no memory for the devices' state");
	result r = flip_saved_device(fault, machine, bytes, SIZE);

	free(bytes);
	return r;
}

struct inject_target {
	const char *name;
	bool named; /* NAME, else ADDRESS */
	result (*check)(const struct inject_fault *fault);
	result (*commit)(const struct inject_fault *fault, struct machine *machine);
};

static const struct inject_target targets[] = {
	{ "reg", true, check_register, flip_register },
	{ "mem", false, check_memory, flip_memory },
	{ "device", true, check_device, flip_device },
};

static bool parse_number(const char *text, uint64_t *number)
{
	char *end;

	errno = 0;
	*number = strtoull(text, &end, 0);
	/* strtoull would skip white space and take a sign. */
	return errno == 0 && *text >= '0' && *text <= '9' && *end == '\0';
}

static result misread(const char *spec)
{
	return fail(STATUS_USAGE,
		    "--inject %s: give REPLICA:TARGET@POSITION, where TARGET is reg:NAME:BIT, mem:ADDRESS:BIT or "
		    "device:NAME:BIT",
		    spec);
}

result inject_parse(const char *spec, unsigned replicas, struct inject_fault *fault)
{
	char text[128];
	uint64_t replica;

	*fault = (struct inject_fault){ .replica = 0 };
	if (strlen(spec) >= sizeof(text))
		return misread(spec);
	memcpy(text, spec, strlen(spec) + 1);

	char *position = strchr(text, '@');
	char *target = strchr(text, ':');
	char *name = target ? strchr(target + 1, ':') : NULL;
	char *bit = name ? strchr(name + 1, ':') : NULL;

	if (!bit || !position || position < bit || strchr(bit + 1, ':'))
		return misread(spec);
	*position = *target = *name = *bit = '\0';
	if (!parse_number(text, &replica) || !parse_number(position + 1, &fault->position) ||
	    !parse_number(bit + 1, &fault->bit))
		return misread(spec);
	if (replica >= replicas)
		return fail(STATUS_USAGE, "--inject %s: replicas are numbered 0 to %u", spec, replicas - 1);
	fault->replica = (uint32_t)replica;
	while (fault->target < ARRAY_SIZE(targets) && strcmp(targets[fault->target].name, target + 1) != 0)
		fault->target++;
	if (fault->target == ARRAY_SIZE(targets))
		return misread(spec);
	if (targets[fault->target].named) {
		if (strlen(name + 1) >= sizeof(fault->name) || name[1] == '\0')
			return misread(spec);
		(void)snprintf(fault->name, sizeof(fault->name), "%s", name + 1);
	} else if (!parse_number(name + 1, &fault->address)) {
		return misread(spec);
	}
	return targets[fault->target].check(fault);
}

result inject_commit(const struct inject_fault *fault, struct machine *machine)
{
	invariant(fault->target < ARRAY_SIZE(targets));
	return targets[fault->target].commit(fault, machine);
}
