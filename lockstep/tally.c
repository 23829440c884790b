#include "lockstep/tally.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/futex.h"
#include "lockstep/tape.h"

result tally_create(struct tally *tally)
{
	*tally = (struct tally){
		.end = "unknown",
		.differences = json_array(),
		.retired = json_array(),
		.faults = json_array(),
		.overshoots = json_array(),
		.events = json_array(),
	};
	if (!tally->differences || !tally->retired || !tally->faults || !tally->overshoots || !tally->events)
		return fail(STATUS_FAILED, "no memory for statistics");
	return OK;
}

void tally_destroy(struct tally *tally)
{
	json_decref(tally->differences);
	json_decref(tally->devices);
	json_decref(tally->retired);
	json_decref(tally->faults);
	json_decref(tally->overshoots);
	json_decref(tally->events);
	tally->differences = tally->retired = tally->faults = tally->overshoots = tally->events = NULL;
}

json_t *tally_fault(struct tally *tally, unsigned replica, const char *kind, uint64_t position, uint64_t injected_ns,
		    uint64_t detected_ns)
{
	const bool stop = strcmp(kind, "overshot") == 0 || strcmp(kind, "unfound") == 0;
	json_t *list = stop ? tally->overshoots : tally->faults;
	json_t *fault;

	if (json_array_size(list) >= TALLY_FAULTS_MAX)
		return NULL;
	fault = json_pack("{s:i, s:s, s:I, s:I}", "replica", (int)replica, "kind", kind, "position",
			  (json_int_t)position, "detected_ns", (json_int_t)detected_ns);
	if (fault && injected_ns > 0)
		(void)json_object_set_new(fault, "injected_ns", json_integer((json_int_t)injected_ns));
	if (fault)
		(void)json_array_append_new(list, fault);
	return fault;
}

void tally_event(struct tally *tally, json_t *event)
{
	(void)json_array_append(tally->events, event);
	if (json_array_size(tally->events) > TALLY_EVENTS_MAX)
		(void)json_array_remove(tally->events, 0);
}

void tally_retire(struct tally *tally, unsigned replica, uint64_t position, const char *why)
{
	(void)json_array_append_new(tally->retired,
				    json_pack("{s:i, s:I, s:s}", "replica", (int)replica, "position",
					      (json_int_t)position, "why", why));
}

static void put(json_t *object, const char *key, uint64_t value)
{
	(void)json_object_set_new(object, key, json_integer((json_int_t)value));
}

static json_t *votes_json(const struct tally *tally)
{
	json_t *votes = json_object();
	json_t *causes = json_object();

	put(votes, "total", tally->votes[VOTE_UNANIMOUS] + tally->votes[VOTE_MINORITY] +
				    tally->votes[VOTE_NO_MAJORITY]);
	put(votes, "unanimous", tally->votes[VOTE_UNANIMOUS]);
	put(votes, "minority", tally->votes[VOTE_MINORITY]);
	put(votes, "no_majority", tally->votes[VOTE_NO_MAJORITY]);
	put(votes, "unconfirmed", tally->unconfirmed);
	for (unsigned cause = 1; cause < VOTE_CAUSES; cause++)
		put(causes, vote_cause_name((enum vote_cause)cause), tally->by_cause[cause]);
	(void)json_object_set_new(votes, "by_cause", causes);
	put(votes, "releases", tally->releases);
	return votes;
}

static json_t *exits_json(const struct replica_statistics *leader)
{
	json_t *exits = json_object();

	for (unsigned reason = 1; reason < EXIT_REASONS; reason++)
		put(exits, exit_reason_name((enum exit_reason)reason), leader->exits[reason]);
	return exits;
}

static json_t *tape_json(const struct replica_statistics *leader)
{
	json_t *tape = json_object();
	json_t *entries = json_object();

	for (unsigned kind = 1; kind < TAPE_KINDS; kind++)
		put(entries, tape_kind_name((enum tape_kind)kind), leader->tape_entries[kind]);
	(void)json_object_set_new(tape, "entries", entries);
	put(tape, "bytes", leader->tape_bytes);
	return tape;
}

