/* A disk's backend: what is asked for is what is done, in order, and nothing beyond the file. */
#include "tests/unit/guest_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "devices/host/disk.h"
#include "tests/unit/process_status.h"

enum { SIZE = 1 << 20, SECTORS = SIZE / DISK_SECTOR };

static char path[] = "/tmp/test-disk.XXXXXX";
static int file = -1, bell = -1;
static struct disk *disk;

static void make_file(void)
{
	static uint8_t bytes[SIZE];

	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = (uint8_t)(i / DISK_SECTOR * 7 + i);
	memset(path + strlen(path) - 6, 'X', 6);
	file = mkstemp(path);
	ck_assert_int_ge(file, 0);
	must_succeed(fd_write_all(file, path, bytes, SIZE));
	bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ck_assert_int_ge(bell, 0);
}

static void remove_file(void)
{
	disk_close(disk);
	disk = NULL;
	ck_assert_int_eq(unlink(path), 0);
	fd_close(&file);
	fd_close(&bell);
}

static uint8_t byte_at(uint64_t offset)
{
	uint8_t byte;

	must_succeed(fd_read_at(file, path, offset, &byte, 1));
	return byte;
}

static void expect_bytes(uint64_t offset, uint64_t length, uint8_t value)
{
	for (uint64_t i = 0; i < length; i++)
		ck_assert_msg(byte_at(offset + i) == value, "byte %llu", (unsigned long long)(offset + i));
}

/* The untouched content. */
static void expect_original(uint64_t offset, uint64_t length)
{
	for (uint64_t i = offset; i < offset + length; i++)
		ck_assert_msg(byte_at(i) == (uint8_t)(i / DISK_SECTOR * 7 + i), "byte %llu", (unsigned long long)i);
}

static void give(enum disk_op op, uint64_t offset, uint64_t length, uint64_t id, uint8_t fill)
{
	struct disk_job *job = disk_job_create(op, offset, length);

	ck_assert_ptr_nonnull(job);
	job->id = id;
	job->context = ~id;
	if (op == DISK_WRITE)
		memset(job->data, fill, length);
	disk_give(disk, job);
}

/* The next one that is done. */
static struct disk_job *await(void)
{
	struct disk_job *job;

	while ((job = disk_take(disk)) == NULL) {
		struct pollfd rung = { .fd = bell, .events = POLLIN };
		uint64_t count;

		ck_assert_int_eq(poll(&rung, 1, 60000), 1);
		ck_assert_int_eq(read(bell, &count, sizeof(count)), sizeof(count));
	}
	return job;
}

/* Does one job and gives its status. */
static int done(enum disk_op op, uint64_t offset, uint64_t length, uint8_t fill)
{
	struct disk_job *job;
	int status;

	give(op, offset, length, 77, fill);
	job = await();
	ck_assert_uint_eq(job->id, 77);
	ck_assert_uint_eq(job->context, ~UINT64_C(77));
	ck_assert_uint_ge(job->done_ns, job->given_ns);
	status = job->status;
	disk_job_free(job);
	ck_assert_uint_eq(disk_jobs(disk), 0);
	ck_assert_uint_eq(disk_bytes(disk), 0);
	return status;
}

START_TEST(reads_and_writes)
{
	struct disk_job *job;

	must_succeed(disk_open(&disk, path, false, bell));
	ck_assert_uint_eq(disk_size(disk), SIZE);
	ck_assert_int_eq(done(DISK_WRITE, 3 * DISK_SECTOR, 2 * DISK_SECTOR, 0xA5), 0);
	expect_original(0, 3 * DISK_SECTOR);
	expect_bytes(3 * DISK_SECTOR, 2 * DISK_SECTOR, 0xA5);
	expect_original(5 * DISK_SECTOR, DISK_SECTOR);
	ck_assert_int_eq(done(DISK_FLUSH, 0, 0, 0), 0);
	give(DISK_READ, 2 * DISK_SECTOR, 4 * DISK_SECTOR, 5, 0);
	ck_assert_uint_eq(disk_jobs(disk), 1);
	ck_assert_uint_eq(disk_bytes(disk), 4 * DISK_SECTOR);
	job = await();
	ck_assert_int_eq(job->status, 0);
	for (uint64_t i = 0; i < job->length; i++)
		ck_assert_uint_eq(job->data[i], byte_at(job->offset + i));
	disk_job_free(job);
	/* The last sector, and the whole. */
	ck_assert_int_eq(done(DISK_WRITE, SIZE - DISK_SECTOR, DISK_SECTOR, 0x11), 0);
	expect_bytes(SIZE - DISK_SECTOR, DISK_SECTOR, 0x11);
	ck_assert_int_eq(done(DISK_WRITE, 0, SIZE, 0x22), 0);
	expect_bytes(0, SIZE, 0x22);
}
END_TEST

