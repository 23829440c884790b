/* what management sees of a running machine, and asks of it */
#include <stdio.h>
#include <string.h>

#include "base/futex.h"
#include "lockstep/roster.h"
#include "lockstep/supervisor.h"
#include "lockstep/supervisor_state.h"
#include "lockstep/verdict.h"

static void put(json_t *object, const char *key, uint64_t value)
{
	(void)json_object_set_new(object, key, json_integer((json_int_t)value));
}

static const char *state_of(const struct supervisor *supervisor, unsigned replica)
{
	const struct control *control = supervisor->members[replica].area.control;

	switch (supervisor->care[replica].phase) {
	case CARE_LIVE:
		return atomic_load(&control->state) == REPLICA_STARTING ? "starting" : "running";
	case CARE_WAITING:
	case CARE_ORDERED:
		return supervisor->care[replica].by_death ? "joining" : "repairing";
	case CARE_GONE:
	case CARE_JOINING:
		return "joining";
	case CARE_RETIRED:
		break;
	}
	return "retired";
}

static json_t *replica_status(const struct supervisor *supervisor, unsigned replica, uint64_t first)
{
	const struct member *member = &supervisor->members[replica];
	const struct care *care = &supervisor->care[replica];
	const struct control *control = member->area.control;
	uint64_t position = checked_word_load(&control->reached, 0);
	int core = cores_of(&supervisor->cores, replica);
	const struct replica_statistics counted = control->statistics;
	json_t *object = json_object();

	put(object, "index", replica);
	(void)json_object_set_new(object, "role",
				  json_string(replica == supervisor->leader ? "leader" : "follower"));
	(void)json_object_set_new(object, "state", json_string(state_of(supervisor, replica)));
	(void)json_object_set_new(object, "pid", json_integer(member->pid));
	(void)json_object_set_new(object, "core", json_integer(core >= 0 ? core : care->core));
	put(object, "position", position);
	put(object, "lag", first > position ? first - position : 0);
	put(object, "votes", atomic_load(&control->votes));
	put(object, "repairs", care->repairs);
	put(object, "respawns", care->respawns);
	(void)json_object_set_new(object, "last_fault", json_string(care->last_fault));
	(void)json_object_set_new(object, "preemption", tally_preemption(&counted));
	return object;
}

static const char *machine_state(const struct supervisor *supervisor)
{
	uint32_t all = (1u << supervisor->replicas) - 1;

	if (supervisor->over)
		return "ended";
	if (supervisor->life.state != LIFE_RUNNING)
		return life_state_name(supervisor->life.state);
	return roster_live_set(supervisor) == all ? "running" : "degraded";
}

json_t *supervisor_status(const struct supervisor *supervisor)
{
	const struct tally *tally = &supervisor->tally;
	uint64_t first = checked_word_load(&supervisor->members[supervisor->leader].area.control->reached, 0);
	const char *last_fault = "";
	uint64_t last_fault_at = 0;
	json_t *object = json_object();
	json_t *votes = json_object();
	json_t *list = json_array();

	for (unsigned i = 0; i < supervisor->replicas; i++) {
		const struct care *care = &supervisor->care[i];

		(void)json_array_append_new(list, replica_status(supervisor, i, first));
		if (care->last_fault[0] && care->since >= last_fault_at) {
			last_fault_at = care->since;
			last_fault = care->last_fault;
		}
	}
	(void)json_object_set_new(object, "name", json_string(supervisor->options->name));
	(void)json_object_set_new(object, "state", json_string(machine_state(supervisor)));
	put(object, "leader", supervisor->leader);
	put(object, "replicas", supervisor->replicas);
	put(object, "live", roster_live_count(supervisor));
	put(object, "position", supervisor->agreed_position);
	put(object, "uptime_ns", clock_monotonic_ns() - supervisor->begin_ns);
	put(votes, "total",
	    tally->votes[VOTE_UNANIMOUS] + tally->votes[VOTE_MINORITY] + tally->votes[VOTE_NO_MAJORITY]);
	put(votes, "unanimous", tally->votes[VOTE_UNANIMOUS]);
	put(votes, "minority", tally->votes[VOTE_MINORITY]);
	put(votes, "no_majority", tally->votes[VOTE_NO_MAJORITY]);
	put(votes, "unconfirmed", tally->unconfirmed);
	(void)json_object_set_new(object, "votes", votes);
	put(object, "repairs", tally->repairs);
	put(object, "failovers", tally->failovers);
	put(object, "respawns", tally->respawns);
	put(object, "rollbacks", tally->rollbacks);
	(void)json_object_set_new(object, "last_fault", json_string(last_fault));
	(void)json_object_set_new(object, "cores", cores_json(&supervisor->cores));
	(void)json_object_set_new(object, "replica", list);
	return object;
}

void supervisor_console(const struct supervisor *supervisor, char *text, size_t size)
{
	const char *place = supervisor->console.place;

	if (place[0])
		(void)snprintf(text, size, "pty:%s", place);
	else
		(void)snprintf(text, size, "%s", supervisor->options->console);
}

json_t *supervisor_devices(const struct supervisor *supervisor)
{
	return backends_statistics(supervisor->backends);
}

result supervisor_inject(struct supervisor *supervisor, const struct inject_fault *fault)
{
	uint32_t replica = fault->replica;
	struct injection *injection;
	uint32_t serial;

	if (replica >= supervisor->replicas)
		return fail(STATUS_USAGE, "there is no replica %u: they are numbered 0 to %u", replica,
			    supervisor->replicas - 1);
	if (supervisor->over || supervisor->care[replica].phase != CARE_LIVE)
		return fail(STATUS_FAILED, "replica %u takes no part at the moment", replica);
	injection = &supervisor->page->injections[replica];
	serial = atomic_load(&injection->serial);
	if (serial != atomic_load(&supervisor->members[replica].area.control->injection_done))
		return fail(STATUS_FAILED, "replica %u has not taken the fault before this one yet", replica);
	injection->fault = *fault;
	atomic_store(&injection->serial, serial + 1);
	verdict_wake(supervisor, replica);
	return OK;
}
