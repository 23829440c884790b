#include "lockstep/watch.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "base/futex.h"
#include "base/log.h"
#include "lockstep/repair.h"
#include "lockstep/verdict.h"

/* Parts of the watchdog's time: a leader inside its guest for one part is compared with its followers, */
enum { STALL_PART = 4 };
/* and the supervisor looks around in each of these. */
enum { LOOK_PART = 32 };
#define LOOK_MIN_NS (10 * NS_PER_MS)
#define LOOK_MAX_NS (100 * NS_PER_MS)
/* A replica that boots reads files and makes a machine, which takes as long as the host takes. */
#define BOOT_NS (60 * NS_PER_S)
/* A guest that comes to no exit for so long may wait for an interrupt that cannot reach it. */
#define ENDLESS_NS (10 * NS_PER_S)
/* So fast, in bytes/s, memory is taken over at least. */
#define TAKE_RATE (UINT64_C(32) << 20)
/* A ballot is owed when others have cast theirs; a slow replica may be so many watchdog's times behind. */
enum { BALLOT_TIMES = 2 };

uint64_t watch_interval(const struct supervisor *supervisor)
{
	uint64_t part = supervisor->options->watchdog / LOOK_PART;

	return part < LOOK_MIN_NS ? LOOK_MIN_NS : part > LOOK_MAX_NS ? LOOK_MAX_NS : part;
}

/* One that was stopped on purpose for a while goes on. */
static void wake_stopped(const struct member *member, uint64_t now)
{
	uint64_t until = atomic_load(&member->area.control->stopped_until_ns);

	if (until != 0 && now >= until)
		(void)kill(member->pid, SIGCONT);
}

static result look_at(struct supervisor *supervisor, struct member *member, uint64_t now)
{
	const struct control *control = member->area.control;
	uint64_t beats = atomic_load(&control->beats);
	uint64_t watchdog = supervisor->options->watchdog;

	wake_stopped(member, now);
	if (atomic_load(&control->state) == REPLICA_STARTING && watchdog < BOOT_NS)
		watchdog = BOOT_NS;
	switch (heartbeat_look(&supervisor->care[member->index].heartbeat, beats, now, watchdog)) {
	case HEARTBEAT_ALIVE:
		return OK;
	case HEARTBEAT_KICK:
		/* In a guest that does not exit nothing beats; a signal ends KVM_RUN. */
		(void)kill(member->pid, SIGUSR1);
		return OK;
	case HEARTBEAT_HUNG:
		break;
	}
	return repair_lose(supervisor, member, "hung", "no sign of life within the watchdog's time");
}

/* Whether the leader has voted, and most of all have not, though they are alive. Of two replicas one is most. */
static bool most_followers_owe(const struct supervisor *supervisor)
{
	unsigned live = 0, owe = 0;

	for (unsigned i = 0; i < supervisor->replicas; i++) {
		live += supervisor->members[i].live;
		owe += supervisor->members[i].live && !verdict_has_voted(supervisor, &supervisor->members[i]);
	}
	return verdict_has_voted(supervisor, &supervisor->members[supervisor->leader]) &&
	       (2 * owe > live || (supervisor->replicas == 2 && live == 2 && owe == 1));
}

/* Who is to take over a state, and shows signs of life alone, would hold up its donor for ever. */
static result look_at_orders(struct supervisor *supervisor, uint64_t now)
{
	uint64_t patience = BALLOT_TIMES * supervisor->options->watchdog +
			    supervisor->options->memory / TAKE_RATE * NS_PER_S;

	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (supervisor->care[i].phase == CARE_ORDERED && now - supervisor->care[i].since > patience)
			TRY(repair_lose(supervisor, &supervisor->members[i], "hung",
					"it does not take over the state that it was told to"));
	return OK;
}

/* Whether one that is waited for begins again, and reads files: before the first vote of a boot. */
static bool somebody_boots(const struct supervisor *supervisor)
{
	if (supervisor->verdicts != supervisor->boot_vote)
		return false;
	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (supervisor->members[i].live &&
		    atomic_load(&supervisor->members[i].area.control->state) == REPLICA_STARTING)
			return true;
	return false;
}

/* Those who owe their ballot hold up everybody. */
static result look_at_ballots(struct supervisor *supervisor, uint64_t now)
{
	/* A follower begins a segment when its leader has come out of it, and is inside as long. */
	uint64_t patience = BALLOT_TIMES * (supervisor->options->watchdog + supervisor->longest_segment);

	if (patience < BOOT_NS && somebody_boots(supervisor))
		patience = BOOT_NS;
	/* While one is copied it votes no further. */
	if (supervisor->repair.active)
		supervisor->waiting_since = 0;
	if (supervisor->waiting_since == 0 || now - supervisor->waiting_since < patience)
		return OK;
	supervisor->waiting_since = 0;
	/* Followers vote where their leader lets them know that there is a vote. */
	if (most_followers_owe(supervisor))
		return supervisor->replicas == 2 ?
			       repair_rollback(supervisor) :
			       repair_lose(supervisor, &supervisor->members[supervisor->leader], "hung",
					   "its followers do not get to its vote");
	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (supervisor->members[i].live && !verdict_has_voted(supervisor, &supervisor->members[i]))
			TRY(repair_lose(supervisor, &supervisor->members[i], "hung",
					"it owes its ballot for too long"));
	return OK;
}

