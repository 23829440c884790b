/*
 * What a machine starts from: a Linux kernel (bzImage or ELF vmlinux) with its initrd and command line, or a
 * payload. Loading writes guest memory and gives the vCPU's first state; everything read is untrusted.
 *
 * Guest memory below 1 MiB while booting:
 *   0x1000 TSS   0x6000 GDT   0x7000 boot_params   0x8000 random seed   0x9000 page tables (6 pages)
 *   0x20000 command line   0xE0000 ACPI tables
 */
#ifndef TERCET_VMM_BOOT_H
#define TERCET_VMM_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "vmm/ram.h"
#include "vmm/registers.h"

enum {
	BOOT_SEED_SIZE = 64,           /* bytes handed to the kernel's random number generator */
	BOOT_COMMAND_LINE_MAX = 2048,  /* COMMAND_LINE_SIZE of x86 Linux, with the final NUL */
	BOOT_TSS = 0x1000,
	BOOT_GDT = 0x6000,
	BOOT_PARAMETERS = 0x7000,
	BOOT_SEED = 0x8000,
	BOOT_PAGE_TABLES = 0x9000,
	BOOT_COMMAND_LINE = 0x20000,
	BOOT_ACPI = 0xE0000,
	BOOT_ACPI_SIZE = 0x10000,
	BOOT_LOW_RAM_END = 0x9F000,
	BOOT_HIGH_RAM_START = 0x100000,
};

enum boot_kind { BOOT_LINUX, BOOT_PAYLOAD };

struct boot_source {
	enum boot_kind kind;
	int kernel_fd;           /* the kernel, or the payload */
	const char *kernel_name; /* for messages */
	int initrd_fd;           /* -1: none */
	const char *initrd_name;
	const char *command_line; /* that the guest gets: boot_command_line's */
	uint8_t seed[BOOT_SEED_SIZE];
};

/* Loads everything and gives the first state of the vCPU. Errors: STATUS_INPUT with what is wrong with which
 * file, and how much memory would do where the guest is too small. */
must_check result boot_load(struct ram *ram, const struct boot_source *source, struct cpu_state *entry);

/* Whether guests of this kind are kernels, and need the trap shim. */
bool boot_needs_shim(enum boot_kind kind);

/* The command line that a Linux guest gets: the user's, with what tercet must add for one that is not `preempted`. The
 * one place where something is added. Errors: too long. */
must_check result boot_command_line(const char *users, bool preempted, char *line, size_t size);

/* What boot_command_line adds, or "". */
const char *boot_command_line_addition(const char *users, bool preempted);

#endif
