#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void fd_close(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

enum { SIZE_SEALS = F_SEAL_SHRINK | F_SEAL_GROW };

static result make_memory(int *fd, const char *name, uint64_t size, int seals)
{
	int memory = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (memory < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot create shared memory \"%s\"", name);
	/* Writable is who is given this descriptor, and nobody who opens it again by /proc. */
	if (fchmod(memory, S_IRUSR) < 0 || ftruncate(memory, (off_t)size) < 0 ||
	    fcntl(memory, F_ADD_SEALS, seals) < 0) {
		int error = errno;

		(void)close(memory);
		return fail_errno(STATUS_FAILED, error, "cannot size shared memory \"%s\" to %llu bytes", name,
				  (unsigned long long)size);
	}
	*fd = memory;
	return OK;
}

result fd_sealed_memory(int *fd, const char *name, uint64_t size)
{
	return make_memory(fd, name, size, SIZE_SEALS | F_SEAL_SEAL);
}

result fd_exclusive_memory(int *fd, const char *name, uint64_t size, void **memory)
{
	result r;

	TRY(make_memory(fd, name, size, SIZE_SEALS));
	r = fd_map(*fd, name, size, true, memory);
	if (!failed(r) && fcntl(*fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0) {
		r = fail_errno(STATUS_HOST, errno, "cannot seal shared memory \"%s\"", name);
		fd_unmap(*memory, size);
	}
	if (failed(r))
		fd_close(fd);
	return r;
}

result fd_check_sealed(int fd, const char *what, uint64_t size)
{
	uint64_t actual;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW))
		return fail(STATUS_FAILED, "%s is not a sealed memory", what);
	TRY(fd_size(fd, what, &actual));
	if (actual != size)
		return fail(STATUS_FAILED, "%s has %llu bytes where %llu are expected", what,
			    (unsigned long long)actual, (unsigned long long)size);
	return OK;
}

result fd_clear(int fd, const char *what, uint64_t size)
{
	/* A hole in a memfd reads as zeros (fallocate(2)). */
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)size) < 0)
		return fail_errno(STATUS_FAILED, errno, "%s cannot be emptied", what);
	return OK;
}

result fd_read_only_view(int fd, const char *what, int *view)
{
	char path[64];

	/* A new open of the same inode has its own access mode; a dup would share the writable one. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*view = open(path, O_RDONLY | O_CLOEXEC);
	if (*view < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot open %s read-only by /proc", what);
	return OK;
}

result fd_map(int fd, const char *what, uint64_t size, bool writable, void **memory)
{
	void *address = mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);

	if (address == MAP_FAILED)
		return fail_errno(STATUS_FAILED, errno, "cannot map %s (%llu bytes)", what,
				  (unsigned long long)size);
	*memory = address;
	return OK;
}

void fd_unmap(void *memory, uint64_t size)
{
	if (memory)
		(void)munmap(memory, size);
}

result fd_read_at(int fd, const char *what, uint64_t offset, void *data, size_t length)
{
	uint8_t *at = data;

	while (length > 0) {
		ssize_t got = pread(fd, at, length, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail_errno(STATUS_INPUT, errno, "cannot read %s", what);
		if (got == 0)
			return fail(STATUS_INPUT, "%s ends early: %zu bytes are missing at offset %llu", what,
				    length, (unsigned long long)offset);
		at += got;
		offset += (uint64_t)got;
		length -= (size_t)got;
	}
	return OK;
}

result fd_write_all(int fd, const char *what, const void *data, size_t length)
{
	const uint8_t *at = data;

	while (length > 0) {
		ssize_t put = write(fd, at, length);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return fail_errno(STATUS_FAILED, errno, "cannot write %s", what);
		at += put;
		length -= (size_t)put;
	}
	return OK;
}

void fd_ring(int fd)
{
	const uint64_t one = 1;
	ssize_t written = write(fd, &one, sizeof(one));

	(void)written;
}

result fd_size(int fd, const char *what, uint64_t *size)
{
	struct stat information;

	/* The C library's fstat may be newfstatat, which takes a path: that is more than a sandbox allows. */
	if (syscall(SYS_fstat, fd, &information) < 0)
		return fail_errno(STATUS_INPUT, errno, "cannot examine %s", what);
	if (!S_ISREG(information.st_mode))
		return fail(STATUS_INPUT, "%s is not a regular file", what);
	*size = (uint64_t)information.st_size;
	return OK;
}
