#include "lockstep/roster.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>

#include "base/futex.h"
#include "base/log.h"
#include "lockstep/verdict.h"

uint32_t roster_live_set(const struct supervisor *supervisor)
{
	uint32_t set = 0;

	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (supervisor->members[i].live)
			set |= 1u << i;
	return set;
}

unsigned roster_live_count(const struct supervisor *supervisor)
{
	return (unsigned)__builtin_popcount(roster_live_set(supervisor));
}

void roster_set_phase(struct supervisor *supervisor, unsigned replica, enum care_phase phase)
{
	struct care *care = &supervisor->care[replica];

	care->phase = phase;
	care->since = clock_monotonic_ns();
	supervisor->members[replica].live = phase == CARE_LIVE;
	atomic_store(&supervisor->page->live, roster_live_set(supervisor));
}

void roster_call(struct supervisor *supervisor, unsigned replica)
{
	verdict_wake(supervisor, replica);
	if (supervisor->members[replica].pid != 0)
		(void)kill(supervisor->members[replica].pid, SIGUSR1);
}

void roster_call_all(struct supervisor *supervisor)
{
	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (supervisor->members[i].pid != 0)
			roster_call(supervisor, i);
}

result roster_launch(struct supervisor *supervisor, unsigned replica, const struct replica_config *config)
{
	struct member *member = &supervisor->members[replica];
	struct epoll_event death = { .events = EPOLLIN };

	TRY(member_start(member, supervisor->members, config, &supervisor->spawner,
			 supervisor->page_fd));
	death.data.fd = member->pid_fd;
	if (epoll_ctl(supervisor->epoll_fd, EPOLL_CTL_ADD, member->pid_fd, &death) < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot watch replica %u", replica);
	heartbeat_reset(&supervisor->care[replica].heartbeat, clock_monotonic_ns());
	return OK;
}

result roster_start(struct supervisor *supervisor, unsigned replica, const struct replica_config *config)
{
	result r;

	TRY(roster_launch(supervisor, replica, config));
	r = cores_apply(&supervisor->cores, replica, supervisor->members[replica].pid);
	if (failed(r))
		log_debug("replica %u runs where it can: %s", replica, r.failure->message);
	return OK;
}
