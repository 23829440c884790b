/*
 * A kernel, a payload or an initrd with anything in it, for libFuzzer (tests/fuzz/run).
 *
 * The input says what kind of file it is, how long files are, and what is changed in its first pages (see
 * LLVMFuzzerTestOneInput). A loader must refuse it as an input that is wrong, or load it to where there is memory.
 *
 * Sources: base vmm/boot.c vmm/boot_linux.c vmm/boot_payload.c vmm/boot_elf.c vmm/boot_paging.c vmm/acpi.c vmm/ram.c
 * Defect: vmm/boot_linux.c s/(address < image->end)/(address < image->start)/
 */
#include <asm/bootparam.h>
#include <elf.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "tests/fuzz/input.h"
#include "vmm/boot.h"

#define MEMORY (UINT64_C(16) << 20)
/* Files are these bytes, and zeros behind them; their sizes are numbers of 16 bits, doubled so many times at most. */
enum { DOUBLED_MOST = 9, HEAD = 8192, PATCH_MOST = 8, SETUP_HEADER = 0x1F1, MARK = 0xA5 };

enum template { RAW, BZIMAGE, EXECUTABLE, TEMPLATES };

static struct ram ram;
static int kernel_fd, initrd_fd;

static void must(result r)
{
	invariant(!failed(r));
}

static void prepare(void)
{
	int fd;

	must(fd_sealed_memory(&fd, "ram", MEMORY));
	must(ram_map(&ram, fd, MEMORY, true));
	kernel_fd = memfd_create("kernel", MFD_CLOEXEC);
	initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
	invariant(kernel_fd >= 0 && initrd_fd >= 0);
}

/* A bzImage of the smallest kind: a sector of setup behind the first one, two of the kernel. */
static void make_bzimage(uint8_t head[HEAD])
{
	const struct setup_header header = {
		.setup_sects = 1,
		.syssize = 0x40,
		.boot_flag = 0xAA55,
		.jump = 0x66EB,
		.header = 0x53726448,
		.version = 0x020F,
		.loadflags = LOADED_HIGH,
		.xloadflags = XLF_KERNEL_64,
		.initrd_addr_max = 0x7FFFFFFF,
		.kernel_alignment = 0x200000,
		.cmdline_size = BOOT_COMMAND_LINE_MAX - 1,
		.pref_address = 0x200000,
		.init_size = 0x400000,
	};

	memcpy(head + SETUP_HEADER, &header, sizeof(header));
}

/* An executable with a segment that is longer in memory than in the file, and one of another kind. */
static void make_executable(uint8_t head[HEAD])
{
	const Elf64_Ehdr header = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = 0x200000,
		.e_phoff = sizeof(header),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2,
	};
	const Elf64_Phdr segments[] = {
		{ .p_type = PT_LOAD, .p_offset = 0x1000, .p_paddr = 0x200000, .p_filesz = 0x800, .p_memsz = 0x2000 },
		{ .p_type = PT_NOTE, .p_offset = 0x200, .p_filesz = 0x20 },
	};

	memcpy(head, &header, sizeof(header));
	memcpy(head + sizeof(header), segments, sizeof(segments));
}

static void write_file(int fd, const uint8_t *head, uint64_t size)
{
	size_t there = size < HEAD ? (size_t)size : HEAD;

	invariant(ftruncate(fd, 0) == 0 && ftruncate(fd, (off_t)size) == 0);
	invariant(pwrite(fd, head, there, 0) == (ssize_t)there);
}

static void must_be_loaded(const struct boot_source *source, const struct cpu_state *entry, uint64_t initrd_size)
{
	struct boot_params parameters;
	uint8_t first;

	invariant(ram_contains(&ram, entry->rip, 1));
	if (source->kind != BOOT_LINUX)
		return;
	must(ram_read(&ram, BOOT_PARAMETERS, &parameters, sizeof(parameters)));
	invariant(parameters.hdr.ramdisk_size == (source->initrd_fd < 0 ? 0 : initrd_size));
	if (source->initrd_fd < 0)
		return;
	/* Whole, and nothing of the kernel's lies over it. */
	invariant(ram_contains(&ram, parameters.hdr.ramdisk_image, initrd_size));
	must(ram_read(&ram, parameters.hdr.ramdisk_image, &first, 1));
	invariant(first == MARK && parameters.hdr.ramdisk_image + initrd_size > entry->rip);
	if (parameters.hdr.pref_address != 0)
		invariant(parameters.hdr.ramdisk_image >= parameters.hdr.pref_address + parameters.hdr.init_size);
}

static uint64_t next_size(struct input *input)
{
	uint64_t size = input_next(input, 2);

	return size << input_next(input, 1) % (DOUBLED_MOST + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t head[HEAD], initrd[HEAD] = { MARK };
	struct input input = { data, size };
	unsigned kind = (unsigned)input_next(&input, 1);
	uint64_t kernel_size = next_size(&input), initrd_size = next_size(&input);
	struct boot_source source = {
		.kind = kind & 1U ? BOOT_PAYLOAD : BOOT_LINUX,
		.kernel_name = "kernel",
		.initrd_name = "initrd",
		.command_line = "console=ttyS0",
	};
	struct cpu_state entry;
	result r;

	if (ram.memory == NULL)
		prepare();
	memset(head, 0, sizeof(head));
	if ((kind >> 1) % TEMPLATES == BZIMAGE)
		make_bzimage(head);
	else if ((kind >> 1) % TEMPLATES == EXECUTABLE)
		make_executable(head);
	while (input.left > 0) {
		unsigned at = (unsigned)input_next(&input, 2) % (HEAD - PATCH_MOST);

		input_bytes(&input, head + at, 1 + input_next(&input, 1) % PATCH_MOST);
	}
	write_file(kernel_fd, head, kernel_size);
	write_file(initrd_fd, initrd, initrd_size);
	must(ram_clear(&ram));
	source.kernel_fd = kernel_fd;
	source.initrd_fd = source.kind == BOOT_LINUX && kind & 0x80U ? initrd_fd : -1;
	r = boot_load(&ram, &source, &entry);
	if (failed(r))
		invariant((r.failure->status == STATUS_INPUT || r.failure->status == STATUS_USAGE) &&
			  r.failure->message[0] != '\0');
	else
		must_be_loaded(&source, &entry, initrd_size);
	return 0;
}
