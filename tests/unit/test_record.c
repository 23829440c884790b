/* What is recorded of a machine whose leaders change, die and are outvoted: the tape that was agreed about, once and in
 * order; and how a recording ends that cannot go on. */
#include "tests/unit/supervised.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lockstep/leadership.h"
#include "lockstep/record.h"
#include "lockstep/recording.h"

static struct supervised supervised;
static struct supervisor *supervisor;
static struct tape_writer tapes[VOTE_REPLICAS_MAX];
static struct vote_record record;
static char path[] = "/tmp/test-record.XXXXXX";

static void setup(void)
{
	int fd;

	supervised_make(&supervised, 3);
	supervisor = supervised.supervisor;
	for (unsigned i = 0; i < 3; i++)
		tapes[i] = (struct tape_writer){ .ring = supervised.own[i].tape,
						 .mirror = supervised.own[i].tape_mirror,
						 .written = &supervised.own[i].control->tape_written };
	memcpy(path, "/tmp/test-record.XXXXXX", sizeof(path));
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	(void)close(fd);
	supervised.options.kernel = path;
	supervisor->config.kernel_fd = guest_memory_file("kernel", 6, 6);
	must_succeed(record_open(&supervisor->record, path, supervisor));
}

static void teardown(void)
{
	record_close(supervisor->record);
	(void)unlink(path);
	supervised_destroy(&supervised);
}

static void enter(unsigned leader, uint64_t position, uint64_t time)
{
	(void)tape_write(&tapes[leader], TAPE_TIME, position, &time, sizeof(time));
}

/* The leader asks for a vote; gives the offset behind that. */
static uint64_t enter_vote(unsigned leader, uint64_t position)
{
	const uint64_t cause = VOTE_CAUSE_INTERVAL;

	(void)tape_write(&tapes[leader], TAPE_VOTE, position, &cause, sizeof(cause));
	return tapes[leader].at;
}

/* A vote has a majority. */
static void agree(uint64_t number, uint64_t position, uint32_t epoch, uint64_t tape_at)
{
	record = (struct vote_record){ .number = number, .position = position, .cause = VOTE_CAUSE_INTERVAL,
				       .epoch = epoch, .tape_at = tape_at };
	record_vote(supervisor, &record);
}

/* Another one leads, as its tape stands. */
static void lead(unsigned leader, struct leadership leadership)
{
	leadership.leader = leader;
	leadership.tape_base = tapes[leader].at;
	supervisor->leader = leader;
	leadership_publish(supervisor->page, ++supervisor->epoch, &leadership);
}

static void lead_at_tape_end(unsigned leader, uint64_t end)
{
	lead(leader, (struct leadership){ .begin = LEADERSHIP_AT_TAPE_END, .tape_end = end });
}

static void lead_at_vote(unsigned leader, uint64_t vote)
{
	lead(leader, (struct leadership){ .begin = LEADERSHIP_AT_VOTE, .vote = vote });
}

/* Its process has died, and a new one gets its area. */
static void empty_area(unsigned index)
{
	memset(supervised.own[index].tape.data, 0, CONTROL_TAPE_SIZE);
	memset(supervised.own[index].tape_mirror.data, 0, CONTROL_TAPE_SIZE);
	checked_word_store(&supervised.own[index].control->tape_written, 0);
	tapes[index].at = 0;
}

/* The recording has just these times, in this order; votes are left out. */
static void must_have(const uint64_t *times, size_t count, uint64_t votes, bool ended)
{
	struct recording recording;
	struct recording_item item;
	size_t found = 0;

	record_end(supervisor);
	must_succeed(recording_open(&recording, path));
	while (!recording.ended && (ended || recording.votes < votes)) {
		must_succeed(recording_next(&recording, &item));
		if (item.kind != RECORDING_ENTRY || item.entry.kind != TAPE_TIME)
			continue;
		ck_assert_uint_lt(found, count);
		ck_assert_uint_eq(tape_entry_value(&item.entry), times[found]);
		found++;
	}
	ck_assert_uint_eq(found, count);
	ck_assert_uint_eq(recording.votes, votes);
	if (!ended)
		must_fail(recording_next(&recording, &item), STATUS_INPUT, "the recording does not");
	recording_close(&recording);
	ck_assert_uint_eq(supervised_events(&supervised, "LOCKSTEP_RECORDING_STOPPED"), !ended);
}

