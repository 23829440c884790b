#include "vmm/boot_paging.h"

#include <string.h>

#include "vmm/boot.h"

enum {
	PAGE_DIRECTORIES = 4, /* 1 GiB each */
	ENTRIES = 512,
	PTE_PRESENT = 1 << 0,
	PTE_WRITABLE = 1 << 1,
	PTE_USER = 1 << 2,
	PTE_ACCESSED = 1 << 5,
	PTE_DIRTY = 1 << 6,
	PTE_LARGE = 1 << 7,
};
#define LARGE_PAGE 0x200000ull

/* Descriptor attributes (AMD64 APM vol. 2, 4.8; packed as in a VMCB). */
enum {
	CODE_64 = 0xA9B,  /* long, granular, present, execute and read, accessed */
	DATA = 0xC93,     /* big, granular, present, read and write, accessed */
	TSS_BUSY = 0x08B, /* present, busy 64-bit TSS */
	RING_3 = 0x060,
	KERNEL_CS = 0x10, /* __BOOT_CS and __BOOT_DS of the 64-bit boot protocol */
	KERNEL_DS = 0x18,
	USER_CS = 0x33,
	USER_DS = 0x2B,
	/* A 64-bit TSS (AMD64 APM vol. 2, 12.2.5), whose I/O permission bitmap follows it. */
	TSS_SIZE = 0x68,
	TSS_BITMAP_BASE = 0x66,
	TSS_BITMAP_SIZE = 65536 / 8 + 1,
	TSS_LIMIT = TSS_SIZE + TSS_BITMAP_SIZE - 1,
};

/* CR0: PG WP NE ET MP PE. CR4: PAE OSFXSR OSXMMEXCPT. EFER: LME LMA NXE. */
#define CR0_INITIAL 0x80010033ull
#define CR4_INITIAL 0x620ull
#define EFER_INITIAL 0xD00ull
#define RFLAGS_INITIAL 0x2ull
#define RFLAGS_IOPL_3 0x3000ull
#define PAT_POWER_ON 0x0007040600070406ull /* AMD64 APM vol. 2, 7.8.2 */

static result write_tables(struct ram *ram, uint64_t user)
{
	uint64_t table[ENTRIES] = { 0 };
	uint64_t address = BOOT_PAGE_TABLES;
	/* Preset A and D: a CPU that sets them would make pages dirty, at times that are its own business. */
	const uint64_t bits = PTE_PRESENT | PTE_WRITABLE | PTE_ACCESSED | PTE_DIRTY | user;

	table[0] = (address + RAM_PAGE_SIZE) | bits;
	TRY(ram_write(ram, address, table, sizeof(table)));
	address += RAM_PAGE_SIZE;
	for (unsigned i = 0; i < PAGE_DIRECTORIES; i++)
		table[i] = (address + (i + 1) * RAM_PAGE_SIZE) | bits;
	TRY(ram_write(ram, address, table, sizeof(table)));
	for (uint64_t directory = 0; directory < PAGE_DIRECTORIES; directory++) {
		address += RAM_PAGE_SIZE;
		for (uint64_t i = 0; i < ENTRIES; i++)
			table[i] = (directory * ENTRIES + i) * LARGE_PAGE | bits | PTE_LARGE;
		TRY(ram_write(ram, address, table, sizeof(table)));
	}
	return OK;
}

/* A descriptor in memory, from the same attributes. */
static uint64_t descriptor(uint64_t attributes)
{
	return 0x000F00000000FFFFull | (attributes & 0xFF) << 40 | (attributes >> 8 & 0xF) << 52;
}

static result write_gdt(struct ram *ram)
{
	const uint64_t gdt[] = {
		0, 0, descriptor(CODE_64), descriptor(DATA), 0, descriptor(DATA | RING_3), descriptor(CODE_64 | RING_3),
	};

	return ram_write(ram, BOOT_GDT, gdt, sizeof(gdt));
}

/* All I/O ports are open in ring 3. I/O privilege level 3 should be enough, but a KVM without hardware
 * virtualisation drops it and looks into the bitmap. */
static result write_tss(struct ram *ram)
{
	const uint16_t bitmap = TSS_SIZE; /* the bits behind it are zero, as fresh memory is: allowed */
	const uint8_t end = 0xFF;

	TRY(ram_write(ram, BOOT_TSS + TSS_BITMAP_BASE, &bitmap, sizeof(bitmap)));
	return ram_write(ram, BOOT_TSS + TSS_LIMIT, &end, sizeof(end));
}

result boot_paging_enter(struct ram *ram, bool user, struct cpu_state *entry)
{
	uint16_t ring = user ? RING_3 : 0;
	const struct cpu_segment code = {
		.limit = 0xFFFFFFFF,
		.selector = user ? USER_CS : KERNEL_CS,
		.attributes = (uint16_t)(CODE_64 | ring),
	};
	const struct cpu_segment data = {
		.limit = 0xFFFFFFFF,
		.selector = user ? USER_DS : KERNEL_DS,
		.attributes = (uint16_t)(DATA | ring),
	};

	TRY(write_tables(ram, user ? PTE_USER : 0));
	TRY(write_gdt(ram));
	TRY(write_tss(ram));
	memset(entry, 0, sizeof(*entry));
	entry->segment[SEG_CS] = code;
	entry->segment[SEG_SS] = data;
	entry->segment[SEG_DS] = data;
	entry->segment[SEG_ES] = data;
	entry->segment[SEG_FS] = data;
	entry->segment[SEG_GS] = data;
	entry->segment[SEG_TR] = (struct cpu_segment){ .base = BOOT_TSS, .limit = TSS_LIMIT, .attributes = TSS_BUSY };
	entry->gdt_base = BOOT_GDT;
	entry->gdt_limit = 7 * 8 - 1;
	entry->cr0 = CR0_INITIAL;
	entry->cr3 = BOOT_PAGE_TABLES;
	entry->cr4 = CR4_INITIAL;
	entry->efer = EFER_INITIAL;
	entry->rflags = RFLAGS_INITIAL | (user ? RFLAGS_IOPL_3 : 0);
	entry->dr6 = 0xFFFF0FF0; /* power-on values (AMD64 APM vol. 2, table 14-1) */
	entry->dr7 = 0x400;
	entry->msr[CPU_MSR_PAT] = PAT_POWER_ON;
	entry->fcw = 0x37F;
	entry->mxcsr = 0x1F80;
	return OK;
}