static json_t *latency_json(const struct histogram *latency)
{
	json_t *object = json_object();
	json_t *buckets = json_array();

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		if (latency->buckets[i] == 0)
			continue;
		json_t *bucket = json_object();

		put(bucket, "le_ns", histogram_upper_bound(i));
		put(bucket, "count", latency->buckets[i]);
		(void)json_array_append_new(buckets, bucket);
	}
	put(object, "count", latency->count);
	put(object, "p50", histogram_quantile(latency, 500));
	put(object, "p99", histogram_quantile(latency, 990));
	put(object, "max", latency->max);
	(void)json_object_set_new(object, "histogram", buckets);
	return object;
}

static uint64_t cpu_ns(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * NS_PER_S + (uint64_t)time->tv_usec * NS_PER_US;
}

json_t *tally_preemption(const struct replica_statistics *counted)
{
	static const char *const ends[] = { "found", "exited", "lost", "left" };
	json_t *object = json_object();

	put(object, "stops", counted->stops);
	put(object, "late_ticks", counted->late_ticks);
	put(object, "late_max_ns", counted->late_max_ns);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		put(object, ends[i], counted->hunts[i]);
	put(object, "hunt_ns", counted->hunt_ns);
	put(object, "visits", counted->hunt_visits);
	put(object, "visits_max", counted->hunt_visits_max);
	put(object, "executed", counted->hunt_executed);
	put(object, "doubles", counted->hunt_doubles);
	put(object, "visits_p50", histogram_quantile(&counted->hunt_visits_each, 500));
	put(object, "visits_p99", histogram_quantile(&counted->hunt_visits_each, 990));
	put(object, "ratio_p50", histogram_quantile(&counted->hunt_ratio, 500));
	put(object, "ratio_p99", histogram_quantile(&counted->hunt_ratio, 990));
	put(object, "ratio_max", counted->hunt_ratio.max);
	return object;
}

static json_t *stages_json(const struct stopwatch *time)
{
	json_t *object = json_object();

	for (unsigned stage = 0; stage < STAGES; stage++)
		put(object, stage_name((enum stage)stage), time->ns[stage]);
	return object;
}

static json_t *duties_json(const struct stopwatch *time)
{
	json_t *object = json_object();

	for (unsigned duty = 0; duty < DUTIES; duty++)
		put(object, duty_name((enum duty)duty), time->ns[duty]);
	return object;
}

static json_t *member_json(const struct member *member, const struct replica_statistics *counted, unsigned leader)
{
	json_t *object = json_object();

	put(object, "index", member->index);
	(void)json_object_set_new(object, "role", json_string(member->index == leader ? "leader" : "follower"));
	(void)json_object_set_new(object, "state", json_string(member->live ? "ended" : "retired"));
	if (!member->live)
		(void)json_object_set_new(object, "why", json_string(member->why));
	put(object, "positions", checked_word_load(&member->area.control->reached, 0));
	put(object, "cpu_ns", cpu_ns(&member->cpu_time));
	put(object, "guest_ns", counted->time.ns[STAGE_GUEST]);
	put(object, "vote_ns", stopwatch_votes(&counted->time));
	put(object, "wait_ns", stopwatch_waits(&counted->time));
	put(object, "halt_ns", counted->time.ns[STAGE_HALT]);
	(void)json_object_set_new(object, "stages", stages_json(&counted->time));
	(void)json_object_set_new(object, "rendezvous",
				  json_pack("{s:I, s:I, s:I}", "meetings", (json_int_t)counted->meetings, "partings",
					    (json_int_t)counted->partings, "absences", (json_int_t)counted->absences));
	put(object, "pages_hashed", counted->pages_hashed);
	put(object, "pages_scrubbed", counted->pages_scrubbed);
	put(object, "pages_copied", counted->pages_copied);
	put(object, "backlog_max", counted->backlog_max);
	put(object, "lag_max", counted->lag_max);
	put(object, "signals", counted->signals);
	put(object, "input_faults", counted->input_faults);
	put(object, "unassigned_accesses", counted->unassigned);
	(void)json_object_set_new(object, "preemption", tally_preemption(counted));
	return object;
}