START_TEST(calm)
{
	const uint64_t times[] = { 1, 2, 3 };

	enter(0, 5, 1);
	agree(0, 6, 0, enter_vote(0, 6));
	enter(0, 7, 2);
	enter(0, 7, 3);
	agree(1, 8, 0, enter_vote(0, 8));
	/* What was not voted on is not there. */
	enter(0, 9, 4);
	must_have(times, 3, 2, true);
}
END_TEST

START_TEST(leader_dies)
{
	const uint64_t times[] = { 1, 2, 3, 4 };
	uint64_t end;

	enter(0, 5, 1);
	agree(0, 6, 0, enter_vote(0, 6));
	enter(0, 7, 2);
	end = tapes[0].at;
	/* What its followers do not read is void. */
	enter(0, 7, 99);
	/* The successor has led before, or not. */
	enter(1, 1, 98);
	lead_at_tape_end(1, end);
	enter(1, 9, 3);
	/* Its area is emptied before or after the next vote; the new leader dies, too. */
	if (_i > 0) {
		record_keep(supervisor);
		empty_area(0);
	}
	if (_i > 1) {
		lead_at_tape_end(2, tapes[1].at);
		record_keep(supervisor);
		empty_area(1);
	}
	enter(_i > 1 ? 2 : 1, 10, 4);
	agree(1, 11, _i > 1 ? 2 : 1, enter_vote(_i > 1 ? 2 : 1, 11));
	must_have(times, 4, 2, true);
}
END_TEST

/* The old leader's tape counts up to the vote at which it lost. */
START_TEST(leader_is_outvoted)
{
	const uint64_t times[] = { 1, 2, 3 };
	uint64_t at;

	enter(0, 5, 1);
	agree(0, 6, 0, enter_vote(0, 6));
	enter(0, 7, 2);
	at = enter_vote(0, 8);
	enter(0, 9, 99);
	(void)enter_vote(0, 10);
	lead_at_vote(2, 1);
	agree(1, 8, 0, at);
	enter(2, 9, 3);
	record_keep(supervisor);
	agree(2, 11, 1, enter_vote(2, 11));
	must_have(times, 3, 3, true);
}
END_TEST

/* Back at the last vote; what was kept of a dead leader since is void, too. */
START_TEST(rollback)
{
	const uint64_t times[] = { 1, 3 };

	enter(0, 5, 1);
	agree(0, 6, 0, enter_vote(0, 6));
	enter(0, 7, 98);
	if (_i > 0) {
		lead_at_tape_end(1, tapes[0].at);
		enter(1, 7, 99);
		record_keep(supervisor);
	}
	lead_at_vote(2, 0);
	enter(2, 7, 3);
	agree(1, 8, supervisor->epoch, enter_vote(2, 8));
	must_have(times, 2, 2, true);
}
END_TEST

/* From power-on, before any vote. */
START_TEST(begins_anew)
{
	const uint64_t times[] = { 1 };

	enter(0, 5, 99);
	lead_at_tape_end(1, tapes[0].at);
	record_keep(supervisor);
	empty_area(0);
	supervisor->epoch = 0;
	supervisor->leader = 0;
	supervisor->config.rtc_epoch = 77;
	enter(0, 5, 1);
	agree(0, 6, 0, enter_vote(0, 6));
	must_have(times, 1, 1, true);
}
END_TEST

/* Around the ring, again and again. */
START_TEST(long_tape)
{
	struct recording_summary summary;
	struct recording recording;
	uint64_t position = 0;

	for (uint64_t vote = 0; vote < 20; vote++) {
		for (uint64_t at = tapes[0].at; tapes[0].at < at + CONTROL_TAPE_PER_VOTE;)
			enter(0, ++position, vote);
		agree(vote, position, 0, enter_vote(0, position));
	}
	record_end(supervisor);
	must_succeed(recording_open(&recording, path));
	must_succeed(recording_scan(&recording, UINT64_MAX, &summary));
	ck_assert(summary.ended);
	ck_assert_uint_eq(summary.votes, 20);
	ck_assert_uint_eq(summary.position, position);
	recording_close(&recording);
}
END_TEST

