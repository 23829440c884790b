#include "vmm/boot_linux.h"

#include <asm/bootparam.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "vmm/acpi.h"
#include "vmm/boot_elf.h"
#include "vmm/boot_paging.h"
#include "vmm/trap_shim.h"

enum {
	HEADER_OFFSET = 0x1F1,       /* of struct setup_header, in the file and in boot_params */
	HEADER_MAGIC = 0x53726448,   /* "HdrS" */
	BOOT_FLAG = 0xAA55,
	PROTOCOL_64_BIT = 0x020C,    /* first version with xloadflags */
	SECTOR = 512,
	DEFAULT_SETUP_SECTORS = 4,
	ENTRY_64 = 0x200,            /* of the 64-bit entry in the protected-mode kernel */
	LOADER_UNDEFINED = 0xFF,
	E820_RAM = 1,
	E820_RESERVED = 2,
	JUMP_SHORT = 0xEB,           /* the header begins and ends with the target of the jump over it */
	HEADER_JUMP_TARGET = 0x202,  /* from which the jump's distance counts */
	VMLINUX_BSS_ROOM = 4 << 20,  /* an ELF kernel's early page tables (brk) lie behind its segments */
	INITRD_ROOM = 32 << 20,      /* that a kernel wants beside itself and its initrd */
};

/* A kernel that cannot be preempted must not calibrate its delay loop: it would wait for a tick that only an exit can
 * bring. 1,000,000 loops a jiffy make delays of a few ns where a PC would wait longer; devices here answer at once. */
static const char delay_loop[] = "lpj=1000000";

/* Whether the user says it (kernel-parameters.txt, lpj=). */
static bool has_delay_loop(const char *line)
{
	const char *word = line;

	while ((word = strstr(word, "lpj=")) != NULL) {
		if (word == line || word[-1] == ' ')
			return true;
		word++;
	}
	return false;
}

const char *boot_command_line_addition(const char *users, bool preempted)
{
	return preempted || has_delay_loop(users) ? "" : delay_loop;
}

result boot_command_line(const char *users, bool preempted, char *line, size_t size)
{
	const char *addition = boot_command_line_addition(users, preempted);
	size_t length = strlen(users), room = addition[0] ? 1 + strlen(addition) : 0;

	if (length + room + 1 > size || length + room + 1 > BOOT_COMMAND_LINE_MAX)
		return fail(STATUS_USAGE, "--append: the kernel's command line may have %zu characters, not %zu",
			    (size_t)BOOT_COMMAND_LINE_MAX - 1 - room, length);
	(void)snprintf(line, size, "%s%s%s", users, length > 0 && room > 0 ? " " : "", addition);
	return OK;
}

struct linux_image {
	struct setup_header header;
	uint64_t entry;
	uint64_t start;
	uint64_t end; /* first address that the kernel does not need while it starts */
};

static result check_header(const struct setup_header *header, const char *name)
{
	if (header->boot_flag != BOOT_FLAG || header->header != HEADER_MAGIC)
		return fail(STATUS_INPUT,
			    "%s is not a Linux kernel: give a bzImage (as /boot/vmlinuz-*) or an ELF vmlinux", name);
	if (header->version < PROTOCOL_64_BIT || !(header->xloadflags & XLF_KERNEL_64) ||
	    !(header->loadflags & LOADED_HIGH))
		return fail(STATUS_INPUT, "%s is not a 64-bit kernel with a 64-bit entry (boot protocol 2.12 or newer)",
			    name);
	return OK;
}

/* A header ends where its jump leads to; what follows in the file is code. A member that the header does not reach
 * is zero (boot.rst, "64-bit BOOT PROTOCOL"). */
static result cut_header(struct setup_header *header, const char *name)
{
	size_t end = HEADER_JUMP_TARGET - HEADER_OFFSET + (header->jump >> 8);

	if ((header->jump & 0xFF) != JUMP_SHORT || end < offsetof(struct setup_header, handover_offset))
		return fail(STATUS_INPUT, "%s is damaged: its setup header is too short", name);
	if (end < sizeof(*header))
		memset((uint8_t *)header + end, 0, sizeof(*header) - end);
	return OK;
}

