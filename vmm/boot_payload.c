#include "vmm/boot_payload.h"

#include <string.h>

#include "vmm/boot_elf.h"
#include "vmm/boot_paging.h"

enum {
	ARGUMENTS_ROOM = 4096, /* at the very end of RAM */
	STACK_GAP = 4096,      /* between stack and arguments */
	STACK_ROOM = 1 << 20,
};

result boot_payload_load(struct ram *ram, const struct boot_source *source, struct cpu_state *entry)
{
	uint64_t top = ram_low_size(ram);
	uint64_t arguments = top - ARGUMENTS_ROOM;
	size_t length = strlen(source->command_line) + 1;
	uint64_t start, end;

	if (source->initrd_fd >= 0)
		return fail(STATUS_USAGE, "--initrd: a payload takes no initrd");
	if (length > ARGUMENTS_ROOM)
		return fail(STATUS_USAGE, "--append: a payload takes arguments of at most %d characters",
			    ARGUMENTS_ROOM - 1);
	TRY(boot_elf_load(ram, source->kernel_fd, source->kernel_name, &start, &end));
	if (end > top - ARGUMENTS_ROOM - STACK_GAP - STACK_ROOM)
		return boot_elf_too_large(source->kernel_name, end);
	TRY(ram_write(ram, arguments, source->command_line, length));
	TRY(boot_paging_enter(ram, true, entry));
	entry->rip = start;
	entry->gpr[GPR_RSP] = arguments - STACK_GAP;
	entry->gpr[GPR_RDI] = top;
	entry->gpr[GPR_RSI] = arguments;
	return OK;
}
