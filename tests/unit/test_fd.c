/* Descriptors: sealed memories, their checks, read-only views, whole reads and writes. */
#include "tests/unit/guest_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"

START_TEST(close_once)
{
	int fd = guest_memory_file(NULL, 0, 0);
	int number = fd;

	fd_close(&fd);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(fcntl(number, F_GETFD), -1);
	fd_close(&fd);
	ck_assert_int_eq(fd, -1);
}
END_TEST

START_TEST(sealed)
{
	int fd;

	must_succeed(fd_sealed_memory(&fd, "test", 8192));
	must_succeed(fd_check_sealed(fd, "it", 8192));
	must_fail(fd_check_sealed(fd, "it", 4096), STATUS_FAILED, "it has 8192 bytes where 4096 are expected");
	ck_assert_int_eq(ftruncate(fd, 4096), -1);
	ck_assert_int_eq(ftruncate(fd, 16384), -1);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}
END_TEST

START_TEST(not_sealed)
{
	const int half[] = { 0, F_SEAL_GROW, F_SEAL_SHRINK, F_SEAL_WRITE };
	int ends[2];

	for (size_t i = 0; i < ARRAY_SIZE(half); i++) {
		int fd = memfd_create("test", MFD_ALLOW_SEALING);

		ck_assert_int_eq(ftruncate(fd, 4096), 0);
		ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, half[i]), 0);
		must_fail(fd_check_sealed(fd, "it", 4096), STATUS_FAILED, "it is not a sealed memory");
		fd_close(&fd);
	}
	ck_assert_int_eq(pipe(ends), 0);
	must_fail(fd_check_sealed(ends[0], "it", 4096), STATUS_FAILED, "not a sealed memory");
	must_fail(fd_check_sealed(-1, "it", 4096), STATUS_FAILED, "not a sealed memory");
}
END_TEST

START_TEST(too_large)
{
	int fd = -1;

	must_fail(fd_sealed_memory(&fd, "test", UINT64_MAX), STATUS_FAILED, "cannot size shared memory \"test\"");
	ck_assert_int_eq(fd, -1);
}
END_TEST

