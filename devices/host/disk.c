#include "devices/host/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/futex.h"
#include "base/log.h"
#include "base/privilege.h"

enum { READS, CHANGES, WORKERS };
/* Zeroes are written in pieces of so many bytes where the host has no other way. */
enum { ZEROES = 64 << 10 };

/* First in, first out. */
struct queue {
	struct disk_job *first;
	struct disk_job **end;
};

struct worker {
	struct disk *disk;
	pthread_t thread;
	bool started;
	pthread_cond_t more; /* jobs, or the end */
	struct queue queue;
};

struct disk {
	int fd;
	int bell_fd;
	bool read_only;
	uint64_t size;
	size_t jobs; /* given and not taken back: the caller's thread alone */
	uint64_t bytes;
	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t settled;
	unsigned settling; /* workers that have not dropped their rights yet */
	struct worker workers[WORKERS];
	struct queue done;
	bool closing;
};

/* --- queues --- */

static void queue_init(struct queue *queue)
{
	queue->first = NULL;
	queue->end = &queue->first;
}

static void queue_put(struct queue *queue, struct disk_job *job)
{
	job->next = NULL;
	*queue->end = job;
	queue->end = &job->next;
}

static struct disk_job *queue_get(struct queue *queue)
{
	struct disk_job *job = queue->first;

	if (!job)
		return NULL;
	queue->first = job->next;
	if (!queue->first)
		queue->end = &queue->first;
	job->next = NULL;
	return job;
}

/* --- jobs: 0 or an errno --- */

