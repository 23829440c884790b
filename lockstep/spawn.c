#include "lockstep/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/futex.h"
#include "lockstep/sandbox.h"

/* A process that is killed has so long to die before its end is waited for in the kernel. */
#define DEATH_PATIENCE_NS NS_PER_S
#define DEATH_LOOK_NS NS_PER_MS

struct member member_none(unsigned index)
{
	return (struct member){
		.index = index,
		.pid_fd = -1,
		.dead_pid_fd = -1,
		.ram_fd = -1,
		.area_fd = -1,
		.ram_view_fd = -1,
		.area_view_fd = -1,
	};
}

static result create_memories(struct member *member, uint64_t memory)
{
	uint64_t pages = memory / RAM_PAGE_SIZE;
	char name[32];
	struct area area;

	(void)snprintf(name, sizeof(name), "tercet-ram-%u", member->index);
	TRY(fd_sealed_memory(&member->ram_fd, name, memory));
	(void)snprintf(name, sizeof(name), "tercet-area-%u", member->index);
	TRY(fd_sealed_memory(&member->area_fd, name, area_size(pages)));
	/* Now, as the supervisor opens nothing later. */
	TRY(fd_read_only_view(member->area_fd, "a replica's shared area", &member->area_view_fd));
	TRY(fd_read_only_view(member->ram_fd, "guest RAM", &member->ram_view_fd));
	TRY(area_map(&area, member->area_fd, pages, true));
	area_init(&area);
	area_unmap(&area);
	/* From here on the supervisor only looks. */
	TRY(area_map(&member->area, member->area_fd, pages, false));
	return ram_map(&member->ram, member->ram_fd, memory, false);
}

result member_reset(struct member *member, uint64_t memory)
{
	struct area area;

	invariant(member->pid == 0);
	/* The guest's memory is large: its new owner empties it. */
	TRY(fd_clear(member->area_fd, "a replica's shared area", member->area.size));
	TRY(area_map(&area, member->area_fd, memory / RAM_PAGE_SIZE, true));
	area_init(&area);
	area_unmap(&area);
	member->dissents = false;
	member->why[0] = '\0';
	return OK;
}

result member_create(struct member *member, unsigned index, uint64_t memory)
{
	*member = member_none(index);
	result r = create_memories(member, memory);

	if (failed(r))
		member_destroy(member);
	return r;
}

static result start_process(struct member *member, const struct spawner *spawner,
			    const struct spawner_handover *handover, int doorbell_fd)
{
	TRY(in_context(spawner_launch(spawner, handover, &member->pid), "replica %u", member->index));
	member->pid_fd = (int)syscall(SYS_pidfd_open, member->pid, 0);
	if (member->pid_fd < 0) {
		int error = errno;

		member_kill(member);
		return fail_errno(STATUS_FAILED, error, "cannot watch replica %u", member->index);
	}
	return tombstone_watch(&member->watch, &member->area.control->tombstone, doorbell_fd);
}

result member_start(struct member *member, const struct member *members, const struct replica_config *config,
		    const struct spawner *spawner, int supervisor_fd)
{
	struct spawner_handover handover = { .count = 1 }; /* its configuration comes first, when it is known */
	struct replica_config own = *config;
	result r;

	own.index = member->index;
	own.ram_fd = spawner_hand(&handover, member->ram_fd);
	own.own_area_fd = spawner_hand(&handover, member->area_fd);
	for (unsigned i = 0; i < VOTE_REPLICAS_MAX; i++) {
		const bool peer = i < own.replicas && i != member->index;

		own.peer_area_fds[i] = peer ? spawner_hand(&handover, members[i].area_view_fd) : -1;
		own.peer_ram_fds[i] = peer ? spawner_hand(&handover, members[i].ram_view_fd) : -1;
	}
	own.supervisor_fd = spawner_hand(&handover, supervisor_fd);
	own.doorbell_fd = spawner_hand(&handover, config->doorbell_fd);
	own.kernel_fd = spawner_hand(&handover, config->kernel_fd);
	own.initrd_fd = spawner_hand(&handover, config->initrd_fd);
	TRY(replica_config_pass(&own, &handover.fds[0]));
	r = start_process(member, spawner, &handover, config->doorbell_fd);
	fd_close(&handover.fds[0]);
	return r;
}