/* Whoever opens it may go into a sandbox next, which holds for all threads and in which no rights can be dropped. */
START_TEST(threads_without_rights)
{
	static const char folder[] = "/proc/self/task/";
	unsigned threads = 0;
	glob_t tasks;

	must_succeed(disk_open(&disk, path, false, bell));
	ck_assert_int_eq(glob("/proc/self/task/*", 0, NULL, &tasks), 0);
	for (size_t i = 0; i < tasks.gl_pathc; i++) {
		pid_t thread = (pid_t)strtol(tasks.gl_pathv[i] + strlen(folder), NULL, 10);

		if (thread == getpid())
			continue;
		process_status_must_be(thread, "CapEff", "0000000000000000");
		process_status_must_be(thread, "CapPrm", "0000000000000000");
		threads++;
	}
	globfree(&tasks);
	ck_assert_uint_ge(threads, 2);
}
END_TEST

START_TEST(zeroes)
{
	must_succeed(disk_open(&disk, path, false, bell));
	ck_assert_int_eq(done(DISK_WRITE_ZEROES, 8 * DISK_SECTOR, 300 * DISK_SECTOR, 0), 0);
	expect_original(0, 8 * DISK_SECTOR);
	expect_bytes(8 * DISK_SECTOR, 300 * DISK_SECTOR, 0);
	expect_original(308 * DISK_SECTOR, DISK_SECTOR);
	struct disk_job *job = disk_job_create(DISK_WRITE_ZEROES, 320 * DISK_SECTOR, 8 * DISK_SECTOR);

	job->unmap = true;
	disk_give(disk, job);
	job = await();
	ck_assert_int_eq(job->status, 0);
	disk_job_free(job);
	expect_original(319 * DISK_SECTOR, DISK_SECTOR);
	expect_bytes(320 * DISK_SECTOR, 8 * DISK_SECTOR, 0);
	expect_original(328 * DISK_SECTOR, DISK_SECTOR);
	/* A hint about some sectors is none about others, and no file becomes shorter by it. */
	ck_assert_int_eq(done(DISK_DISCARD, SIZE - 16 * DISK_SECTOR, 16 * DISK_SECTOR, 0), 0);
	expect_original(SIZE - 17 * DISK_SECTOR, DISK_SECTOR);
	ck_assert_int_eq(lseek(file, 0, SEEK_END), SIZE);
}
END_TEST

/* Many at once: each change is done after those that were asked for before. */
START_TEST(in_order)
{
	enum { JOBS = 600 };
	uint64_t changes = 0, reads = 0;

	must_succeed(disk_open(&disk, path, false, bell));
	for (uint64_t i = 0; i < JOBS; i++) {
		give(DISK_WRITE, i % 3 * DISK_SECTOR, 2 * DISK_SECTOR, i, (uint8_t)i);
		if (i % 50 == 0)
			give(DISK_FLUSH, 0, 0, JOBS + i, 0);
		give(DISK_READ, (i + 9) % SECTORS * DISK_SECTOR, DISK_SECTOR, 10 * JOBS + i, 0);
	}
	ck_assert_uint_eq(disk_jobs(disk), 2 * JOBS + JOBS / 50);
	ck_assert_uint_eq(disk_bytes(disk), 3ull * JOBS * DISK_SECTOR);
	while (disk_jobs(disk) > 0) {
		struct disk_job *job = await();

		ck_assert_int_eq(job->status, 0);
		if (job->op == DISK_WRITE)
			ck_assert_uint_eq(job->id, changes++);
		else if (job->op == DISK_READ)
			ck_assert_uint_eq(job->id, 10 * JOBS + reads++);
		else
			ck_assert_uint_eq(job->id - JOBS, changes - 1);
		disk_job_free(job);
	}
	ck_assert_uint_eq(changes, JOBS);
	ck_assert_uint_eq(reads, JOBS);
	/* 597 wrote sectors 0 and 1, 598 1 and 2, 599 2 and 3. */
	expect_bytes(0, DISK_SECTOR, (uint8_t)597);
	expect_bytes(DISK_SECTOR, DISK_SECTOR, (uint8_t)598);
	expect_bytes(2 * DISK_SECTOR, 2 * DISK_SECTOR, (uint8_t)599);
}
END_TEST

START_TEST(closing_waits)
{
	must_succeed(disk_open(&disk, path, false, bell));
	for (uint64_t i = 0; i < 200; i++)
		give(DISK_WRITE, i * DISK_SECTOR, DISK_SECTOR, i, (uint8_t)(i ^ 0x3C));
	disk_close(disk);
	disk = NULL;
	for (uint64_t i = 0; i < 200; i++)
		expect_bytes(i * DISK_SECTOR, DISK_SECTOR, (uint8_t)(i ^ 0x3C));
	disk_close(NULL);
}
END_TEST