static int read_all(int fd, uint8_t *data, uint64_t length, uint64_t offset)
{
	while (length > 0) {
		ssize_t got = pread(fd, data, length, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		if (got == 0)
			return EIO; /* somebody made the file shorter */
		data += got;
		length -= (uint64_t)got;
		offset += (uint64_t)got;
	}
	return 0;
}

static int write_all(int fd, const uint8_t *data, uint64_t length, uint64_t offset)
{
	while (length > 0) {
		ssize_t put = pwrite(fd, data, length, (off_t)offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? errno : EIO;
		data += put;
		length -= (uint64_t)put;
		offset += (uint64_t)put;
	}
	return 0;
}

static int change_space(int fd, int mode, const struct disk_job *job)
{
	int status;

	do
		status = fallocate(fd, mode, (off_t)job->offset, (off_t)job->length) < 0 ? errno : 0;
	while (status == EINTR);
	return status;
}

static bool unsupported(int status)
{
	return status == EOPNOTSUPP || status == ENOSYS || status == ENODEV;
}

static int discard(int fd, const struct disk_job *job)
{
	int status = change_space(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, job);

	/* It is a hint. */
	return unsupported(status) ? 0 : status;
}

static int write_zeroes(int fd, const struct disk_job *job)
{
	static const uint8_t zeroes[ZEROES];
	int status = job->unmap ? change_space(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, job) : EOPNOTSUPP;

	if (unsupported(status))
		status = change_space(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, job);
	if (!unsupported(status))
		return status;
	status = 0;
	for (uint64_t at = 0; at < job->length && status == 0; at += ZEROES)
		status = write_all(fd, zeroes, job->length - at < ZEROES ? job->length - at : ZEROES, job->offset + at);
	return status;
}

static int flush(int fd)
{
	int status;

	do
		status = fdatasync(fd) < 0 ? errno : 0;
	while (status == EINTR);
	return status;
}

static int do_job(int fd, struct disk_job *job)
{
	switch (job->op) {
	case DISK_READ:
		return read_all(fd, job->data, job->length, job->offset);
	case DISK_WRITE:
		return write_all(fd, job->data, job->length, job->offset);
	case DISK_FLUSH:
		return flush(fd);
	case DISK_DISCARD:
		return discard(fd, job);
	case DISK_WRITE_ZEROES:
		return write_zeroes(fd, job);
	case DISK_OPS:
		break;
	}
	return EINVAL;
}

/* --- threads --- */

static void ring_bell(const struct disk *disk)
{
	const uint64_t one = 1;
	ssize_t written = write(disk->bell_fd, &one, sizeof(one));

	(void)written; /* full means that it has been rung already */
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	struct disk *disk = worker->disk;

	/* Rights are each thread's own, and what is open needs none. */
	if (failed(privilege_drop(NULL, 0)))
		log_warning("a thread of a disk keeps this process's rights");
	(void)pthread_mutex_lock(&disk->lock);
	disk->settling--;
	(void)pthread_cond_signal(&disk->settled);
	for (;;) {
		struct disk_job *job = queue_get(&worker->queue);

		if (!job && disk->closing)
			break;
		if (!job) {
			(void)pthread_cond_wait(&worker->more, &disk->lock);
			continue;
		}
		(void)pthread_mutex_unlock(&disk->lock);
		job->status = do_job(disk->fd, job);
		job->done_ns = clock_monotonic_ns();
		(void)pthread_mutex_lock(&disk->lock);
		queue_put(&disk->done, job);
		ring_bell(disk);
	}
	(void)pthread_mutex_unlock(&disk->lock);
	return NULL;
}

static result start_workers(struct disk *disk)
{
	sigset_t all, before;
	int status = 0;

	/* Signals are for whoever runs the machine. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	(void)pthread_mutex_lock(&disk->lock);
	for (unsigned i = 0; i < WORKERS && status == 0; i++) {
		status = pthread_create(&disk->workers[i].thread, NULL, work, &disk->workers[i]);
		disk->workers[i].started = status == 0;
		disk->settling += disk->workers[i].started;
	}
	/* A sandbox that comes next holds for all threads, and has no call with which to drop rights. */
	while (disk->settling > 0)
		(void)pthread_cond_wait(&disk->settled, &disk->lock);
	(void)pthread_mutex_unlock(&disk->lock);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return status == 0 ? OK : fail_errno(STATUS_FAILED, status, "no thread for a disk");
}

static void stop_workers(struct disk *disk)
{
	(void)pthread_mutex_lock(&disk->lock);
	disk->closing = true;
	for (unsigned i = 0; i < WORKERS; i++)
		(void)pthread_cond_signal(&disk->workers[i].more);
	(void)pthread_mutex_unlock(&disk->lock);
	for (unsigned i = 0; i < WORKERS; i++)
		if (disk->workers[i].started)
			(void)pthread_join(disk->workers[i].thread, NULL);
}

/* --- opening --- */

static result take_size(struct disk *disk, const char *path)
{
	struct stat information;

	if (fstat(disk->fd, &information) < 0)
		return fail_errno(STATUS_INPUT, errno, "cannot look at %s", path);
	if (S_ISREG(information.st_mode))
		disk->size = (uint64_t)information.st_size;
	else if (!S_ISBLK(information.st_mode))
		return fail(STATUS_INPUT, "%s is neither a file nor a block device", path);
	else if (ioctl(disk->fd, BLKGETSIZE64, &disk->size) < 0)
		return fail_errno(STATUS_INPUT, errno, "cannot tell the size of %s", path);
	if (disk->size == 0 || disk->size % DISK_SECTOR != 0)
		return fail(STATUS_INPUT, "%s has %llu bytes: a disk has a multiple of %d, and at least one", path,
			    (unsigned long long)disk->size, DISK_SECTOR);
	return OK;
}

static result lock_file(const struct disk *disk, const char *path)
{
	struct flock lock = { .l_type = disk->read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(disk->fd, F_OFD_SETLK, &lock) == 0)
		return OK;
	if (errno == EACCES || errno == EAGAIN)
		return fail(STATUS_INPUT, "%s is in use: another machine has it", path);
	return fail_errno(STATUS_INPUT, errno, "cannot lock %s", path);
}

static result open_file(struct disk *disk, const char *path)
{
	/* What is no file could make us wait. */
	disk->fd = open(path, (disk->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
	if (disk->fd < 0)
		return fail_errno(STATUS_INPUT, errno, "cannot open %s", path);
	TRY(take_size(disk, path));
	return lock_file(disk, path);
}

result disk_open(struct disk **opened, const char *path, bool read_only, int bell_fd)
{
	struct disk *disk = calloc(1, sizeof(*disk));
	result r;

	*opened = NULL;
	if (!disk)
		return fail(STATUS_FAILED, "no memory for a disk");
	disk->fd = -1;
	disk->bell_fd = bell_fd;
	disk->read_only = read_only;
	queue_init(&disk->done);
	(void)pthread_mutex_init(&disk->lock, NULL);
	(void)pthread_cond_init(&disk->settled, NULL);
	for (unsigned i = 0; i < WORKERS; i++) {
		disk->workers[i].disk = disk;
		(void)pthread_cond_init(&disk->workers[i].more, NULL);
		queue_init(&disk->workers[i].queue);
	}
	r = open_file(disk, path);
	if (!failed(r))
		r = start_workers(disk);
	if (failed(r)) {
		disk_close(disk);
		return r;
	}
	*opened = disk;
	return OK;
}

void disk_close(struct disk *disk)
{
	struct disk_job *job;

	if (!disk)
		return;
	stop_workers(disk);
	while ((job = queue_get(&disk->done)) != NULL)
		disk_job_free(job);
	for (unsigned i = 0; i < WORKERS; i++)
		(void)pthread_cond_destroy(&disk->workers[i].more);
	(void)pthread_cond_destroy(&disk->settled);
	(void)pthread_mutex_destroy(&disk->lock);
	fd_close(&disk->fd);
	free(disk);
}

uint64_t disk_size(const struct disk *disk)
{
	return disk->size;
}

/* --- the caller's side --- */

static bool carries_data(enum disk_op op)
{
	return op == DISK_READ || op == DISK_WRITE;
}

static uint64_t data_of(const struct disk_job *job)
{
	return carries_data(job->op) ? job->length : 0;
}

struct disk_job *disk_job_create(enum disk_op op, uint64_t offset, uint64_t length)
{
	struct disk_job *job;

	invariant(!carries_data(op) || length <= DISK_JOB_MAX);
	job = malloc(sizeof(*job) + (carries_data(op) ? (size_t)length : 0));
	if (job)
		*job = (struct disk_job){ .op = op, .offset = offset, .length = length };
	return job;
}

void disk_job_free(struct disk_job *job)
{
	free(job);
}

/* 0, or why the job is not done at all. */
static int refusal(const struct disk *disk, const struct disk_job *job)
{
	if (job->op == DISK_FLUSH)
		return 0;
	if (job->op != DISK_READ && disk->read_only)
		return EROFS;
	if (job->length == 0 || job->length % DISK_SECTOR != 0 || job->offset % DISK_SECTOR != 0 ||
	    job->offset > disk->size || job->length > disk->size - job->offset)
		return EINVAL;
	return 0;
}

void disk_give(struct disk *disk, struct disk_job *job)
{
	struct worker *worker = &disk->workers[job->op == DISK_READ ? READS : CHANGES];

	job->given_ns = job->done_ns = clock_monotonic_ns();
	job->status = refusal(disk, job);
	disk->jobs++;
	disk->bytes += data_of(job);
	(void)pthread_mutex_lock(&disk->lock);
	if (job->status != 0) {
		queue_put(&disk->done, job);
		ring_bell(disk);
	} else {
		queue_put(&worker->queue, job);
		(void)pthread_cond_signal(&worker->more);
	}
	(void)pthread_mutex_unlock(&disk->lock);
}

struct disk_job *disk_take(struct disk *disk)
{
	struct disk_job *job;

	(void)pthread_mutex_lock(&disk->lock);
	job = queue_get(&disk->done);
	(void)pthread_mutex_unlock(&disk->lock);
	if (job) {
		disk->jobs--;
		disk->bytes -= data_of(job);
	}
	return job;
}

size_t disk_jobs(const struct disk *disk)
{
	return disk->jobs;
}

uint64_t disk_bytes(const struct disk *disk)
{
	return disk->bytes;
}
