/* orders, leaderships, verdicts: what comes between a replica and its guest */
#include "lockstep/attend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fd.h"
#include "base/futex.h"
#include "base/log.h"
#include "lockstep/device_link.h"
#include "lockstep/resync.h"
#include "lockstep/run_meter.h"

/* Whoever waits for the supervisor looks up at least so often. */
#define LOOK_NS (100 * NS_PER_MS)
/* A leader may cast a vote while one that is no older than this, or than the vote interval, has no verdict. */
#define LEAD_MIN_NS (5 * NS_PER_MS)
/* A leader that is ahead of the verdicts by so many parts of that rests while all cores have work without it. */
enum { REST_PARTS = 3, REST_OF = 4 };
/* A replica that joins looks so often for pages that changed meanwhile, */
#define JOIN_LOOK_NS (5 * NS_PER_MS)
/* and can join when no more than these have, or when it has seen that there always will be more. */
enum { JOIN_PAGES = 2048, JOIN_PASSES = 10 };
/* It copies so many pages at once, some milliseconds of work, before it gives way. */
enum { COPY_PAGES = 1024 };
/* Between two signs of life: some milliseconds. */
enum { PREPARE_PAGES = 4096 };

void attend_ring(const struct replica *replica)
{
	fd_ring(replica->config.doorbell_fd);
}

void attend_beat(const struct replica *replica)
{
	/* Others wait for this one: should a bit of it flip, it is written again. */
	atomic_store_explicit(&replica->own.control->epoch, replica->epoch, memory_order_relaxed);
	control_beat(replica->own.control);
}

/* --- leaderships --- */

static struct source_links links_of(struct replica *replica)
{
	return (struct source_links){
		.index = replica->config.index,
		.replicas = replica->config.replicas,
		.own = &replica->own,
		.peers = replica->peers,
		.supervisor = replica->supervisor,
		.devices = device_link_devices(replica),
		.strict = replica->config.strict != 0,
		.attention_seen = &replica->attention_seen,
	};
}

/* Takes its source from `leader`, whose tape goes on at `at`. */
static void follow(struct replica *replica, unsigned leader, uint64_t at)
{
	const struct source_links links = links_of(replica);

	replica->leads = leader == replica->config.index;
	if (replica->leads) {
		source_live_init(&replica->sources.live, &links, replica->config.vote_interval);
		replica->source = &replica->sources.live.source;
		device_link_lead(replica);
		preempt_lead(replica);
		/* Its followers may have come here before it did: what they wait for is said anew. */
		checked_word_store(&replica->own.control->reached, replica->machine.position);
	} else {
		source_tape_init(&replica->sources.tape, &links, leader, at);
		replica->source = &replica->sources.tape.source;
	}
}

static const struct leadership *leadership_of(const struct replica *replica, uint32_t epoch)
{
	return &replica->supervisor->leaderships[epoch % CONTROL_LEADERSHIPS];
}

static void enter_epoch(struct replica *replica, uint32_t epoch)
{
	replica->epoch = epoch;
	atomic_store(&replica->own.control->epoch, epoch);
}

static bool valid_leader(const struct replica *replica, const struct leadership *leadership)
{
	return leadership->leader < replica->config.replicas;
}

void attend_begin(struct replica *replica)
{
	const struct leadership *first = leadership_of(replica, 0);

	enter_epoch(replica, 0);
	follow(replica, first->leader, first->tape_base);
}

/* Goes through the leaderships that begin where this replica stands. */
static void follow_leaderships(struct replica *replica)
{
	while (replica->epoch != atomic_load(&replica->supervisor->epoch)) {
		const struct leadership next = *leadership_of(replica, replica->epoch + 1);

		if (!valid_leader(replica, &next))
			return;
		if (next.begin == LEADERSHIP_AT_VOTE && replica->box.votes != next.vote + 1)
			return;
		if (next.begin == LEADERSHIP_AT_TAPE_END) {
			if (replica->leads)
				return; /* an old leader is told what to do otherwise */
			source_tape_set_end(&replica->sources.tape, next.tape_end, next.reached_end);
			if (!source_tape_exhausted(&replica->sources.tape, replica->machine.position))
				return;
		}
		/* In this order: who sees the epoch sees how far its tape was read. */
		follow(replica, next.leader, next.tape_base);
		enter_epoch(replica, replica->epoch + 1);
	}
}

uint64_t attend_tape_at(const struct replica *replica)
{
	return replica->leads ? replica->sources.live.tape.at : replica->sources.tape.tape.at;
}

/* --- orders --- */