START_TEST(read_only)
{
	must_succeed(disk_open(&disk, path, true, bell));
	ck_assert_int_eq(done(DISK_READ, 0, SIZE, 0), 0);
	ck_assert_int_eq(done(DISK_WRITE, 0, DISK_SECTOR, 1), EROFS);
	ck_assert_int_eq(done(DISK_DISCARD, 0, DISK_SECTOR, 1), EROFS);
	ck_assert_int_eq(done(DISK_WRITE_ZEROES, 0, DISK_SECTOR, 1), EROFS);
	ck_assert_int_eq(done(DISK_FLUSH, 0, 0, 0), 0);
	expect_original(0, DISK_SECTOR);
}
END_TEST

START_TEST(beyond_the_disk)
{
	static const struct {
		uint64_t offset, length;
	} bad[] = {
		{ SIZE, DISK_SECTOR },
		{ SIZE - DISK_SECTOR, 2 * DISK_SECTOR },
		{ UINT64_MAX - DISK_SECTOR + 1, DISK_SECTOR },
		{ UINT64_MAX - DISK_SECTOR + 1, 2 * DISK_SECTOR },
		{ 1, DISK_SECTOR },
		{ 0, DISK_SECTOR - 1 },
		{ 0, 0 },
	};
	const enum disk_op ops[] = { DISK_READ, DISK_WRITE, DISK_DISCARD, DISK_WRITE_ZEROES };

	must_succeed(disk_open(&disk, path, false, bell));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		for (size_t j = 0; j < ARRAY_SIZE(ops); j++)
			ck_assert_int_eq(done(ops[j], bad[i].offset, bad[i].length, 0xEE), EINVAL);
	ck_assert_int_eq(done(DISK_WRITE_ZEROES, 0, UINT64_MAX - DISK_SECTOR + 1, 0), EINVAL);
	ck_assert_int_eq(lseek(file, 0, SEEK_END), SIZE);
	expect_original(0, SIZE);
}
END_TEST

START_TEST(failing)
{
	const struct rlimit half = { .rlim_cur = SIZE / 2, .rlim_max = SIZE / 2 };

	must_succeed(disk_open(&disk, path, false, bell));
	/* The host refuses one write, and goes on with others. */
	ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &half), 0);
	ck_assert_int_eq(done(DISK_WRITE, SIZE / 2, DISK_SECTOR, 1), EFBIG);
	ck_assert_int_eq(done(DISK_WRITE, 0, DISK_SECTOR, 1), 0);
	expect_bytes(0, DISK_SECTOR, 1);
	/* A file that becomes shorter beneath us. */
	ck_assert_int_eq(ftruncate(file, SIZE / 4 + 100), 0);
	ck_assert_int_eq(done(DISK_READ, SIZE / 4, DISK_SECTOR, 0), EIO);
	ck_assert_int_eq(done(DISK_READ, 0, SIZE / 4, 0), 0);
}
END_TEST

START_TEST(no_disks)
{
	must_fail(disk_open(&disk, "/dev/no-such-disk", false, bell), STATUS_INPUT, "cannot open /dev/no-such-disk");
	must_fail(disk_open(&disk, "/tmp", true, bell), STATUS_INPUT, "/tmp is neither a file nor a block device");
	must_fail(disk_open(&disk, "/dev/null", false, bell), STATUS_INPUT, "neither a file nor a block device");
	ck_assert_int_eq(ftruncate(file, 0), 0);
	must_fail(disk_open(&disk, path, false, bell), STATUS_INPUT, "has 0 bytes");
	ck_assert_int_eq(ftruncate(file, 513), 0);
	must_fail(disk_open(&disk, path, false, bell), STATUS_INPUT, "has 513 bytes");
	ck_assert_ptr_null(disk);
}
END_TEST

START_TEST(in_use)
{
	struct disk *other;

	must_succeed(disk_open(&disk, path, false, bell));
	must_fail(disk_open(&other, path, false, bell), STATUS_INPUT, "is in use");
	must_fail(disk_open(&other, path, true, bell), STATUS_INPUT, "is in use");
	disk_close(disk);
	must_succeed(disk_open(&disk, path, true, bell));
	must_succeed(disk_open(&other, path, true, bell));
	disk_close(other);
	must_fail(disk_open(&other, path, false, bell), STATUS_INPUT, "is in use");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("disk");
	TCase *tests = tcase_create("backend");

	tcase_add_checked_fixture(tests, make_file, remove_file);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, reads_and_writes);
	tcase_add_test(tests, threads_without_rights);
	tcase_add_test(tests, zeroes);
	tcase_add_test(tests, in_order);
	tcase_add_test(tests, closing_waits);
	tcase_add_test(tests, read_only);
	tcase_add_test(tests, beyond_the_disk);
	tcase_add_test(tests, failing);
	tcase_add_test(tests, no_disks);
	tcase_add_test(tests, in_use);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