static result load_bzimage(struct ram *ram, const struct boot_source *source, struct linux_image *image)
{
	struct setup_header *header = &image->header;
	uint64_t size;

	TRY(fd_size(source->kernel_fd, source->kernel_name, &size));
	if (size < HEADER_OFFSET + sizeof(*header))
		return fail(STATUS_INPUT, "%s is not a Linux kernel: it has only %llu bytes", source->kernel_name,
			    (unsigned long long)size);
	TRY(fd_read_at(source->kernel_fd, source->kernel_name, HEADER_OFFSET, header, sizeof(*header)));
	TRY(check_header(header, source->kernel_name));
	TRY(cut_header(header, source->kernel_name));

	uint64_t setup = (uint64_t)(header->setup_sects ? header->setup_sects : DEFAULT_SETUP_SECTORS) + 1;
	uint64_t kernel_offset = setup * SECTOR;
	uint64_t kernel_size = (uint64_t)header->syssize * 16;

	if (size < kernel_offset || size - kernel_offset < kernel_size)
		return fail(STATUS_INPUT, "%s is cut off: it has %llu of %llu bytes", source->kernel_name,
			    (unsigned long long)size, (unsigned long long)(kernel_offset + kernel_size));
	uint64_t need = header->init_size > kernel_size ? header->init_size : kernel_size;

	image->start = header->pref_address;
	if (image->start < BOOT_HIGH_RAM_START || image->start >= RAM_HOLE_START ||
	    need > RAM_HOLE_START - image->start || kernel_size < ENTRY_64)
		return fail(STATUS_INPUT, "%s is damaged: it wants %llu bytes at 0x%llx", source->kernel_name,
			    (unsigned long long)need, (unsigned long long)image->start);
	image->end = image->start + need;
	image->entry = image->start + ENTRY_64;
	if (!ram_contains(ram, image->start, need))
		return fail(STATUS_INPUT, "%s does not fit into the guest's memory: give --memory %lluM or more",
			    source->kernel_name, (unsigned long long)((image->end >> 20) + 16));
	return ram_write_file(ram, image->start, source->kernel_fd, source->kernel_name, kernel_offset, kernel_size);
}

static result load_vmlinux(struct ram *ram, const struct boot_source *source, struct linux_image *image)
{
	TRY(boot_elf_load(ram, source->kernel_fd, source->kernel_name, &image->entry, &image->end));
	_Static_assert(VMLINUX_BSS_ROOM <= BOOT_ELF_ROOM, "the memory that is asked for is enough");
	if (!ram_contains(ram, image->end, VMLINUX_BSS_ROOM))
		return boot_elf_too_large(source->kernel_name, image->end);
	image->end += VMLINUX_BSS_ROOM;
	/* An ELF kernel brings no setup header: these are the fields that a 64-bit kernel reads. */
	image->header = (struct setup_header){
		.boot_flag = BOOT_FLAG,
		.header = HEADER_MAGIC,
		.version = PROTOCOL_64_BIT,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7FFFFFFF,
		.kernel_alignment = 0x200000,
	};
	return OK;
}

static result load_initrd(struct ram *ram, const struct boot_source *source, struct linux_image *image)
{
	uint64_t size;
	uint64_t top = ram_low_size(ram);
	uint64_t limit = (uint64_t)image->header.initrd_addr_max + 1;

	image->header.ramdisk_image = 0;
	image->header.ramdisk_size = 0;
	if (source->initrd_fd < 0)
		return OK;
	TRY(fd_size(source->initrd_fd, source->initrd_name, &size));
	if (size == 0)
		return fail(STATUS_INPUT, "%s is empty", source->initrd_name);
	if (limit > RAM_HOLE_START)
		limit = RAM_HOLE_START;
	if (size > limit || ((limit - size) & ~(uint64_t)(RAM_PAGE_SIZE - 1)) < image->end)
		return fail(STATUS_INPUT,
			    "%s (%llu bytes) does not fit beside the kernel below 0x%llx, where that kernel wants it",
			    source->initrd_name, (unsigned long long)size, (unsigned long long)limit);
	if (top > limit)
		top = limit;
	/* As high as it goes, so that the kernel has one large area below it. */
	uint64_t address = size <= top ? (top - size) & ~(uint64_t)(RAM_PAGE_SIZE - 1) : 0;

	if (address < image->end)
		return fail(STATUS_INPUT,
			    "%s (%llu bytes) does not fit into the guest's memory beside the kernel: give --memory "
			    "%lluM or more",
			    source->initrd_name, (unsigned long long)size,
			    (unsigned long long)((image->end + size + INITRD_ROOM) >> 20));
	TRY(ram_write_file(ram, address, source->initrd_fd, source->initrd_name, 0, size));
	image->header.ramdisk_image = (uint32_t)address;
	image->header.ramdisk_size = (uint32_t)size;
	return OK;
}