/* Followers that came out of the segment in which their leader is. */
static unsigned ahead_of(const struct supervisor *supervisor, uint64_t position, unsigned *live)
{
	unsigned ahead = 0;

	*live = 0;
	for (unsigned i = 0; i < supervisor->replicas; i++) {
		if (!supervisor->members[i].live)
			continue;
		++*live;
		ahead += i != supervisor->leader &&
			 checked_word_load(&supervisor->members[i].area.control->reached, 0) > position;
	}
	return ahead;
}

/* The CPU time that a process has had, in ns; false if there is no such process. */
static bool process_cpu(pid_t pid, uint64_t *cpu)
{
	struct timespec time;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) < 0)
		return false;
	*cpu = (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
	return true;
}

/* Says so once, of a guest that is not preempted. */
static void tell_of_endless(struct supervisor *supervisor, uint64_t now)
{
	if (supervisor->endless_told || now - supervisor->stalled_since < ENDLESS_NS)
		return;
	supervisor->endless_told = true;
	log_warning("the guest has not come to an exit for %llu s, at position %llu: until then no interrupt reaches "
		    "it, and nothing is voted on (--preempt-grace has such guests stopped)",
		    (unsigned long long)(ENDLESS_NS / NS_PER_S), (unsigned long long)supervisor->stalled_at);
}

/*
 * A leader inside its guest for long is one whose guest computes, or one that went wrong and will never come out.
 * Its followers tell: they are let into the same segment, which is safe, since all of its inputs are known.
 */
static result look_at_leader(struct supervisor *supervisor, uint64_t now)
{
	struct member *leader = &supervisor->members[supervisor->leader];
	const struct control *control = leader->area.control;
	uint64_t reached = checked_word_load(&control->reached, 0);
	uint64_t patience = supervisor->options->watchdog / STALL_PART;
	unsigned live, ahead;
	uint64_t cpu;

	/* One that preempts its guest comes out by itself, and followers that are let in early could not be stopped
	 * where it is; they need as long as it did. */
	if (atomic_load(&control->preempts) != 0 && reached == supervisor->stalled_at && supervisor->stalled_since != 0)
		return OK;
	if (supervisor->replicas == 1 || !leader->live || atomic_load(&control->preempts) != 0 ||
	    atomic_load(&control->state) != REPLICA_RUNNING ||
	    checked_word_load(&control->closed, 0) != reached || reached != supervisor->stalled_at ||
	    supervisor->stalled_since == 0) {
		/* It came out; one that never does has shown nothing that others need time for. */
		if (leader->live && supervisor->stalled_since != 0 && reached != supervisor->stalled_at &&
		    now - supervisor->stalled_since > supervisor->longest_segment)
			supervisor->longest_segment = now - supervisor->stalled_since;
		supervisor->stalled_at = reached;
		supervisor->stalled_since = now;
		supervisor->ahead_since = 0;
		supervisor->endless_told = false;
		return OK;
	}
	tell_of_endless(supervisor, now);
	/* Before the first exit nobody can tell whether inputs are complete. */
	if (now - supervisor->stalled_since < patience || reached == 0)
		return OK;
	if (atomic_load(&supervisor->page->probe) != reached) {
		supervisor->probed_since = now;
		atomic_store(&supervisor->page->probe, reached);
		futex_wake(&control->sequence);
		return OK;
	}
	ahead = ahead_of(supervisor, reached, &live);
	if (2 * ahead < live)
		return OK;
	if (!process_cpu(leader->pid, &cpu))
		return OK;
	if (supervisor->ahead_since == 0) {
		supervisor->ahead_since = now;
		supervisor->ahead_cpu = cpu;
	}
	/* It began earlier than they did. On a busy host it may have had less of a processor than they, so that its own
	 * time counts, from here on once more as much as they needed from beginning to end. */
	if (cpu - supervisor->ahead_cpu < patience + (supervisor->ahead_since - supervisor->probed_since))
		return OK;
	if (2 * ahead > live)
		return repair_lose(supervisor, leader, "hung", "it does not come out of its guest, where others do");
	if (live != 2 || supervisor->repair.active)
		return OK;
	/* One of the two that are left is wrong, and nobody can tell which. */
	return repair_rollback(supervisor);
}

/* What began in the gap, or after it, begins now: never later. */
static void forgive(uint64_t *since, uint64_t gap, uint64_t now)
{
	if (*since != 0)
		*since = now > *since && now - *since > gap ? *since + gap : now;
}

/* Whatever kept us from looking - a stopped process group, a starved host, a virtual machine that was paused with all
 * of this in it - kept the replicas from working, too. */
static void forgive_gap(struct supervisor *supervisor, uint64_t now)
{
	uint64_t gap = supervisor->watched_at == 0 ? 0 : now - supervisor->watched_at;

	supervisor->watched_at = now;
	if (gap <= supervisor->options->watchdog / STALL_PART)
		return;
	forgive(&supervisor->waiting_since, gap, now);
	forgive(&supervisor->stalled_since, gap, now);
	forgive(&supervisor->ahead_since, gap, now);
	for (unsigned i = 0; i < supervisor->replicas; i++)
		forgive(&supervisor->care[i].since, gap, now);
}

result watch_look(struct supervisor *supervisor)
{
	uint64_t now = clock_monotonic_ns();

	forgive_gap(supervisor, now);
	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (supervisor->members[i].pid != 0)
			TRY(look_at(supervisor, &supervisor->members[i], now));
	TRY(look_at_orders(supervisor, now));
	TRY(look_at_ballots(supervisor, now));
	return look_at_leader(supervisor, now);
}
