#include "lockstep/turns.h"

#include "base/futex.h"
#include "base/log.h"
#include "lockstep/roster.h"
#include "lockstep/supervisor_state.h"
#include "lockstep/verdict.h"

/* --- decisions --- */

/* A leader with so many votes without a verdict has cast the first of them about a vote interval ago. */
enum { VOTES_AHEAD = 2 };

static bool runs(const struct turns_view *view, unsigned replica)
{
	return view->runs >> replica & 1;
}

bool turns_busy(const struct turns_view *view)
{
	const uint32_t followers = view->runs & ~(1u << view->leader);

	return (unsigned)__builtin_popcount(followers) >= view->cores;
}

/* Those who run on a core. */
static unsigned load_of(const struct turns *turns, const struct turns_view *view, unsigned core)
{
	unsigned load = 0;

	for (unsigned i = 0; i < view->replicas; i++)
		load += runs(view, i) && turns->seat[i].pid != 0 && turns->seat[i].core == core;
	return load;
}

/* Who leaves a crowded core. */
static unsigned leaver_of(const struct turns *turns, const struct turns_view *view, unsigned core)
{
	unsigned leaver = view->leader;

	for (unsigned i = 0; i < view->replicas; i++) {
		if (!runs(view, i) || turns->seat[i].pid == 0 || turns->seat[i].core != core)
			continue;
		if (i == view->leader && view->ahead)
			return i;
		if (i != view->leader)
			leaver = i;
	}
	return leaver;
}

bool turns_next(const struct turns *turns, const struct turns_view *view, unsigned *replica, unsigned *core)
{
	unsigned most = 0, load[TURNS_CORES_MAX];

	invariant(view->cores > 0 && view->cores <= TURNS_CORES_MAX && view->replicas <= VOTE_REPLICAS_MAX);
	*core = 0;
	for (unsigned i = 0; i < view->cores; i++) {
		load[i] = load_of(turns, view, i);
		if (load[i] < load[*core])
			*core = i;
		if (load[i] > load[most])
			most = i;
	}
	for (*replica = 0; *replica < view->replicas; ++*replica)
		if (runs(view, *replica) && turns->seat[*replica].pid == 0)
			return true;
	if (load[most] < load[*core] + 2)
		return false;
	*replica = leaver_of(turns, view, most);
	return true;
}

/* --- the machine --- */

/* What replicas say of themselves is believed: who lies slows the machine down, and that is all. */
static bool follower_runs(const struct supervisor *supervisor, const struct member *member)
{
	return member->live && member->index != supervisor->leader && !verdict_has_voted(supervisor, member) &&
	       atomic_load_explicit(&member->area.control->waiting, memory_order_relaxed) == 0;
}

static struct turns_view look(const struct supervisor *supervisor)
{
	const struct member *leader = &supervisor->members[supervisor->leader];
	struct turns_view view = {
		.cores = cores_shared(&supervisor->cores),
		.replicas = supervisor->replicas,
		.leader = supervisor->leader,
	};

	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (follower_runs(supervisor, &supervisor->members[i]))
			view.runs |= 1u << i;
	view.ahead = atomic_load(&leader->area.control->rests) != 0 ||
		     atomic_load(&leader->area.control->votes) >= supervisor->verdicts + VOTES_AHEAD;
	/* One that is ahead rests while everybody else runs. */
	if (leader->live && !(view.ahead && turns_busy(&view)))
		view.runs |= 1u << supervisor->leader;
	return view;
}

/* A process that is gone, or new, has no seat. */
static void forget_gone(struct supervisor *supervisor)
{
	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (supervisor->turns.seat[i].pid != supervisor->members[i].pid)
			supervisor->turns.seat[i].pid = 0;
}

static bool take_turns(const struct supervisor *supervisor)
{
	return cores_shared(&supervisor->cores) > 1 && !supervisor->config.strict;
}

static bool votes_are_dense(const struct supervisor *supervisor)
{
	return take_turns(supervisor) && supervisor->verdicts - supervisor->turns.verdicts >= TURNS_VOTES;
}

static enum leader_turn turn_of(const struct supervisor *supervisor, const struct turns_view *view)
{
	if (!take_turns(supervisor))
		return TURN_AHEAD;
	/* Where some are missing the others share no cores, and nobody needs to be far ahead. */
	if (roster_live_count(supervisor) <= view->cores)
		return TURN_OWN;
	return turns_busy(view) ? TURN_REST : TURN_AHEAD;
}

static void tell(struct supervisor *supervisor, const struct turns_view *view)
{
	const uint32_t turn = turn_of(supervisor, view);

	/* A leader that rests goes on as soon as a core has nothing else to do. */
	if (atomic_exchange(&supervisor->page->turn, turn) > turn)
		futex_signal(&supervisor->page->sequence);
}

void turns_tell(struct supervisor *supervisor)
{
	const struct turns_view view = look(supervisor);

	tell(supervisor, &view);
}

void turns_take(struct supervisor *supervisor)
{
	unsigned replica, core;
	struct turns_view view;

	forget_gone(supervisor);
	view = look(supervisor);
	while (votes_are_dense(supervisor) && turns_next(&supervisor->turns, &view, &replica, &core)) {
		const pid_t pid = supervisor->members[replica].pid;

		if (failed(cores_seat(&supervisor->cores, core, pid)))
			break;
		supervisor->turns.seat[replica] = (struct turns_seat){ .pid = pid, .core = core };
	}
	/* Now: who sleeps is moved in no time, who runs has to be interrupted. */
	tell(supervisor, &view);
}

int turns_wait(const struct supervisor *supervisor)
{
	return take_turns(supervisor) && supervisor->verdicts != supervisor->turns.verdicts ? TURNS_WAIT_MS : -1;
}

void turns_free(struct supervisor *supervisor)
{
	forget_gone(supervisor);
	for (unsigned i = 0; i < supervisor->replicas; i++) {
		struct turns_seat *seat = &supervisor->turns.seat[i];

		if (seat->pid != 0 && failed(cores_unseat(&supervisor->cores, seat->pid)))
			log_debug("replica %u stays where it is", i);
		seat->pid = 0;
	}
	supervisor->turns.verdicts = supervisor->verdicts;
}

void turns_forget(struct supervisor *supervisor)
{
	supervisor->turns = (struct turns){ 0 };
}
