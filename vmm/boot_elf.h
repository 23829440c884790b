/*
 * Loading of static ELF64 executables for x86-64: vmlinux and payloads.
 */
#ifndef TERCET_VMM_BOOT_ELF_H
#define TERCET_VMM_BOOT_ELF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "vmm/ram.h"

/* Bytes behind an executable's segments that are enough for whatever is put there: a kernel's first allocations,
 * a payload's stack. */
#define BOOT_ELF_ROOM (8u << 20)

/* Whether a file begins like an ELF file. */
must_check result boot_elf_is_elf(int fd, const char *name, bool *is_elf);

/* Loads every PT_LOAD segment at its physical address, which must be RAM from BOOT_HIGH_RAM_START on, and
 * gives the entry point and the first address behind all segments. Segments end BOOT_ELF_ROOM below the hole.
 * Errors: STATUS_INPUT with what is wrong with the file; where memory is too small, how much would do. */
must_check result boot_elf_load(struct ram *ram, int fd, const char *name, uint64_t *entry, uint64_t *end);

/* The failure of an executable that ends at `end`, with how much memory would do. */
must_check result boot_elf_too_large(const char *name, uint64_t end);

#endif
