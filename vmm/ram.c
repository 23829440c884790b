#include "vmm/ram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

result ram_check_size(uint64_t size)
{
	if (size < RAM_SIZE_MIN || size > RAM_SIZE_MAX || size % RAM_PAGE_SIZE != 0)
		return fail(STATUS_USAGE,
			    "--memory: a guest of %llu bytes is not possible: give 16M to 64G, in whole pages of 4 KiB",
			    (unsigned long long)size);
	return OK;
}

result ram_map(struct ram *ram, int fd, uint64_t size, bool writable)
{
	void *memory;

	*ram = (struct ram){ .fd = fd, .size = size, .writable = writable };
	TRY(fd_check_sealed(fd, "guest RAM", size));
	TRY(fd_map(fd, "guest RAM", size, writable, &memory));
	ram->memory = memory;
	if (writable) {
		ram->device_dirty = calloc(ram_bitmap_words(ram), sizeof(uint64_t));
		if (!ram->device_dirty) {
			ram_unmap(ram);
			return fail(STATUS_FAILED, "no memory for the dirty set of %llu bytes of guest RAM",
				    (unsigned long long)size);
		}
	}
	return OK;
}

void ram_unmap(struct ram *ram)
{
	fd_unmap(ram->memory, ram->size);
	free(ram->device_dirty);
	*ram = (struct ram){ .fd = -1 };
}

uint64_t ram_pages(const struct ram *ram)
{
	return ram->size / RAM_PAGE_SIZE;
}

size_t ram_bitmap_words(const struct ram *ram)
{
	return (size_t)((ram_pages(ram) + 63) / 64);
}

uint64_t ram_low_size(const struct ram *ram)
{
	return ram->size < RAM_HOLE_START ? ram->size : RAM_HOLE_START;
}

uint64_t ram_high_size(const struct ram *ram)
{
	return ram->size - ram_low_size(ram);
}

uint64_t ram_page_address(const struct ram *ram, uint64_t page)
{
	uint64_t offset = page * RAM_PAGE_SIZE;

	return offset < ram_low_size(ram) ? offset : offset - RAM_HOLE_START + RAM_HOLE_END;
}

/* The offset into the memfd of a range that must be RAM and must not cross the hole. */
static bool ram_offset(const struct ram *ram, uint64_t address, uint64_t length, uint64_t *offset)
{
	uint64_t low = ram_low_size(ram);
	uint64_t high = ram_high_size(ram);

	if (address <= low && length <= low - address) {
		*offset = address;
		return true;
	}
	if (address >= RAM_HOLE_END && address - RAM_HOLE_END <= high &&
	    length <= high - (address - RAM_HOLE_END)) {
		*offset = address - RAM_HOLE_END + low;
		return true;
	}
	return false;
}

bool ram_contains(const struct ram *ram, uint64_t address, uint64_t length)
{
	uint64_t offset;

	return ram_offset(ram, address, length, &offset);
}

bool ram_page_of(const struct ram *ram, uint64_t address, uint64_t *page)
{
	uint64_t offset;

	if (!ram_offset(ram, address, 1, &offset))
		return false;
	*page = offset / RAM_PAGE_SIZE;
	return true;
}

static result ram_door(const struct ram *ram, uint64_t address, uint64_t length, uint64_t *offset)
{
	if (!ram_offset(ram, address, length, offset))
		return fail(STATUS_GUEST, "guest address 0x%llx with %llu bytes is not in guest RAM",
			    (unsigned long long)address, (unsigned long long)length);
	return OK;
}

static void ram_mark(struct ram *ram, uint64_t offset, uint64_t length)
{
	if (length == 0)
		return;
	for (uint64_t page = offset / RAM_PAGE_SIZE; page <= (offset + length - 1) / RAM_PAGE_SIZE; page++)
		ram->device_dirty[page / 64] |= 1ull << (page % 64);
}

result ram_read(const struct ram *ram, uint64_t address, void *data, uint64_t length)
{
	uint64_t offset;

	TRY(ram_door(ram, address, length, &offset));
	memcpy(data, ram->memory + offset, length);
	return OK;
}

result ram_write(struct ram *ram, uint64_t address, const void *data, uint64_t length)
{
	uint64_t offset;

	invariant(ram->writable);
	TRY(ram_door(ram, address, length, &offset));
	memcpy(ram->memory + offset, data, length);
	ram_mark(ram, offset, length);
	return OK;
}

result ram_patch(struct ram *ram, uint64_t address, const void *data, uint64_t length)
{
	uint64_t offset;

	invariant(ram->writable);
	TRY(ram_door(ram, address, length, &offset));
	memcpy(ram->memory + offset, data, length);
	return OK;
}

result ram_write_file(struct ram *ram, uint64_t address, int fd, const char *what, uint64_t offset,
		      uint64_t length)
{
	uint64_t target;

	invariant(ram->writable);
	TRY(ram_door(ram, address, length, &target));
	TRY(fd_read_at(fd, what, offset, ram->memory + target, length));
	ram_mark(ram, target, length);
	return OK;
}

/* What nobody ever touched is a hole in the file. */
result ram_next_touched(const struct ram *ram, uint64_t from, uint64_t *first, uint64_t *count)
{
	off_t hole, data = lseek(ram->fd, (off_t)(from * RAM_PAGE_SIZE), SEEK_DATA);

	*first = ram_pages(ram);
	*count = 0;
	/* Behind the last data there is nothing (lseek(2)). */
	if (data < 0 && errno == ENXIO)
		return OK;
	hole = data < 0 ? data : lseek(ram->fd, data, SEEK_HOLE);
	if (hole <= data)
		return fail_errno(STATUS_FAILED, errno, "cannot tell which guest RAM was touched");
	*first = (uint64_t)data / RAM_PAGE_SIZE;
	*count = (uint64_t)(hole - data) / RAM_PAGE_SIZE;
	return OK;
}

result ram_clear(struct ram *ram)
{
	uint64_t first, count = 0;

	invariant(ram->writable);
	for (uint64_t from = 0; from < ram_pages(ram); from = first + count) {
		TRY(ram_next_touched(ram, from, &first, &count));
		if (count > 0)
			ram_mark(ram, first * RAM_PAGE_SIZE, count * RAM_PAGE_SIZE);
	}
	return fd_clear(ram->fd, "guest RAM", ram->size);
}

void ram_replace_page(struct ram *ram, uint64_t page, const uint8_t *content)
{
	invariant(ram->writable && page < ram_pages(ram));
	memcpy(ram->memory + page * RAM_PAGE_SIZE, content, RAM_PAGE_SIZE);
}

const uint8_t *ram_page(const struct ram *ram, uint64_t page)
{
	invariant(page < ram_pages(ram));
	return ram->memory + page * RAM_PAGE_SIZE;
}

void ram_collect_dirty(struct ram *ram, uint64_t *bitmap)
{
	size_t words = ram_bitmap_words(ram);

	for (size_t i = 0; i < words; i++)
		bitmap[i] |= ram->device_dirty[i];
	memset(ram->device_dirty, 0, words * sizeof(uint64_t));
}
