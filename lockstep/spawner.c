#include "lockstep/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

enum { SOCKET_FD = SPAWNER_FIRST_FD - 1, STATUS_CANNOT_EXEC = 127 };
/* A host that cannot start a process in this time cannot run replicas. */
enum { PATIENCE_SECONDS = 10 };

/* Room for one message of descriptors, aligned as cmsg(3) asks for. */
union passage {
	struct cmsghdr header;
	char room[CMSG_SPACE(SPAWNER_FDS_MAX * sizeof(int))];
};

struct spawner spawner_none(void)
{
	return (struct spawner){ .fd = -1 };
}

/* --- in the spawner --- */

/* Takes one request and the descriptors that came with it; the kernel gives them the lowest numbers that are free, in
 * their order (unix(7)), so the first is SPAWNER_FIRST_FD. False: nobody asks any more. */
static bool take_request(unsigned *count)
{
	union passage passage;
	char word;
	struct iovec text = { .iov_base = &word, .iov_len = sizeof(word) };
	struct msghdr message = {
		.msg_iov = &text,
		.msg_iovlen = 1,
		.msg_control = passage.room,
		.msg_controllen = sizeof(passage.room),
	};
	ssize_t got;

	do
		got = recvmsg(SOCKET_FD, &message, 0);
	while (got < 0 && errno == EINTR);
	if (got <= 0)
		return false;
	const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	bool descriptors = header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS;

	*count = descriptors ? (unsigned)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
	return *count > 0 && !(message.msg_flags & MSG_CTRUNC);
}

/* A child of the supervisor that exists already: nothing but system calls. */
static void become_replica(pid_t supervisor)
{
	char number[16];
	char role[] = SPAWNER_ROLE;
	char name[] = SPAWNER_REPLICA_NAME;
	char *arguments[] = { name, role, number, NULL };
	sigset_t none;

	/* Nobody outlives the supervisor. It may have died before this call, which then would wait for ever. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != supervisor)
		_exit(STATUS_FAILED);
	(void)snprintf(number, sizeof(number), "%d", SPAWNER_FIRST_FD);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)execv("/proc/self/exe", arguments);
	_exit(STATUS_CANNOT_EXEC);
}

static int32_t start_replica(pid_t supervisor)
{
	/* A sibling, not a child: the supervisor must be able to wait for it (clone(2), CLONE_PARENT). */
	long pid = syscall(SYS_clone, CLONE_PARENT, NULL, NULL, NULL, NULL);

	if (pid == 0)
		become_replica(supervisor);
	return pid < 0 ? -errno : (int32_t)pid;
}

static void serve(pid_t supervisor)
{
	unsigned count;

	while (take_request(&count)) {
		int32_t answer = start_replica(supervisor);

		(void)close_range(SPAWNER_FIRST_FD, ~0u, 0);
		if (send(SOCKET_FD, &answer, sizeof(answer), MSG_NOSIGNAL) != sizeof(answer))
			return;
	}
}

/* Standard input and output are the guest's console: no replica may have them. */
static bool keep_descriptors(int fd)
{
	int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);

	return nothing >= 0 && dup2(nothing, STDIN_FILENO) >= 0 && dup2(nothing, STDOUT_FILENO) >= 0 &&
	       (fd == SOCKET_FD ? fcntl(fd, F_SETFD, FD_CLOEXEC) : dup3(fd, SOCKET_FD, O_CLOEXEC)) >= 0 &&
	       close_range(SPAWNER_FIRST_FD, ~0u, 0) == 0;
}

static void be_spawner(int fd, pid_t supervisor)
{
	sigset_t all;

	/* A terminal's ^C is for the supervisor alone. */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != supervisor || !keep_descriptors(fd))
		_exit(STATUS_FAILED);
	(void)prctl(PR_SET_NAME, "tercet-spawner");
	serve(supervisor);
	_exit(STATUS_OK);
}

/* --- in the supervisor --- */

result spawner_start(struct spawner *spawner)
{
	const struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
	pid_t supervisor = getpid();
	int ends[2];

	*spawner = spawner_none();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot make a socket for the process that starts replicas");
	pid_t pid = fork();

	if (pid == 0)
		be_spawner(ends[1], supervisor);
	fd_close(&ends[1]);
	if (pid < 0 || setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0) {
		int error = errno;

		fd_close(&ends[0]);
		return fail_errno(STATUS_FAILED, error, "cannot start the process that starts replicas");
	}
	*spawner = (struct spawner){ .pid = pid, .fd = ends[0] };
	return OK;
}

int32_t spawner_hand(struct spawner_handover *handover, int fd)
{
	if (fd < 0)
		return -1;
	invariant(handover->count < SPAWNER_FDS_MAX);
	handover->fds[handover->count] = fd;
	return SPAWNER_FIRST_FD + (int32_t)handover->count++;
}

static bool send_request(const struct spawner *spawner, const struct spawner_handover *handover)
{
	const size_t size = handover->count * sizeof(handover->fds[0]);
	union passage passage = { .room = { 0 } };
	char word = 'r';
	struct iovec text = { .iov_base = &word, .iov_len = sizeof(word) };
	struct msghdr message = {
		.msg_iov = &text,
		.msg_iovlen = 1,
		.msg_control = passage.room,
		.msg_controllen = CMSG_SPACE(size),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(header), handover->fds, size);
	return sendmsg(spawner->fd, &message, MSG_NOSIGNAL) == sizeof(word);
}

result spawner_launch(const struct spawner *spawner, const struct spawner_handover *handover, pid_t *pid)
{
	int32_t answer;
	ssize_t got;

	invariant(handover->count > 0);
	if (!send_request(spawner, handover))
		return fail_errno(STATUS_FAILED, errno, "the process that starts replicas cannot be asked");
	do
		got = recv(spawner->fd, &answer, sizeof(answer), 0);
	while (got < 0 && errno == EINTR);
	if (got != sizeof(answer))
		return fail_errno(STATUS_FAILED, got < 0 ? errno : EPIPE,
				  "the process that starts replicas does not answer");
	if (answer <= 0)
		return fail_errno(STATUS_FAILED, -answer, "a replica cannot be started");
	*pid = answer;
	return OK;
}

void spawner_stop(struct spawner *spawner)
{
	fd_close(&spawner->fd);
	if (spawner->pid > 0) {
		(void)kill(spawner->pid, SIGKILL);
		while (waitpid(spawner->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	*spawner = spawner_none();
}