/* Where a donor's place on its leader's tape is: the vote tells, unless it has changed leaders while it stood there. */
static void follow_donor(struct replica *replica, unsigned donor, const struct vote_record *record)
{
	uint32_t epoch = atomic_load(&replica->peers[donor].control->epoch);
	const struct leadership *leadership = leadership_of(replica, epoch);
	uint64_t at = epoch == record->epoch ? record->tape_at : leadership->tape_base;

	enter_epoch(replica, epoch);
	if (valid_leader(replica, leadership) && leadership->leader != replica->config.index)
		follow(replica, leadership->leader, at);
	/* Where the donor has not yet left a leadership that was this replica's own, the next one begins here. */
	follow_leaderships(replica);
}

/* Where it stands after it was somewhere else. */
static void tell_position(struct replica *replica)
{
	checked_word_store(&replica->own.control->closed, 0);
	checked_word_store(&replica->own.control->reached, replica->machine.position);
	atomic_store(&replica->own.control->met, replica->machine.position);
	replica->parted = false;
}

static result resync(struct replica *replica, unsigned donor, uint64_t vote, struct vote_record *record)
{
	struct resync_origin origin = { .record = record };

	if (donor >= replica->config.replicas || donor == replica->config.index)
		return fail(STATUS_FAILED, "there is no replica %u to take over the state of", donor);
	origin.memory = replica->peer_rams[donor].memory;
	origin.table = replica->peers[donor].page_hashes;
	TRY(vote_record_take(&replica->peers[donor], vote, record));
	/* What is kept is compared with all of the memory next time: these pages are in no vote's list of changes. */
	replica->checkpoint.valid = false;
	TRY(resync_take(replica, &origin));
	tell_position(replica);
	follow_donor(replica, donor, record);
	return OK;
}

static result rollback(struct replica *replica, uint64_t vote)
{
	const struct checkpoint *checkpoint = &replica->checkpoint;
	const struct resync_origin origin = {
		.memory = checkpoint->memory,
		.table = checkpoint->table,
		.record = checkpoint->record,
	};

	if (!checkpoint->valid || checkpoint->record->number != vote)
		return fail(STATUS_FAILED, "there is no checkpoint of vote %llu to go back to",
			    (unsigned long long)vote);
	TRY(resync_take(replica, &origin));
	/* Whoever becomes leader from here on says how it goes on; the tape at hand does not. */
	tell_position(replica);
	return OK;
}

static result carry_out(struct replica *replica, const struct order *order)
{
	struct vote_record *record;
	result r;

	(void)stopwatch_enter(&replica_statistics_of(replica)->time, STAGE_REPAIR);
	if (order->kind == ORDER_ROLLBACK)
		return rollback(replica, order->vote);
	/* Too large for the stack. */
	record = malloc(sizeof(*record));
	if (!record)
		return fail(STATUS_FAILED, "no memory for a donor's vote");
	r = resync(replica, order->donor, order->vote, record);
	free(record);
	return r;
}

static result take_order(struct replica *replica)
{
	const struct order *given = &replica->supervisor->orders[replica->config.index];
	struct control *own = replica->own.control;
	uint32_t serial = atomic_load(&given->serial);

	if (serial == atomic_load(&own->order_done))
		return OK;
	const struct order order = { .kind = given->kind, .donor = given->donor, .vote = given->vote };

	const unsigned before = (unsigned)replica_statistics_of(replica)->time.stage;

	TRY(carry_out(replica, &order));
	(void)stopwatch_enter(&replica_statistics_of(replica)->time, before);
	atomic_store(&own->complaint, COMPLAINT_NONE);
	atomic_store(&own->state, REPLICA_RUNNING);
	ballot_box_publish(&replica->box, attend_tape_at(replica), replica->epoch);
	atomic_store(&own->order_done, serial);
	attend_ring(replica);
	return OK;
}

static void take_injection(struct replica *replica)
{
	const struct injection *given = &replica->supervisor->injections[replica->config.index];
	uint32_t serial = atomic_load(&given->serial);

	if (serial == atomic_load(&replica->own.control->injection_done) ||
	    replica->fault_count == ARRAY_SIZE(replica->faults))
		return;
	replica->faults[replica->fault_count++] = given->fault;
	atomic_store(&replica->own.control->injection_done, serial);
}

result attend(struct replica *replica)
{
	attend_beat(replica);
	replica->attention_seen = atomic_load(&replica->supervisor->attention[replica->config.index]);
	if (atomic_load(&replica->supervisor->command) == COMMAND_END) {
		replica->leave = true;
		return OK;
	}
	take_injection(replica);
	if (replica->source)
		follow_leaderships(replica);
	return take_order(replica);
}