/* --- its end --- */

/* Takes the remains of the process that has died. False: it is not gone yet. */
static bool take_remains(struct member *member, int options)
{
	struct rusage usage;
	int status;
	pid_t pid;

	do {
		pid = wait4(member->dead_pid, &status, options, &usage);
	} while (pid < 0 && errno == EINTR);
	if (pid == 0)
		return false;
	if (pid > 0) {
		timeradd(&member->cpu_time, &usage.ru_utime, &member->cpu_time);
		timeradd(&member->cpu_time, &usage.ru_stime, &member->cpu_time);
		member->status = status;
	}
	member->dead_pid = 0;
	fd_close(&member->dead_pid_fd);
	return true;
}

/* Its process runs no more; what it leaves is taken later. */
static void lay_out(struct member *member)
{
	/* Should the one before still not be gone, there is no place for two. */
	if (member->dead_pid != 0)
		(void)take_remains(member, 0);
	member->dead_pid = member->pid;
	member->dead_pid_fd = member->pid_fd;
	member->pid = 0;
	member->pid_fd = -1;
	tombstone_unwatch(&member->watch);
}

/* Whether it is gone already, tombstone or not. */
static bool is_gone(const struct member *member)
{
	siginfo_t information = { .si_pid = 0 };

	return waitid(P_PID, (id_t)member->pid, &information, WEXITED | WNOHANG | WNOWAIT) < 0 ||
	       information.si_pid == member->pid;
}

bool member_died(struct member *member)
{
	if (member->pid == 0)
		return true;
	if (tombstone_tells(&member->area.control->tombstone))
		/* It may say so and be alive. */
		(void)kill(member->pid, SIGKILL);
	else if (!is_gone(member))
		return false;
	lay_out(member);
	return true;
}

void member_tell_end(const struct member *member, char *text, size_t size)
{
	const uint32_t forbidden = atomic_load(&member->area.control->forbidden_call);
	char call[48];

	if (forbidden != 0) {
		sandbox_name(forbidden - 1, call, sizeof(call));
		(void)snprintf(text, size, "killed by signal %d: it tried a forbidden system call, %s", SIGSYS, call);
		return;
	}
	if (member->dead_pid != 0)
		(void)snprintf(text, size, "its process has died");
	else if (WIFSIGNALED(member->status))
		(void)snprintf(text, size, "killed by signal %d", WTERMSIG(member->status));
	else
		(void)snprintf(text, size, "ended with status %d", WEXITSTATUS(member->status));
}

bool member_reap(struct member *member)
{
	return member->dead_pid == 0 || take_remains(member, WNOHANG);
}

void member_kill(struct member *member)
{
	uint64_t until;

	if (member->pid == 0)
		return;
	(void)kill(member->pid, SIGKILL);
	until = clock_monotonic_ns() + DEATH_PATIENCE_NS;
	while (!member_died(member) && clock_monotonic_ns() < until)
		tombstone_wait(&member->area.control->tombstone, DEATH_LOOK_NS);
	if (member->pid == 0)
		return;
	/* It sleeps somewhere in the kernel. */
	lay_out(member);
	(void)take_remains(member, 0);
}

void member_destroy(struct member *member)
{
	member_kill(member);
	if (member->dead_pid != 0)
		(void)take_remains(member, 0);
	area_unmap(&member->area);
	ram_unmap(&member->ram);
	fd_close(&member->area_fd);
	fd_close(&member->ram_fd);
	fd_close(&member->area_view_fd);
	fd_close(&member->ram_view_fd);
}