json_t *tally_json(const struct tally *tally, const struct member *members, unsigned replicas, unsigned leader)
{
	struct replica_statistics first = { .meetings = 0 };
	uint64_t guest_ns = 0, vote_ns = 0, wait_ns = 0, pages_hashed = 0;
	json_t *list = json_array();
	json_t *object = json_object();
	json_t *time = json_object();
	json_t *check = json_object();

	for (unsigned i = 0; i < replicas; i++) {
		struct replica_statistics counted = members[i].area.control->statistics;

		if (i == leader)
			first = counted;
		guest_ns += counted.time.ns[STAGE_GUEST];
		vote_ns += stopwatch_votes(&counted.time);
		wait_ns += stopwatch_waits(&counted.time);
		pages_hashed += counted.pages_hashed;
		(void)json_array_append_new(list, member_json(&members[i], &counted, leader));
	}
	put(object, "positions", tally->positions);
	put(object, "replicas", replicas);
	put(object, "wall_ns", tally->wall_ns);
	put(object, "life_ns", tally->life_ns);
	put(object, "console_bytes", tally->console_bytes);
	put(object, "pages_hashed", pages_hashed);
	put(object, "backlog_max", first.backlog_max);
	(void)json_object_set_new(object, "end", json_string(tally->end));
	(void)json_object_set_new(object, "votes", votes_json(tally));
	(void)json_object_set_new(object, "exits", exits_json(&first));
	(void)json_object_set_new(object, "tape", tape_json(&first));
	put(time, "guest_ns", guest_ns);
	put(time, "vote_ns", vote_ns);
	put(time, "wait_ns", wait_ns);
	(void)json_object_set_new(object, "time", time);
	(void)json_object_set_new(object, "supervisor", duties_json(&tally->time));
	(void)json_object_set_new(object, "commit_latency", latency_json(tally->commit_latency));
	(void)json_object_set_new(object, "vote_latency", latency_json(&tally->vote_latency));
	put(check, "pages", tally->ram_pages);
	put(check, "differing", tally->ram_differing);
	(void)json_object_set_new(object, "ram_check", check);
	(void)json_object_set_new(object, "replica", list);
	(void)json_object_set(object, "differences", tally->differences);
	if (tally->devices)
		(void)json_object_set(object, "devices", tally->devices);
	(void)json_object_set(object, "retired", tally->retired);
	put(object, "repairs", tally->repairs);
	put(object, "failovers", tally->failovers);
	put(object, "respawns", tally->respawns);
	put(object, "rollbacks", tally->rollbacks);
	put(object, "resets", tally->resets);
	(void)json_object_set(object, "faults", tally->faults);
	(void)json_object_set(object, "overshoots", tally->overshoots);
	(void)json_object_set(object, "events", tally->events);
	return object;
}

result tally_write(const struct tally *tally, const struct member *members, unsigned replicas, unsigned leader,
		   const char *path)
{
	json_t *object = tally_json(tally, members, replicas, leader);
	char *text = json_dumps(object, JSON_INDENT(2));
	int fd;
	result r;

	json_decref(object);
	if (!text)
		return fail(STATUS_FAILED, "no memory for statistics");
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0) {
		r = fail_errno(STATUS_INPUT, errno, "--stats: cannot write %s", path);
	} else {
		r = fd_write_all(fd, path, text, strlen(text));
		if (!failed(r))
			r = fd_write_all(fd, path, "\n", 1);
	}
	fd_close(&fd);
	free(text);
	return r;
}
