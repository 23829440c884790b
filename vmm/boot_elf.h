/*
 * Loading of static ELF64 executables for x86-64: vmlinux and payloads.
 */
#ifndef TERCET_VMM_BOOT_ELF_H
#define TERCET_VMM_BOOT_ELF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "vmm/ram.h"

/* Whether a file begins like an ELF file. */
must_check result boot_elf_is_elf(int fd, const char *name, bool *is_elf);

/* Loads every PT_LOAD segment at its physical address, which must be RAM from BOOT_HIGH_RAM_START on, and
 * gives the entry point and the first address behind all segments.
 * Errors: STATUS_INPUT with what is wrong with the file; where memory is too small, how much would do. */
must_check result boot_elf_load(struct ram *ram, int fd, const char *name, uint64_t *entry, uint64_t *end);

#endif
