/*
 * Guest memory: a sealed memfd, one checked door for every access from user space, and the set of pages that
 * user space wrote (KVM's dirty log knows only the guest's own writes).
 *
 * RAM lies below the 3 GiB hole and above 4 GiB. A *page number* is an index into the memfd (0 ..
 * ram_pages-1), not a guest-physical frame: ram_page_address gives the guest-physical address.
 */
#ifndef TERCET_VMM_RAM_H
#define TERCET_VMM_RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"

#define RAM_PAGE_SIZE 4096u
#define RAM_HOLE_START 0xC0000000ull /* 3 GiB: devices and the trap shim live from here on */
#define RAM_HOLE_END 0x100000000ull  /* 4 GiB: RAM goes on */
#define RAM_SIZE_MIN (16ull << 20)
#define RAM_SIZE_MAX (64ull << 30)

struct ram {
	int fd; /* not owned */
	uint8_t *memory;
	uint64_t size; /* bytes, a multiple of RAM_PAGE_SIZE */
	bool writable;
	uint64_t *device_dirty; /* one bit a page */
};

/* Checks a size that a user asked for. Errors: STATUS_USAGE with the limits. */
must_check result ram_check_size(uint64_t size);

/* Maps the memory behind `fd`; a read-only one has no dirty set. */
must_check result ram_map(struct ram *ram, int fd, uint64_t size, bool writable);
void ram_unmap(struct ram *ram);

uint64_t ram_pages(const struct ram *ram);
uint64_t ram_low_size(const struct ram *ram);  /* bytes from address 0 on */
uint64_t ram_high_size(const struct ram *ram); /* bytes from 4 GiB on */
uint64_t ram_page_address(const struct ram *ram, uint64_t page);

/* The page number of a guest-physical address; false if there is no RAM. */
bool ram_page_of(const struct ram *ram, uint64_t address, uint64_t *page);

/* Whether all of [address, address + length) is RAM; false for a range that wraps. */
bool ram_contains(const struct ram *ram, uint64_t address, uint64_t length);

/* The door: copies to or from the guest and books written pages as dirty. Errors: not RAM. */
must_check result ram_read(const struct ram *ram, uint64_t address, void *data, uint64_t length);
must_check result ram_write(struct ram *ram, uint64_t address, const void *data, uint64_t length);

/* As ram_write, but not booked as dirty: for what is taken back before anybody asks for it (breakpoint.h). */
must_check result ram_patch(struct ram *ram, uint64_t address, const void *data, uint64_t length);

/* As ram_write, from a file: `length` bytes from `offset` on. */
must_check result ram_write_file(struct ram *ram, uint64_t address, int fd, const char *what, uint64_t offset,
				 uint64_t length);

/* Replaces one page by another machine's. It is not booked as dirty: who replaces pages keeps their hashes, too. */
void ram_replace_page(struct ram *ram, uint64_t page, const uint8_t *content);

/* Makes all of it zero again. Pages that were written since the memory was made, or cleared, are booked as dirty.
 * Errors: the host cannot. */
must_check result ram_clear(struct ram *ram);

/* The next pages at or behind `from` that were ever touched: `*count` of them from `*first` on, none if there are no
 * more (`*first` is ram_pages then). All others are zero; to read one of them would make it exist. Errors: the host
 * cannot tell. */
must_check result ram_next_touched(const struct ram *ram, uint64_t from, uint64_t *first, uint64_t *count);

/* One page's bytes, to hash and compare them. */
const uint8_t *ram_page(const struct ram *ram, uint64_t page);

/* Adds the device-dirty set to `bitmap` (ram_pages bits in 64-bit words) and empties it. */
void ram_collect_dirty(struct ram *ram, uint64_t *bitmap);

/* Number of 64-bit words of a bitmap of this RAM's pages. */
size_t ram_bitmap_words(const struct ram *ram);

#endif