START_TEST(views)
{
	int fd, view;
	void *here, *there;

	must_succeed(fd_sealed_memory(&fd, "test", 4096));
	must_succeed(fd_read_only_view(fd, "it", &view));
	must_succeed(fd_check_sealed(view, "it", 4096));
	ck_assert_int_eq(fcntl(view, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	must_succeed(fd_map(fd, "it", 4096, true, &here));
	must_succeed(fd_map(view, "it", 4096, false, &there));
	memset(here, 0x5A, 4096);
	ck_assert_mem_eq(here, there, 4096);
	ck_assert_int_eq(mprotect(there, 4096, PROT_READ | PROT_WRITE), -1);
	fd_unmap(here, 4096);
	fd_unmap(there, 4096);
	fd_unmap(NULL, 4096);
	must_fail(fd_map(view, "the view", 4096, true, &here), STATUS_FAILED, "cannot map the view (4096 bytes)");
	must_fail(fd_read_only_view(-1, "nothing", &view), STATUS_FAILED, "nothing");
}
END_TEST

/* Whoever opens it again, by whatever way, can look and no more; the maker's mapping stays good. */
START_TEST(exclusive)
{
	char path[64];
	void *here, *there;
	uint8_t byte = 7;
	int fd, again;

	must_succeed(fd_exclusive_memory(&fd, "test", 4096, &here));
	must_succeed(fd_check_sealed(fd, "it", 4096));
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC);
	must_fail(fd_map(again, "it", 4096, true, &there), STATUS_FAILED, "cannot map it");
	ck_assert_int_eq(pwrite(again, &byte, 1, 0), -1);
	must_succeed(fd_map(again, "it", 4096, false, &there));
	memset(here, 0x5A, 4096);
	ck_assert_mem_eq(here, there, 4096);
	fd_unmap(here, 4096);
	fd_unmap(there, 4096);
	fd_close(&again);
	fd_close(&fd);
	must_fail(fd_exclusive_memory(&fd, "test", UINT64_MAX, &here), STATUS_FAILED, "cannot size shared memory");
	ck_assert_int_eq(fd, -1);
}
END_TEST

START_TEST(reads)
{
	uint8_t bytes[10];
	int fd = guest_memory_file("0123456789", 10, 10);

	must_succeed(fd_read_at(fd, "digits", 0, bytes, 10));
	ck_assert_mem_eq(bytes, "0123456789", 10);
	must_succeed(fd_read_at(fd, "digits", 7, bytes, 3));
	ck_assert_mem_eq(bytes, "789", 3);
	must_succeed(fd_read_at(fd, "digits", 10, bytes, 0));
	must_fail(fd_read_at(fd, "digits", 7, bytes, 4), STATUS_INPUT,
		  "digits ends early: 1 bytes are missing at offset 10");
	must_fail(fd_read_at(fd, "digits", UINT64_MAX, bytes, 1), STATUS_INPUT, "cannot read digits");
	must_fail(fd_read_at(-1, "digits", 0, bytes, 1), STATUS_INPUT, "cannot read digits");
}
END_TEST

struct drain {
	int fd;
	size_t got;
};

/* Takes small bites, so that the writer's writes are cut short. */
static void *drain_slowly(void *context)
{
	struct drain *drain = context;
	uint8_t bytes[1000];
	ssize_t got;

	while ((got = read(drain->fd, bytes, sizeof(bytes))) > 0) {
		for (ssize_t i = 0; i < got; i++)
			if (bytes[i] != (uint8_t)((drain->got + (size_t)i) % 251))
				return drain;
		drain->got += (size_t)got;
	}
	return NULL;
}

START_TEST(writes)
{
	enum { LENGTH = 300000 };
	int ends[2];
	uint8_t *bytes = malloc(LENGTH);
	pthread_t thread;
	void *wrong;

	ck_assert_ptr_nonnull(bytes);
	for (size_t i = 0; i < LENGTH; i++)
		bytes[i] = (uint8_t)(i % 251);
	ck_assert_int_eq(pipe(ends), 0);
	struct drain drain = { .fd = ends[0] };

	ck_assert_int_eq(pthread_create(&thread, NULL, drain_slowly, &drain), 0);
	must_succeed(fd_write_all(ends[1], "a pipe", bytes, LENGTH));
	close(ends[1]);
	ck_assert_int_eq(pthread_join(thread, &wrong), 0);
	ck_assert_ptr_null(wrong);
	ck_assert_uint_eq(drain.got, LENGTH);
	must_fail(fd_write_all(ends[0], "a reader", bytes, 1), STATUS_FAILED, "cannot write a reader");
	free(bytes);
}
END_TEST

START_TEST(sizes)
{
	int ends[2];
	int fd = guest_memory_file(NULL, 0, 12345);
	uint64_t size = 0;

	must_succeed(fd_size(fd, "it", &size));
	ck_assert_uint_eq(size, 12345);
	ck_assert_int_eq(pipe(ends), 0);
	must_fail(fd_size(ends[0], "a pipe", &size), STATUS_INPUT, "a pipe is not a regular file");
	must_fail(fd_size(-1, "nothing", &size), STATUS_INPUT, "cannot examine nothing");
}
END_TEST

START_TEST(rings)
{
	int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t count;

	ck_assert_int_ge(bell, 0);
	fd_ring(bell);
	fd_ring(bell);
	must_succeed(fd_write_all(bell, "it", &(uint64_t){ 5 }, sizeof(count)));
	ck_assert_int_eq(read(bell, &count, sizeof(count)), sizeof(count));
	ck_assert_uint_eq(count, 7);
	count = UINT64_MAX - 1; /* all that it takes */
	must_succeed(fd_write_all(bell, "it", &count, sizeof(count)));
	fd_ring(bell);
	ck_assert_int_eq(read(bell, &count, sizeof(count)), sizeof(count));
	ck_assert_uint_eq(count, UINT64_MAX - 1);
	fd_close(&bell);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fd");
	TCase *tests = tcase_create("descriptors");

	tcase_add_test(tests, close_once);
	tcase_add_test(tests, sealed);
	tcase_add_test(tests, not_sealed);
	tcase_add_test(tests, too_large);
	tcase_add_test(tests, views);
	tcase_add_test(tests, exclusive);
	tcase_add_test(tests, reads);
	tcase_add_test(tests, writes);
	tcase_add_test(tests, sizes);
	tcase_add_test(tests, rings);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