bool attend_called(const struct replica *replica)
{
	return supervisor_page_calls(replica->supervisor, replica->config.index, replica->attention_seen);
}

/* --- verdicts --- */

static uint64_t lead_ns(const struct replica *replica)
{
	const uint64_t interval = supervisor_page_vote_interval(replica->supervisor, replica->config.vote_interval);

	return interval > LEAD_MIN_NS ? interval : LEAD_MIN_NS;
}

static uint32_t turn_of(const struct replica *replica)
{
	return atomic_load_explicit(&replica->supervisor->turn, memory_order_relaxed);
}

/*
 * Should the leader be outvoted, its successor begins where the oldest vote without a verdict is: that is how far the
 * machine falls back. What counts is how far the leader has gone on since, not for how long it has waited: it would
 * wait for its followers' last votes else, and not just until they are near enough. Votes for output follow one another
 * fast, and only their number is bounded. Where replicas share cores, followers take turns, so that verdicts come
 * later; a leader that waits for one is in nobody's way while every core has work without it, and leaves one idle else.
 */
static bool too_far_ahead(const struct replica *replica, uint64_t verdicts)
{
	const uint64_t turns = turn_of(replica) == TURN_AHEAD ? replica->config.crowding : 1;

	return replica->box.votes - verdicts >= CONTROL_VOTE_BACKLOG ||
	       ballot_box_since(&replica->box, verdicts) >= lead_ns(replica) * turns;
}

/* Bytes that this leader has put on its tape since the oldest vote without a verdict. */
static uint64_t tape_unsettled(const struct replica *replica, uint64_t verdicts)
{
	const struct vote_record *oldest = &replica->own.control->records[verdicts % CONTROL_VOTE_SLOTS];
	/* It may have been cast on the tape of a leader before. */
	uint64_t begin = oldest->epoch == replica->epoch ? oldest->tape_at :
							   leadership_of(replica, replica->epoch)->tape_base;

	return attend_tape_at(replica) - begin;
}

static bool may_go_on(struct replica *replica)
{
	uint64_t verdicts = atomic_load_explicit(&replica->supervisor->verdicts, memory_order_acquire);
	uint64_t released = atomic_load_explicit(&replica->supervisor->output_released, memory_order_acquire);
	uint64_t votes = replica->box.votes;
	uint64_t backlog = votes - verdicts;
	uint64_t exits_unsettled;

	if (atomic_load(&replica->supervisor->hold) >> replica->config.index & 1)
		return false;
	if (backlog == 0)
		return replica->outbox.voted - released <= CONTROL_OUTBOX_SIZE / 2;
	if (!replica->leads || replica->end != END_RUNNING || too_far_ahead(replica, verdicts))
		return false;
	/* The logs of every vote without a verdict must stay readable. */
	exits_unsettled = replica->machine.position -
			  replica->own.control->records[verdicts % CONTROL_VOTE_SLOTS].position;
	return exits_unsettled <= CONTROL_EXIT_LOG / 4 && tape_unsettled(replica, verdicts) <= CONTROL_TAPE_PER_VOTE &&
	       replica->outbox.voted - released <= CONTROL_OUTBOX_SIZE / 2;
}

/* Two replicas keep checkpoints, where there is ever a way back. */
static bool keeps_checkpoints(const struct replica *replica)
{
	return replica->config.replicas == 2 && !replica->config.replays;
}

static result need_checkpoint(struct replica *replica)
{
	return replica->checkpoint.memory ? OK : checkpoint_create(&replica->checkpoint, &replica->ram);
}

/* The vote that was waited for is agreed: two replicas keep where they agreed. */
static result keep_checkpoint(struct replica *replica)
{
	const struct control *own = replica->own.control;

	if (!keeps_checkpoints(replica) || replica->leads || replica->box.votes == 0)
		return OK;
	(void)stopwatch_enter(&replica_statistics_of(replica)->time, STAGE_CHECKPOINT);
	TRY(need_checkpoint(replica));
	checkpoint_take(&replica->checkpoint, &replica->own, &replica->ram,
			&own->records[(replica->box.votes - 1) % CONTROL_VOTE_SLOTS]);
	(void)stopwatch_enter(&replica_statistics_of(replica)->time, STAGE_TAPE);
	return OK;
}

/* A leader that is to be copied says where it stands. */
static void tell_held(struct replica *replica)
{
	struct control *own = replica->own.control;

	if (!(atomic_load(&replica->supervisor->hold) >> replica->config.index & 1) ||
	    atomic_load(&own->held) == replica->box.votes)
		return;
	atomic_store(&own->held, replica->box.votes);
	attend_ring(replica);
}

