#include "tests/unit/supervised.h"

#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/futex.h"
#include "lockstep/leadership.h"
#include "lockstep/verdict.h"

enum { PAGES = RAM_SIZE_MIN / RAM_PAGE_SIZE };

static void exist(void)
{
	for (;;)
		(void)pause();
}

void supervised_be_replica(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], SPAWNER_ROLE) == 0)
		exist();
}

static void start_process(struct member *member)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		exist();
	}
	member->pid = pid;
	member->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	ck_assert_int_ge(member->pid_fd, 0);
}

static void make_member(struct supervised *supervised, unsigned index)
{
	struct supervisor *supervisor = supervised->supervisor;
	struct member *member = &supervisor->members[index];

	must_succeed(member_create(member, index, RAM_SIZE_MIN));
	must_succeed(area_map(&supervised->own[index], member->area_fd, PAGES, true));
	start_process(member);
	member->live = true;
	supervisor->care[index] = (struct care){ .phase = CARE_LIVE, .core = -1 };
	heartbeat_reset(&supervisor->care[index].heartbeat, clock_monotonic_ns());
	atomic_store(&supervised->own[index].control->state, REPLICA_RUNNING);
}

void supervised_make(struct supervised *supervised, unsigned count)
{
	const struct cores_place places[] = { { 0, 0 }, { 1, 1 }, { 2, 2 }, { 3, 3 }, { 4, 4 }, { 5, 5 } };
	const struct cores_policy policy = { .mode = CORES_NONE };
	struct supervisor *supervisor = calloc(1, sizeof(*supervisor));

	ck_assert_ptr_nonnull(supervisor);
	*supervised = (struct supervised){
		.supervisor = supervisor,
		.options = { .name = "made-up",
			     .memory = RAM_SIZE_MIN,
			     .replicas = count,
			     .watchdog = SUPERVISED_WATCHDOG },
	};
	/* A replica that is called gets this signal; those here would die of it. */
	ck_assert(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
	supervisor->options = &supervised->options;
	supervisor->replicas = count;
	supervisor->records = calloc(VOTE_REPLICAS_MAX, sizeof(*supervisor->records));
	ck_assert_ptr_nonnull(supervisor->records);
	supervisor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	must_succeed(spawner_start(&supervisor->spawner));
	supervisor->doorbell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	supervisor->config = (struct replica_config){
		.replicas = count,
		.memory = RAM_SIZE_MIN,
		.doorbell_fd = supervisor->doorbell_fd,
		.kernel_fd = -1,
		.initrd_fd = -1,
	};
	supervisor->console = (struct console){ .input_fd = -1, .output_fd = -1, .keeper_fd = -1 };
	must_succeed(tally_create(&supervisor->tally));
	must_succeed(digest_create(&supervisor->digests, supervisor->config.digest_key));
	must_succeed(backends_open(&supervisor->backends, &supervised->options.devices));
	must_succeed(commit_create(&supervisor->commit, &supervisor->console, supervisor->backends,
				   &supervisor->digests));
	must_succeed(cores_open_on(&supervisor->cores, &policy, count, places, ARRAY_SIZE(places)));
	must_succeed(fd_sealed_memory(&supervisor->page_fd, "page", sizeof(*supervisor->page)));
	must_succeed(supervisor_page_map(&supervisor->page, supervisor->page_fd, true));
	supervisor->begin_ns = clock_monotonic_ns();
	leadership_publish(supervisor->page, 0, &(struct leadership){ .leader = 0 });
	for (unsigned i = 0; i < count; i++)
		make_member(supervised, i);
	atomic_store(&supervisor->page->live, (1u << count) - 1);
}

void supervised_destroy(struct supervised *supervised)
{
	struct supervisor *supervisor = supervised->supervisor;

	for (unsigned i = 0; i < supervisor->replicas; i++) {
		member_destroy(&supervisor->members[i]);
		area_unmap(&supervised->own[i]);
	}
	spawner_stop(&supervisor->spawner);
	fd_unmap(supervisor->page, sizeof(*supervisor->page));
	commit_destroy(&supervisor->commit);
	backends_close(supervisor->backends);
	cores_close(&supervisor->cores);
	digest_destroy(&supervisor->digests);
	tally_destroy(&supervisor->tally);
	fd_close(&supervisor->page_fd);
	fd_close(&supervisor->doorbell_fd);
	fd_close(&supervisor->epoll_fd);
	free(supervisor->records);
	free(supervisor);
}

bool supervised_runs(const struct supervised *supervised, unsigned index)
{
	pid_t pid = supervised->supervisor->members[index].pid;

	return pid != 0 && kill(pid, 0) == 0;
}

void supervised_stand(struct supervised *supervised, unsigned index, uint64_t position, uint64_t tape)
{
	struct control *control = supervised->own[index].control;

	checked_word_store(&control->reached, position);
	if (index == supervised->supervisor->leader)
		checked_word_store(&control->tape_written, tape);
	else
		atomic_store(&control->tape_read, tape);
}

/* Nothing was output: that has a digest, too. */
static void write_record(struct supervised *supervised, unsigned index, uint64_t number, unsigned kind)
{
	struct control *control = supervised->own[index].control;
	struct vote_record *record = &control->records[number % CONTROL_VOTE_SLOTS];

	memset(record, 0, sizeof(*record));
	record->number = number;
	record->position = checked_word_load(&control->reached, 0);
	record->cause = VOTE_CAUSE_INTERVAL;
	record->core = 3;
	record->cast_host_ns = supervised->cast_ns[index];
	memset(record->ballot.digests, (int)kind + 1, sizeof(record->ballot.digests));
	record->ballot.digests[VOTE_OUTPUT] =
		digest_of(&supervised->supervisor->digests, DIGEST_OUTPUT, number, "", 0);
	record->crc = vote_record_crc(record);
}

void supervised_vote(struct supervised *supervised, unsigned index, unsigned kind)
{
	struct control *control = supervised->own[index].control;
	uint64_t number = atomic_load(&control->votes);

	write_record(supervised, index, number, kind);
	atomic_store(&control->votes, number + 1);
}

void supervised_end(struct supervised *supervised, enum machine_end end, uint64_t value)
{
	for (unsigned i = 0; i < supervised->supervisor->replicas; i++) {
		struct control *control = supervised->own[i].control;
		uint64_t number = atomic_load(&control->votes);
		struct vote_record *record = &control->records[number % CONTROL_VOTE_SLOTS];

		if (!supervised->supervisor->members[i].live)
			continue;
		write_record(supervised, i, number, 0);
		record->end = end;
		record->end_value = value;
		record->crc = vote_record_crc(record);
		atomic_store(&control->votes, number + 1);
	}
	must_succeed(verdict_judge(supervised->supervisor));
}

void supervised_complain(struct supervised *supervised, unsigned index)
{
	struct control *control = supervised->own[index].control;

	control->complaint_position = checked_word_load(&control->reached, 0);
	control->complaint_tape_at = atomic_load(&control->tape_read);
	memcpy(control->failure, "it does not fit", 16);
	atomic_store(&control->complaint, 1);
}

void supervised_obey(struct supervised *supervised, unsigned index, unsigned kind)
{
	struct control *control = supervised->own[index].control;
	const struct order *order = &supervised->supervisor->page->orders[index];

	write_record(supervised, index, order->vote, kind);
	atomic_store(&control->votes, order->vote + 1);
	atomic_store(&control->complaint, 0);
	atomic_store(&control->state, REPLICA_RUNNING);
	atomic_store(&control->order_done, atomic_load(&order->serial));
}

unsigned supervised_events(const struct supervised *supervised, const char *name)
{
	unsigned count = 0;
	size_t i;
	json_t *event;

	json_array_foreach(supervised->supervisor->tally.events, i, event)
		count += strcmp(json_string_value(json_object_get(event, "event")), name) == 0;
	return count;
}

void supervised_agree(struct supervised *supervised, uint64_t position)
{
	struct supervisor *supervisor = supervised->supervisor;
	uint64_t verdicts = supervisor->verdicts;

	for (unsigned i = 0; i < supervisor->replicas; i++) {
		if (!supervisor->members[i].live)
			continue;
		supervised_stand(supervised, i, position, 0);
		supervised_vote(supervised, i, 0);
	}
	must_succeed(verdict_judge(supervisor));
	ck_assert_uint_eq(supervisor->verdicts, verdicts + 1);
	ck_assert_uint_eq(atomic_load(&supervisor->page->verdicts), verdicts + 1);
}

void supervised_follow(struct supervised *supervised)
{
	const struct supervisor *supervisor = supervised->supervisor;

	for (unsigned i = 0; i < supervisor->replicas; i++)
		if (supervisor->members[i].live)
			atomic_store(&supervised->own[i].control->epoch, supervisor->epoch);
}

struct leadership supervised_leadership(const struct supervised *supervised)
{
	const struct supervisor_page *page = supervised->supervisor->page;

	return page->leaderships[atomic_load(&page->epoch) % CONTROL_LEADERSHIPS];
}

void supervised_must_be_led(const struct supervised *supervised, uint32_t epoch, unsigned leader,
			    enum leadership_begin begin)
{
	const struct supervisor *supervisor = supervised->supervisor;
	const struct leadership leadership = supervised_leadership(supervised);

	ck_assert_uint_eq(atomic_load(&supervisor->page->epoch), epoch);
	ck_assert_uint_eq(supervisor->epoch, epoch);
	ck_assert_uint_eq(supervisor->leader, leader);
	ck_assert_uint_eq(supervisor->tally.failovers, epoch);
	ck_assert_uint_eq(supervised_events(supervised, "LOCKSTEP_FAILOVER"), epoch);
	if (epoch == 0)
		return;
	ck_assert_uint_eq(leadership.leader, leader);
	ck_assert_uint_eq(leadership.begin, begin);
}

void supervised_must_be(const struct supervised *supervised, unsigned index, enum care_phase phase)
{
	const struct supervisor *supervisor = supervised->supervisor;
	const bool runs = phase != CARE_GONE && phase != CARE_RETIRED;

	ck_assert_int_eq(supervisor->care[index].phase, phase);
	ck_assert_int_eq(supervisor->members[index].live, phase == CARE_LIVE);
	ck_assert_int_eq(atomic_load(&supervisor->page->live) >> index & 1, phase == CARE_LIVE);
	ck_assert_int_eq(supervised_runs(supervised, index), runs);
}

void supervised_must_have_order(const struct supervised *supervised, unsigned index, enum order_kind kind,
				unsigned donor, uint64_t vote)
{
	const struct order *order = &supervised->supervisor->page->orders[index];

	supervised_must_be(supervised, index, CARE_ORDERED);
	ck_assert_uint_ne(atomic_load(&order->serial),
			  atomic_load(&supervised->own[index].control->order_done));
	ck_assert_uint_eq(order->kind, kind);
	ck_assert_uint_eq(order->donor, donor);
	ck_assert_uint_eq(order->vote, vote);
}
