#include "lockstep/ram_check.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "vmm/ram.h"

enum { CHUNK = 1 << 20 };

static result compare_chunk(const int *fds, unsigned count, uint64_t offset, uint64_t length, uint8_t *buffers,
			    uint64_t *differing)
{
	/* Read, not mapped: reading memory that nobody ever touched does not make it exist. */
	TRY(fd_read_at(fds[0], "guest RAM", offset, buffers, (size_t)length));
	bool differs[CHUNK / RAM_PAGE_SIZE] = { false };

	for (unsigned i = 1; i < count; i++) {
		TRY(fd_read_at(fds[i], "guest RAM", offset, buffers + CHUNK, (size_t)length));
		for (uint64_t page = 0; page < length / RAM_PAGE_SIZE; page++)
			if (memcmp(buffers + page * RAM_PAGE_SIZE, buffers + CHUNK + page * RAM_PAGE_SIZE,
				   RAM_PAGE_SIZE) != 0)
				differs[page] = true;
	}
	for (uint64_t page = 0; page < length / RAM_PAGE_SIZE; page++)
		*differing += differs[page];
	return OK;
}

/* Where the next memory that was ever touched begins, at or after `offset`; `size` if there is none. */
static uint64_t next_data(int fd, uint64_t offset, uint64_t size)
{
	off_t found = lseek(fd, (off_t)offset, SEEK_DATA);

	if (found >= 0)
		return (uint64_t)found;
	return errno == ENXIO ? size : offset;
}

/* The next chunk in which any of the memories has something. Large guests are mostly holes, and those are equal. */
static uint64_t next_chunk(const int *fds, unsigned count, uint64_t offset, uint64_t size)
{
	uint64_t next = size;

	for (unsigned i = 0; i < count && next > offset; i++) {
		uint64_t data = next_data(fds[i], offset, size);

		if (data < next)
			next = data;
	}
	return next < size ? next / CHUNK * CHUNK : size;
}

result ram_check_compare(const int *fds, unsigned count, uint64_t size, uint64_t *pages, uint64_t *differing)
{
	uint8_t *buffers = malloc(2 * (size_t)CHUNK);
	uint64_t offset = 0;
	result r = OK;

	*pages = size / RAM_PAGE_SIZE;
	*differing = 0;
	if (!buffers)
		return fail(STATUS_FAILED, "no memory to compare guest memories");
	while (!failed(r) && (offset = next_chunk(fds, count, offset, size)) < size) {
		r = compare_chunk(fds, count, offset, size - offset < CHUNK ? size - offset : CHUNK, buffers,
				  differing);
		offset += CHUNK;
	}
	free(buffers);
	return r;
}