/*
 * Whether the guest may go on, by all that was said until the verdict at hand. The supervisor calls replicas before it
 * gives a verdict, not behind it: a follower that goes on without having listened would take what an outvoted leader
 * has put on its tape behind the vote. In this order, then: the verdict, the call.
 */
static result listen(struct replica *replica, bool *go_on)
{
	for (;;) {
		*go_on = may_go_on(replica);
		if (!attend_called(replica) || replica->leave)
			return OK;
		TRY(attend(replica));
	}
}

result attend_verdict(struct replica *replica)
{
	struct stopwatch *time = &replica_statistics_of(replica)->time;
	unsigned before = (unsigned)time->stage;
	bool go_on;

	TRY(listen(replica, &go_on));
	if (!go_on && !replica->leave) {
		(void)stopwatch_enter(time, replica->end_voted ? STAGE_END : STAGE_WAIT_VERDICT);
		ballot_box_wait(&replica->box, true);
		for (;;) {
			uint32_t sequence = atomic_load(&replica->supervisor->sequence);

			attend_beat(replica);
			TRY(listen(replica, &go_on));
			if (go_on || replica->leave)
				break;
			tell_held(replica);
			/* Followers wait for what this says: should a bit of it flip, it is written again. */
			if (replica->leads)
				checked_word_store(&replica->own.control->tape_written, attend_tape_at(replica));
			futex_wait(&replica->supervisor->sequence, sequence, LOOK_NS);
		}
		ballot_box_wait(&replica->box, false);
		atomic_store(&replica->own.control->held, 0);
		/* Where it leaves, the way out belongs to the end. */
		if (!replica->leave)
			(void)stopwatch_enter(time, before);
	}
	return replica->leave ? OK : keep_checkpoint(replica);
}

/* A leader that has gone on from its vote for long enough leaves the cores to those who are needed for the verdict. It
 * is as far ahead of them then that they find something to do behind it. */
static bool must_rest(const struct replica *replica)
{
	uint64_t verdicts;

	if (!replica->leads || replica->config.crowding < 2 || turn_of(replica) != TURN_REST)
		return false;
	verdicts = atomic_load_explicit(&replica->supervisor->verdicts, memory_order_acquire);
	return replica->box.votes > verdicts &&
	       ballot_box_since(&replica->box, verdicts) >= lead_ns(replica) * REST_PARTS / REST_OF;
}

void attend_rest(struct replica *replica)
{
	struct control *own = replica->own.control;
	struct stopwatch *time = &replica_statistics_of(replica)->time;
	const unsigned before = (unsigned)time->stage;

	if (!must_rest(replica))
		return;
	(void)stopwatch_enter(time, STAGE_WAIT_VERDICT);
	/* The supervisor gives its core to somebody else. */
	atomic_store(&own->rests, 1);
	ballot_box_wait(&replica->box, true);
	attend_ring(replica);
	for (;;) {
		const uint32_t sequence = atomic_load(&replica->supervisor->sequence);

		attend_beat(replica);
		if (!must_rest(replica) || attend_called(replica) ||
		    atomic_load(&replica->supervisor->command) == COMMAND_END)
			break;
		/* Followers wait for what this says: should a bit of it flip, it is written again. */
		checked_word_store(&own->tape_written, attend_tape_at(replica));
		futex_wait(&replica->supervisor->sequence, sequence, LOOK_NS);
	}
	ballot_box_wait(&replica->box, false);
	atomic_store(&own->rests, 0);
	(void)stopwatch_enter(time, before);
}

/* --- complaints --- */

/* Whether a complaint has had consequences. Where the tape is now known to end elsewhere, there may be some way to go
 * yet: to where others found the same. */
static bool answered(const struct replica *replica, uint32_t epoch, const struct source_tape *before)
{
	const struct source_tape *now = &replica->sources.tape;

	return replica->leave || replica->rejoined || replica->epoch != epoch ||
	       now->tape.ends != before->tape.ends || now->tape.end != before->tape.end ||
	       now->reached_end != before->reached_end;
}

