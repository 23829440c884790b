#include "tests/unit/guest_memory.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"

void guest_memory_make(struct ram *ram, uint64_t size)
{
	int fd;

	must_succeed(fd_sealed_memory(&fd, "test-ram", size));
	must_succeed(ram_map(ram, fd, size, true));
}

int guest_memory_file(const void *data, size_t length, uint64_t size)
{
	int fd = memfd_create("test-file", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	if (length > 0)
		ck_assert_int_eq(pwrite(fd, data, length, 0), (ssize_t)length);
	return fd;
}

void must_succeed(result r)
{
	if (failed(r))
		ck_abort_msg("failed: %s", r.failure->message);
}

void must_fail(result r, enum status status, const char *words)
{
	if (!failed(r)) {
		ck_abort_msg("succeeded, where it should have said \"%s\"", words);
		return;
	}
	ck_assert_msg(r.failure->status == status, "status %d: %s", (int)r.failure->status, r.failure->message);
	ck_assert_msg(strstr(r.failure->message, words) != NULL, "\"%s\" is not in: %s", words,
		      r.failure->message);
}

uint64_t must_ask_for_memory(result r)
{
	must_fail(r, STATUS_INPUT, "give --memory ");
	const char *number = strstr(r.failure->message, "--memory ") + strlen("--memory ");
	char *end;
	uint64_t mib = strtoull(number, &end, 10);

	ck_assert_msg(end != number && *end == 'M', "no size in: %s", r.failure->message);
	return mib;
}
