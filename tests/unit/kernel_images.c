#include "tests/unit/kernel_images.h"

#include <string.h>

#define MIB (UINT64_C(1) << 20)

struct bzimage bzimage_good(void)
{
	return (struct bzimage){
		.header = {
			.setup_sects = 7,
			.root_flags = 1,
			.vid_mode = 0xFFFF,
			.boot_flag = 0xAA55,
			.jump = 0xEB | (0x26C - 0x202) << 8,
			.header = 0x53726448,
			.version = 0x20F,
			.loadflags = LOADED_HIGH,
			.code32_start = 0x100000,
			.initrd_addr_max = 0x7FFFFFFF,
			.kernel_alignment = 0x200000,
			.relocatable_kernel = 1,
			.min_alignment = 21,
			.xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G,
			.cmdline_size = 2047,
			.payload_offset = 0x123,
			.pref_address = 16 * MIB,
			.init_size = 4 * MIB,
			.handover_offset = 0x190,
			.kernel_info_offset = 0x1234,
		},
		.header_size = 0x26C - BZIMAGE_SETUP_HEADER,
		.kernel_size = 100000 / 16 * 16,
	};
}

uint8_t bzimage_byte(size_t offset)
{
	return (uint8_t)(offset * 7 + 1);
}

uint64_t bzimage_size(const struct bzimage *image)
{
	uint64_t sectors = image->header.setup_sects ? image->header.setup_sects : 4;

	return (1 + sectors) * 512 + image->kernel_size;
}

int bzimage_file(const struct bzimage *image, uint64_t size)
{
	uint64_t full = bzimage_size(image);
	uint64_t setup = full - image->kernel_size;
	uint8_t *bytes = malloc(full);
	struct setup_header header = image->header;

	ck_assert_ptr_nonnull(bytes);
	if (header.syssize == 0)
		header.syssize = (uint32_t)(image->kernel_size / 16);
	memset(bytes, BZIMAGE_CODE_BYTE, setup);
	memcpy(bytes + BZIMAGE_SETUP_HEADER, &header, image->header_size);
	for (size_t i = 0; i < image->kernel_size; i++)
		bytes[setup + i] = bzimage_byte(i);
	if (size > full)
		size = full;
	int fd = guest_memory_file(bytes, size, size);

	free(bytes);
	return fd;
}

uint8_t elf_byte(uint64_t offset)
{
	return (uint8_t)(offset * 13);
}

struct elf_image elf_good(void)
{
	return (struct elf_image){
		.header = {
			.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_version = EV_CURRENT,
			.e_entry = 2 * MIB + 0x10,
			.e_phoff = sizeof(Elf64_Ehdr),
			.e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 3,
		},
		.segments = {
			{ .p_type = PT_LOAD, .p_offset = ELF_DATA, .p_vaddr = 2 * MIB, .p_paddr = 2 * MIB,
			  .p_filesz = 0x1800, .p_memsz = 0x1800 },
			{ .p_type = PT_NOTE, .p_offset = 7, .p_paddr = 0, .p_filesz = 4, .p_memsz = 4 },
			{ .p_type = PT_LOAD, .p_offset = 2 * ELF_DATA, .p_vaddr = UINT64_MAX - 0xFFF,
			  .p_paddr = 4 * MIB + 0x100, .p_filesz = 0x10, .p_memsz = 0x3000 },
		},
		.size = 4 * ELF_DATA,
	};
}

int elf_file(const struct elf_image *image, uint64_t size)
{
	uint8_t *bytes = malloc(image->size);

	ck_assert_ptr_nonnull(bytes);
	for (uint64_t i = 0; i < image->size; i++)
		bytes[i] = elf_byte(i);
	memcpy(bytes, &image->header, sizeof(image->header));
	memcpy(bytes + sizeof(image->header), image->segments, sizeof(image->segments));
	if (size > image->size)
		size = image->size;
	int fd = guest_memory_file(bytes, size, size);

	free(bytes);
	return fd;
}