static void add_e820(struct boot_params *parameters, uint64_t address, uint64_t size, uint32_t type)
{
	if (size == 0)
		return;
	parameters->e820_table[parameters->e820_entries++] = (struct boot_e820_entry){
		.addr = address,
		.size = size,
		.type = type,
	};
}

static result write_seed(struct ram *ram, const uint8_t *seed)
{
	struct setup_data header = { .next = 0, .type = SETUP_RNG_SEED, .len = BOOT_SEED_SIZE };

	TRY(ram_write(ram, BOOT_SEED, &header, sizeof(header)));
	return ram_write(ram, BOOT_SEED + sizeof(header), seed, BOOT_SEED_SIZE);
}

static result write_acpi(struct ram *ram, uint64_t *root)
{
	static struct acpi_tables tables;

	TRY(acpi_build(&tables, BOOT_ACPI));
	invariant(tables.size <= BOOT_ACPI_SIZE);
	*root = tables.rsdp_address;
	return ram_write(ram, BOOT_ACPI, tables.data, tables.size);
}

static result write_parameters(struct ram *ram, const struct boot_source *source, const struct linux_image *image)
{
	const char *line = source->command_line;
	struct boot_params parameters = { .hdr = image->header };
	uint64_t root;

	if (image->header.cmdline_size && strlen(line) > image->header.cmdline_size)
		return fail(STATUS_USAGE, "--append: %s takes a command line of at most %u characters",
			    source->kernel_name, image->header.cmdline_size);
	TRY(ram_write(ram, BOOT_COMMAND_LINE, line, strlen(line) + 1));
	TRY(write_seed(ram, source->seed));
	TRY(write_acpi(ram, &root));

	parameters.hdr.type_of_loader = LOADER_UNDEFINED;
	parameters.hdr.cmd_line_ptr = BOOT_COMMAND_LINE;
	parameters.hdr.setup_data = BOOT_SEED;
	parameters.acpi_rsdp_addr = root;
	add_e820(&parameters, 0, BOOT_LOW_RAM_END, E820_RAM);
	add_e820(&parameters, BOOT_LOW_RAM_END, BOOT_HIGH_RAM_START - BOOT_LOW_RAM_END, E820_RESERVED);
	add_e820(&parameters, BOOT_HIGH_RAM_START, ram_low_size(ram) - BOOT_HIGH_RAM_START, E820_RAM);
	add_e820(&parameters, TRAP_SHIM_ADDRESS, TRAP_SHIM_SIZE, E820_RESERVED);
	add_e820(&parameters, RAM_HOLE_END, ram_high_size(ram), E820_RAM);
	return ram_write(ram, BOOT_PARAMETERS, &parameters, sizeof(parameters));
}

result boot_linux_load(struct ram *ram, const struct boot_source *source, struct cpu_state *entry)
{
	struct linux_image image = { .entry = 0 };
	bool elf;

	TRY(boot_elf_is_elf(source->kernel_fd, source->kernel_name, &elf));
	if (elf)
		TRY(load_vmlinux(ram, source, &image));
	else
		TRY(load_bzimage(ram, source, &image));
	TRY(load_initrd(ram, source, &image));
	TRY(write_parameters(ram, source, &image));
	TRY(boot_paging_enter(ram, false, entry));
	entry->rip = image.entry;
	entry->gpr[GPR_RSI] = BOOT_PARAMETERS;
	return OK;
}