/* One copy is enough. */
START_TEST(damaged_once)
{
	const uint64_t times[] = { 1, 2 };

	enter(0, 5, 1);
	enter(0, 5, 2);
	supervised.own[0].tape.data[20] ^= 4;
	agree(0, 6, 0, enter_vote(0, 6));
	must_have(times, 2, 1, true);
}
END_TEST

/* What cannot be recorded ends the recording, and leaves what was good. */
START_TEST(stops)
{
	const uint64_t times[] = { 1 };
	uint64_t at;

	enter(0, 5, 1);
	agree(0, 6, 0, enter_vote(0, 6));
	at = tapes[0].at;
	enter(0, 7, 2);
	switch (_i) {
	case 0:
		supervised.own[0].tape.data[at + 20] ^= 4;
		supervised.own[0].tape_mirror.data[at + 20] ^= 4;
		agree(1, 8, 0, enter_vote(0, 8));
		break;
	case 1: /* the leader was too fast */
		at = enter_vote(0, 8);
		checked_word_store(&supervised.own[0].control->tape_written, at + CONTROL_TAPE_SIZE);
		agree(1, 8, 0, at);
		break;
	case 2: /* the tape goes on behind the vote, or ends before it */
		agree(1, 7, 0, enter_vote(0, 8));
		break;
	case 3:
		agree(1, 9, 0, enter_vote(0, 8));
		break;
	case 4: /* not at the end of an entry */
		agree(1, 8, 0, enter_vote(0, 8) - 8);
		break;
	case 5: /* backwards */
		agree(1, 6, 0, at - 24);
		break;
	case 6: /* from a leadership that is not there */
		agree(1, 8, 1, enter_vote(0, 8));
		break;
	case 7: /* a dead leader's area is gone */
		lead_at_tape_end(1, tapes[0].at);
		empty_area(0);
		agree(1, 8, 1, enter_vote(1, 8));
		break;
	case 8: /* a vote that does not follow the last one */
		agree(2, 8, 0, enter_vote(0, 8));
		break;
	case 9: /* a leadership that begins elsewhere */
		lead_at_vote(1, 3);
		agree(1, 8, 1, enter_vote(1, 8));
		break;
	default: /* more leaderships than are remembered */
		for (unsigned i = 0; i < CONTROL_LEADERSHIPS; i++)
			lead_at_tape_end(1 + i % 2, tapes[i == 0 ? 0 : 1 + (i + 1) % 2].at);
		agree(1, 8, supervisor->epoch, enter_vote(supervisor->leader, 8));
		break;
	}
	/* Once, whatever comes. */
	agree(1, 8, 0, tapes[0].at);
	must_have(times, 1, 1, false);
}
END_TEST

/* A file that cannot be written is cut back to what is whole. */
START_TEST(full)
{
	const uint64_t times[] = { 1 };
	struct rlimit limit = { .rlim_cur = 800, .rlim_max = RLIM_INFINITY };

	ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	enter(0, 5, 1);
	agree(0, 6, 0, enter_vote(0, 6));
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	enter(0, 7, 2);
	agree(1, 8, 0, enter_vote(0, 8));
	/* The test's own files have a limit, too. */
	limit.rlim_cur = RLIM_INFINITY;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	must_have(times, 1, 1, false);
}
END_TEST

START_TEST(not_asked_for)
{
	struct record *none = supervisor->record;

	must_succeed(record_open(&supervisor->record, NULL, supervisor));
	ck_assert_ptr_null(supervisor->record);
	agree(0, 6, 0, 24);
	record_keep(supervisor);
	record_end(supervisor);
	must_fail(record_open(&supervisor->record, "/tmp/no-such-folder/x", supervisor), STATUS_INPUT, "--record");
	ck_assert_ptr_null(supervisor->record);
	supervisor->record = none;
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("record");
	TCase *tests = tcase_create("record");

	supervised_be_replica(argc, argv);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, calm);
	tcase_add_loop_test(tests, leader_dies, 0, 3);
	tcase_add_test(tests, leader_is_outvoted);
	tcase_add_loop_test(tests, rollback, 0, 2);
	tcase_add_test(tests, begins_anew);
	tcase_add_test(tests, long_tape);
	tcase_add_test(tests, damaged_once);
	tcase_add_loop_test(tests, stops, 0, 11);
	tcase_add_test(tests, full);
	tcase_add_test(tests, not_asked_for);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
