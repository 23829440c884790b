/*
 * Kernels, initrds and payloads for boot tests: files made by hand, good ones to be damaged field by field.
 */
#ifndef TERCET_TESTS_UNIT_KERNEL_IMAGES_H
#define TERCET_TESTS_UNIT_KERNEL_IMAGES_H

#include <asm/bootparam.h>
#include <elf.h>
#include <stddef.h>

#include "tests/unit/guest_memory.h"
#include "vmm/boot.h"

/* A bzImage: 1 + `setup_sects` sectors, then the protected-mode kernel, whose bytes count from 1 in steps of 1. */
struct bzimage {
	struct setup_header header; /* written over whatever `code` says */
	size_t header_size;         /* how much of it the file has; code bytes follow, all CODE_BYTE */
	size_t kernel_size;
};

enum { BZIMAGE_SETUP_HEADER = 0x1F1, BZIMAGE_CODE_BYTE = 0x90 };

/* A good one, loadable at 16 MiB. */
struct bzimage bzimage_good(void);

/* The file, cut to `size` bytes if that is less; UINT64_MAX for all of it. */
int bzimage_file(const struct bzimage *image, uint64_t size);
uint64_t bzimage_size(const struct bzimage *image);
uint8_t bzimage_byte(size_t offset);

/* An ELF with `count` program headers, and the segments' bytes. */
enum { ELF_SEGMENTS = 4, ELF_DATA = 0x1000 };

struct elf_image {
	Elf64_Ehdr header;
	Elf64_Phdr segments[ELF_SEGMENTS];
	uint64_t size; /* of the file */
};

/* A good one: code at 2 MiB, data with bss at 4 MiB, a note. File bytes at offset o are (uint8_t)(o * 13). */
struct elf_image elf_good(void);
int elf_file(const struct elf_image *image, uint64_t size);
uint8_t elf_byte(uint64_t offset);

#endif
