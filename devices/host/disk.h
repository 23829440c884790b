/*
 * A disk's backend: a raw file, or a block device of the host's. Jobs are queued and done by two threads, one for
 * reads and one for everything that changes the disk; each does its jobs in the order in which they were given. So
 * what is on the disk at any moment is a beginning of the changes that were asked for, and a read waits for no flush.
 *
 * All calls are one thread's. It hears of jobs that are done by an eventfd of its own.
 */
#ifndef TERCET_DEVICES_HOST_DISK_H
#define TERCET_DEVICES_HOST_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH, /* all changes that are done by then are on stable storage (fdatasync(2)) */
	DISK_DISCARD, /* the guest needs these bytes no more; done where the host can, and left alone where not */
	DISK_WRITE_ZEROES,
	DISK_OPS
};

enum {
	DISK_SECTOR = 512,           /* bytes: sizes, offsets and lengths are multiples of it */
	DISK_JOB_MAX = 1 << 20,      /* bytes of data of one job */
};

struct disk_job {
	enum disk_op op;
	bool unmap;       /* of DISK_WRITE_ZEROES: they need not take space */
	uint64_t offset;  /* bytes from the disk's start */
	uint64_t length;  /* of a read or write at most DISK_JOB_MAX */
	uint64_t id;      /* the caller's */
	uint64_t context; /* likewise */
	uint64_t given_ns; /* CLOCK_MONOTONIC ns at which it was given, and done */
	uint64_t done_ns;
	int status;       /* once it is done: 0, or an errno */
	struct disk_job *next;
	uint8_t data[];   /* of a read or write: `length` bytes */
};

struct disk;

/* Opens the file at `path`, and keeps others that ask for it from using it meanwhile (a lock by open file description,
 * fcntl(2)): one who writes tolerates nobody else, readers tolerate readers. `bell_fd`, an eventfd, is rung for each
 * job that is done. Errors: STATUS_INPUT neither file nor block device, of no size that a disk has, cannot be opened,
 * is in use; no threads. */
must_check result disk_open(struct disk **disk, const char *path, bool read_only, int bell_fd);

/* Waits until all that was asked for is done, and closes it. NULL is no disk. */
void disk_close(struct disk *disk);

uint64_t disk_size(const struct disk *disk); /* bytes */

/* A job with room for `length` bytes of data; NULL: no memory. disk_job_free takes NULL, too. */
struct disk_job *disk_job_create(enum disk_op op, uint64_t offset, uint64_t length);
void disk_job_free(struct disk_job *job);

/* Queues a job, which is the disk's until it is taken back. One that does not fit the disk is done at once, with
 * EINVAL; one that changes a disk that cannot be changed with EROFS. */
void disk_give(struct disk *disk, struct disk_job *job);

/* The next job that is done, in the order in which they were; NULL: none is. */
struct disk_job *disk_take(struct disk *disk);

/* Jobs that were given and not taken back, and the bytes of data that they carry. */
size_t disk_jobs(const struct disk *disk);
uint64_t disk_bytes(const struct disk *disk);

#endif
