#include "vmm/boot_elf.h"

#include <elf.h>
#include <string.h>

#include "base/fd.h"
#include "vmm/boot.h"

enum { SEGMENTS_MAX = 32 };
#define ELF_END_MAX (RAM_HOLE_START - BOOT_ELF_ROOM)

result boot_elf_is_elf(int fd, const char *name, bool *is_elf)
{
	uint8_t magic[SELFMAG];
	uint64_t size;

	*is_elf = false;
	TRY(fd_size(fd, name, &size));
	if (size < sizeof(Elf64_Ehdr))
		return OK;
	TRY(fd_read_at(fd, name, 0, magic, sizeof(magic)));
	*is_elf = memcmp(magic, ELFMAG, SELFMAG) == 0;
	return OK;
}

result boot_elf_too_large(const char *name, uint64_t end)
{
	return fail(STATUS_INPUT, "%s does not fit into the guest's memory: give --memory %lluM or more", name,
		    (unsigned long long)((end + BOOT_ELF_ROOM + (1u << 20) - 1) >> 20));
}

static result load_segment(struct ram *ram, int fd, const char *name, const Elf64_Phdr *segment,
			   uint64_t file_size)
{
	uint64_t address = segment->p_paddr;

	if (segment->p_filesz > segment->p_memsz || segment->p_offset > file_size ||
	    segment->p_filesz > file_size - segment->p_offset)
		return fail(STATUS_INPUT,
			    "%s is damaged or cut off: a segment of %llu bytes at offset %llu goes beyond the file's "
			    "%llu bytes",
			    name, (unsigned long long)segment->p_filesz, (unsigned long long)segment->p_offset,
			    (unsigned long long)file_size);
	if (address < BOOT_HIGH_RAM_START)
		return fail(STATUS_INPUT, "%s wants to be loaded at 0x%llx: only addresses from 1 MiB on are free",
			    name, (unsigned long long)address);
	/* Nothing above 4 GiB: the first page tables end there. */
	if (segment->p_memsz > ELF_END_MAX || address > ELF_END_MAX - segment->p_memsz)
		return fail(STATUS_INPUT, "%s has a segment at 0x%llx where a guest has no memory", name,
			    (unsigned long long)address);
	if (!ram_contains(ram, address, segment->p_memsz))
		return boot_elf_too_large(name, address + segment->p_memsz);
	/* What lies behind the file's bytes is zero: memory is fresh. */
	return ram_write_file(ram, address, fd, name, segment->p_offset, segment->p_filesz);
}

result boot_elf_load(struct ram *ram, int fd, const char *name, uint64_t *entry, uint64_t *end)
{
	Elf64_Ehdr header;
	uint64_t size;
	bool loaded = false;

	TRY(fd_size(fd, name, &size));
	TRY(fd_read_at(fd, name, 0, &header, sizeof(header)));
	if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
	    header.e_machine != EM_X86_64 || header.e_type != ET_EXEC)
		return fail(STATUS_INPUT, "%s is not a static 64-bit x86 executable", name);
	if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 || header.e_phnum > SEGMENTS_MAX)
		return fail(STATUS_INPUT, "%s has a damaged program header table", name);
	*entry = header.e_entry;
	*end = 0;
	for (unsigned i = 0; i < header.e_phnum; i++) {
		Elf64_Phdr segment;

		TRY(fd_read_at(fd, name, header.e_phoff + i * sizeof(segment), &segment, sizeof(segment)));
		if (segment.p_type != PT_LOAD || segment.p_memsz == 0)
			continue;
		TRY(load_segment(ram, fd, name, &segment, size));
		if (segment.p_paddr + segment.p_memsz > *end)
			*end = segment.p_paddr + segment.p_memsz;
		loaded = true;
	}
	if (!loaded)
		return fail(STATUS_INPUT, "%s has nothing to load", name);
	if (*entry < BOOT_HIGH_RAM_START || *entry >= *end)
		return fail(STATUS_INPUT, "%s starts at 0x%llx, outside of what it loads", name,
			    (unsigned long long)*entry);
	return OK;
}