result attend_complain(struct replica *replica, enum complaint complaint, const char *why)
{
	struct control *own = replica->own.control;
	struct stopwatch *time = &replica_statistics_of(replica)->time;
	const struct source_tape before = replica->sources.tape;
	unsigned stage = (unsigned)time->stage;
	uint32_t epoch = replica->epoch;

	(void)stopwatch_enter(time, STAGE_REPAIR);
	(void)snprintf(own->failure, sizeof(own->failure), "%s", why);
	own->complaint_epoch = epoch;
	own->complaint_position = replica->machine.position;
	own->complaint_tape_at = attend_tape_at(replica);
	atomic_store(&own->complaint, (uint32_t)complaint);
	log_debug("complains at position %llu: %s", (unsigned long long)replica->machine.position, why);
	attend_ring(replica);
	while (!answered(replica, epoch, &before)) {
		uint32_t sequence = atomic_load(&replica->supervisor->sequence);

		TRY(attend(replica));
		if (answered(replica, epoch, &before))
			break;
		futex_wait(&replica->supervisor->sequence, sequence, LOOK_NS);
	}
	atomic_store(&own->complaint, COMPLAINT_NONE);
	(void)stopwatch_enter(time, stage);
	return OK;
}

/* --- joining --- */

/* Whose memory is copied meanwhile: a follower's, better than the leader's, which is busier. */
static unsigned donor_of(const struct replica *replica)
{
	uint32_t live = atomic_load(&replica->supervisor->live) & ~(1u << replica->config.index);
	uint32_t epoch = atomic_load(&replica->supervisor->epoch);
	uint32_t leader = leadership_of(replica, epoch)->leader;

	for (unsigned i = 0; i < replica->config.replicas; i++)
		if ((live >> i & 1) && i != leader)
			return i;
	return leader < replica->config.replicas && leader != replica->config.index ? leader : VOTE_REPLICAS_MAX;
}

/* Its first vote is to take no longer than others: the leader would wait for it, and the guest with it. */
static result prepare_checkpoint(struct replica *replica)
{
	const uint64_t pages = ram_pages(&replica->ram);

	if (!keeps_checkpoints(replica))
		return OK;
	TRY(need_checkpoint(replica));
	for (uint64_t first = 0; first < pages; first += PREPARE_PAGES) {
		checkpoint_prepare(&replica->checkpoint, &replica->own, &replica->ram, first,
				   pages - first < PREPARE_PAGES ? pages - first : PREPARE_PAGES);
		attend_beat(replica);
	}
	return OK;
}

/* Sleeps for as long as was computed since `begin`. */
static void give_way(uint64_t begin)
{
	const uint64_t spent = run_meter_cpu() - begin;
	const struct timespec pause = { .tv_sec = (time_t)(spent / NS_PER_S), .tv_nsec = (long)(spent % NS_PER_S) };

	(void)nanosleep(&pause, NULL);
}

/* Copies and sleeps in turns where the others have no core to spare: they wait for each other, and the guest for the
 * slowest of them. Looking where there is nothing to copy takes next to no time. */
static uint64_t copy_memory(struct replica *replica, const struct resync_origin *origin)
{
	const uint64_t pages = ram_pages(&replica->ram);
	uint64_t begin = run_meter_cpu(), copied = 0;

	for (uint64_t first = 0; first < pages; first += COPY_PAGES) {
		const uint64_t count = pages - first < COPY_PAGES ? pages - first : COPY_PAGES;
		const uint64_t part = resync_copy(replica, origin, first, count);

		attend_beat(replica);
		copied += part;
		if (part > 0 && replica->config.crowding > 1) {
			give_way(begin);
			begin = run_meter_cpu();
		}
	}
	return copied;
}

result attend_join(struct replica *replica)
{
	struct control *own = replica->own.control;
	unsigned passes = 0;

	(void)stopwatch_enter(&own->statistics.time, STAGE_REPAIR);
	atomic_store(&own->state, REPLICA_JOINING);
	while (!replica->leave && !replica->rejoined) {
		uint32_t sequence = atomic_load(&replica->supervisor->sequence);
		unsigned donor = donor_of(replica);
		uint64_t copied;

		TRY(attend(replica));
		if (replica->leave || replica->rejoined)
			break;
		if (donor < VOTE_REPLICAS_MAX) {
			const struct resync_origin origin = {
				.memory = replica->peer_rams[donor].memory,
				.table = replica->peers[donor].page_hashes,
			};

			copied = copy_memory(replica, &origin);
			if (copied > 0)
				TRY(prepare_checkpoint(replica));
			if ((copied <= JOIN_PAGES || ++passes == JOIN_PASSES) &&
			    atomic_load(&own->state) == REPLICA_JOINING) {
				atomic_store(&own->state, REPLICA_JOINABLE);
				attend_ring(replica);
			}
		}
		futex_wait(&replica->supervisor->sequence, sequence, JOIN_LOOK_NS);
	}
	return OK;
}
