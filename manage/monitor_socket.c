#include "manage/monitor_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/futex.h"

/* Clients that may wait to be accepted. */
enum { BACKLOG = 16 };

/* Another machine holds the lock for as long as it takes to listen; what holds it longer is not one of ours. */
#define LOCK_PATIENCE_NS (2 * NS_PER_S)

/* Between the look at an old socket and its replacement nobody else may do the same: the folder is locked. Returns
 * a descriptor to close, or -1 where the folder cannot be opened or its file system knows no locks. */
static result lock_folder(const struct place *place, int *lock)
{
	const struct timespec pause = { .tv_nsec = 5 * NS_PER_MS };
	uint64_t until = clock_monotonic_ns() + LOCK_PATIENCE_NS;
	struct place folder = *place;
	char *slash = strrchr(folder.path, '/');

	if (slash)
		slash[slash == folder.path ? 1 : 0] = '\0';
	*lock = open(slash ? folder.path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (*lock >= 0 && flock(*lock, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return OK;
		if (clock_monotonic_ns() > until) {
			fd_close(lock);
			return fail(STATUS_INPUT, "cannot listen at %s: another program has locked its folder",
				    place->path);
		}
		(void)nanosleep(&pause, NULL);
	}
	return OK;
}

/* Removes a socket on which nobody listens. */
static result clear_place(const struct place *place, bool *taken)
{
	struct stat information;

	if (lstat(place->path, &information) < 0)
		return errno == ENOENT ? OK : fail_errno(STATUS_INPUT, errno, "cannot examine %s", place->path);
	if (!S_ISSOCK(information.st_mode))
		return fail(STATUS_INPUT, "cannot listen at %s: something that is no socket stands there",
			    place->path);
	int fd = places_connect(place);

	*taken = fd >= 0 || errno == EAGAIN;
	fd_close(&fd);
	if (*taken)
		return fail(STATUS_INPUT, "cannot listen at %s: another machine does", place->path);
	if (errno != ECONNREFUSED)
		return fail_errno(STATUS_INPUT, errno, "cannot tell whether anybody listens at %s", place->path);
	if (unlink(place->path) < 0)
		return fail_errno(STATUS_INPUT, errno, "cannot remove the old socket %s", place->path);
	return OK;
}

static result listen_at(struct monitor_socket *monitor, const struct place *place)
{
	struct sockaddr_un address;
	struct stat information;

	places_address(place, &address);
	monitor->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (monitor->fd < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot make a socket");
	/* From its first moment on it is this user's alone. */
	mode_t before = umask(0177);
	int bound = bind(monitor->fd, (const struct sockaddr *)&address, sizeof(address));
	int error = errno;

	(void)umask(before);
	if (bound < 0)
		return fail_errno(STATUS_INPUT, error, "cannot listen at %s", place->path);
	if (lstat(place->path, &information) < 0 || listen(monitor->fd, BACKLOG) < 0)
		return fail_errno(STATUS_INPUT, errno, "cannot listen at %s", place->path);
	monitor->device = information.st_dev;
	monitor->inode = information.st_ino;
	return OK;
}

result monitor_socket_claim(struct monitor_socket *monitor, const struct place *place, bool *taken)
{
	int lock = -1;

	*monitor = (struct monitor_socket){ .place = *place, .fd = -1 };
	*taken = false;
	TRY(lock_folder(place, &lock));
	result r = clear_place(place, taken);

	if (!failed(r))
		r = listen_at(monitor, place);
	if (failed(r))
		fd_close(&monitor->fd);
	fd_close(&lock);
	return r;
}

void monitor_socket_release(struct monitor_socket *monitor)
{
	struct stat information;
	int lock = -1;

	if (monitor->fd < 0)
		return;
	/* Somebody may have removed it and put his own there. */
	if (!failed(lock_folder(&monitor->place, &lock)) && lstat(monitor->place.path, &information) == 0 &&
	    information.st_dev == monitor->device && information.st_ino == monitor->inode)
		(void)unlink(monitor->place.path);
	fd_close(&lock);
	fd_close(&monitor->fd);
}
