/* Inputs for devices: the leader passes on what the inbox has, and a follower takes nothing else. */
#include "tests/unit/replicas.h"

#include <string.h>

static struct replicas replicas;
static struct source_live live;
static struct source_tape follower;
static struct source_view view, followers_view;
/* What the devices of each say to an input with this id. */
static enum device_input_fit leaders_fit[16], followers_fit[16];

static enum device_input_fit judge(void *context, const struct inbox_entry *entry)
{
	const enum device_input_fit *fit = context;

	ck_assert_uint_lt(entry->asked, 16);
	return fit[entry->asked];
}

static void setup(void)
{
	replicas_make(&replicas, 2);
	struct source_links links = replicas_links(&replicas, 0);

	links.devices = (struct source_devices){ leaders_fit, judge };
	source_live_init(&live, &links, 1000 * NS_PER_S);
	links = replicas_links(&replicas, 1);
	links.devices = (struct source_devices){ followers_fit, judge };
	source_tape_init(&follower, &links, 0, 0);
	view = followers_view = replicas_view(5, 0);
	memset(leaders_fit, 0, sizeof(leaders_fit));
	memset(followers_fit, 0, sizeof(followers_fit));
}

/* Both devices say the same. */
static void say(unsigned number, enum device_input_fit fit)
{
	leaders_fit[number] = followers_fit[number] = fit;
}

/* The supervisor has something for a device; it is known by its number here. */
static void bring(unsigned number, enum device_input_kind kind)
{
	struct device_input input = { .device = 1, .kind = kind, .length = 60 + number, .total = 60 + number };

	if (kind != INPUT_NET)
		input.id = number;
	if (kind == INPUT_DISK_DONE)
		input.length = input.total = 0;
	memset(input.data, (int)number, input.length);
	ck_assert(inbox_put(replicas.supervisor, view.inbox_taken, &input, number));
}

static struct input next_of_leader(void)
{
	struct input input = replicas_next(&live.source, &view);

	if (input.kind == INPUT_DEVICE)
		view.inbox_taken = input.entry->end;
	else if (input.kind == INPUT_SKIP)
		view.inbox_taken = input.value;
	return input;
}

static void lead_on(void)
{
	checked_word_store(&replicas.own[0].control->reached, 6);
}

static struct input next_of_follower(void)
{
	struct input input = replicas_next(&follower.source, &followers_view);

	if (input.kind == INPUT_DEVICE)
		followers_view.inbox_taken = input.entry->end;
	else if (input.kind == INPUT_SKIP)
		followers_view.inbox_taken = input.value;
	return input;
}

static void must_diverge(const char *words)
{
	struct input input;

	must_fail(follower.source.operations->next(&follower.source, &followers_view, &input), STATUS_NO_MAJORITY,
		  words);
}

START_TEST(passed_on)
{
	bring(3, INPUT_ENTROPY);
	bring(4, INPUT_DISK_DONE);
	bring(5, INPUT_NET);
	for (unsigned i = 3; i < 6; i++) {
		struct input input = next_of_leader();

		ck_assert_int_eq(input.kind, INPUT_DEVICE);
		ck_assert_uint_eq(input.entry->asked, i);
	}
	ck_assert_int_eq(next_of_leader().kind, INPUT_CLOSED);
	lead_on();
	for (unsigned i = 3; i < 6; i++) {
		struct input input = next_of_follower();

		ck_assert_int_eq(input.kind, INPUT_DEVICE);
		ck_assert_uint_eq(input.entry->asked, i);
		ck_assert_uint_eq(input.entry->input.length, i == 4 ? 0 : 60 + i);
		if (i != 4)
			ck_assert_uint_eq(input.entry->input.data[0], i);
	}
	ck_assert_int_eq(next_of_follower().kind, INPUT_CLOSED);
	ck_assert_uint_eq(view.inbox_taken, followers_view.inbox_taken);
	ck_assert_uint_eq(view.inbox_taken, atomic_load(&replicas.supervisor->inbox_written));
}
END_TEST

START_TEST(voids_skipped)
{
	say(3, DEVICE_INPUT_NEVER);
	bring(3, INPUT_ENTROPY);
	bring(4, INPUT_ENTROPY);
	ck_assert_int_eq(next_of_leader().kind, INPUT_SKIP);
	ck_assert_int_eq(next_of_leader().kind, INPUT_DEVICE);
	lead_on();
	ck_assert_int_eq(next_of_follower().kind, INPUT_SKIP);
	ck_assert_int_eq(next_of_follower().kind, INPUT_DEVICE);
	ck_assert_uint_eq(view.inbox_taken, followers_view.inbox_taken);
}
END_TEST

/* The order of the inbox is kept. */
START_TEST(waits)
{
	say(3, DEVICE_INPUT_WAIT);
	bring(3, INPUT_ENTROPY);
	bring(4, INPUT_ENTROPY);
	ck_assert_int_eq(next_of_leader().kind, INPUT_CLOSED);
	say(3, DEVICE_INPUT_FITS);
	ck_assert_uint_eq(next_of_leader().entry->asked, 3);
	ck_assert_uint_eq(next_of_leader().entry->asked, 4);
}
END_TEST

/* A frame without a buffer keeps nobody waiting. */
START_TEST(frames_get_lost)
{
	say(3, DEVICE_INPUT_WAIT);
	bring(3, INPUT_NET);
	ck_assert_int_eq(next_of_leader().kind, INPUT_CLOSED);
	bring(4, INPUT_ENTROPY);
	ck_assert_int_eq(next_of_leader().kind, INPUT_SKIP);
	ck_assert_int_eq(next_of_leader().kind, INPUT_DEVICE);
	lead_on();
	ck_assert_int_eq(next_of_follower().kind, INPUT_SKIP);
	ck_assert_int_eq(next_of_follower().kind, INPUT_DEVICE);
}
END_TEST

/* --- a leader that lies --- */

START_TEST(lies_about_inputs)
{
	struct inbox_entry entry;
	uint8_t bytes[INBOX_TAPED_MAX];
	uint16_t size;
	bool there;

	bring(3, INPUT_ENTROPY);
	must_succeed(inbox_look(replicas.supervisor, 0, &entry, &there));
	switch (_i) {
	case 0: /* other bytes, with a right checksum */
		entry.input.data[7] ^= 1;
		break;
	case 1: /* for another */
		entry.input.device++;
		break;
	case 2: /* an answer to another question */
		entry.asked = 4;
		break;
	case 3: /* shorter */
		entry.input.length = entry.input.total = 20;
		break;
	}
	size = inbox_to_tape(&entry, bytes);
	if (_i == 4)
		bytes[0] += 8;
	(void)tape_write(&live.tape, TAPE_DEVICE, 5, bytes, size);
	lead_on();
	must_diverge("something for a device that the inbox has not");
}
END_TEST

START_TEST(invents_inputs)
{
	const struct inbox_entry entry = { .end = 56, .input = { .kind = INPUT_DISK_DONE, .id = 1 } };
	uint8_t bytes[INBOX_TAPED_MAX];

	(void)tape_write(&live.tape, TAPE_DEVICE, 5, bytes, inbox_to_tape(&entry, bytes));
	lead_on();
	must_diverge("something for a device that the inbox has not");
}
END_TEST

START_TEST(does_not_fit_here)
{
	followers_fit[3] = _i == 0 ? DEVICE_INPUT_NEVER : DEVICE_INPUT_WAIT;
	bring(3, INPUT_ENTROPY);
	ck_assert_int_eq(next_of_leader().kind, INPUT_DEVICE);
	lead_on();
	must_diverge("something for device 1 that it does not wait for here");
}
END_TEST

START_TEST(skips_what_fits)
{
	static const struct {
		enum device_input_kind kind;
		enum device_input_fit fit;
		bool allowed;
	} cases[] = {
		{ INPUT_ENTROPY, DEVICE_INPUT_FITS, false }, { INPUT_ENTROPY, DEVICE_INPUT_WAIT, false },
		{ INPUT_DISK_DONE, DEVICE_INPUT_WAIT, false }, { INPUT_NET, DEVICE_INPUT_FITS, false },
		{ INPUT_NET, DEVICE_INPUT_WAIT, true },
	};

	leaders_fit[3] = DEVICE_INPUT_NEVER;
	followers_fit[3] = cases[_i].fit;
	bring(3, cases[_i].kind);
	ck_assert_int_eq(next_of_leader().kind, INPUT_SKIP);
	lead_on();
	if (cases[_i].allowed)
		ck_assert_int_eq(next_of_follower().kind, INPUT_SKIP);
	else
		must_diverge("skips what device 1 waits for here");
}
END_TEST

START_TEST(skips_too_much)
{
	uint64_t end;

	say(3, DEVICE_INPUT_NEVER);
	say(4, DEVICE_INPUT_NEVER);
	bring(3, INPUT_ENTROPY);
	bring(4, INPUT_ENTROPY);
	end = atomic_load(&replicas.supervisor->inbox_written) - (_i == 0 ? 0 : 8);
	if (_i == 2)
		end = 0;
	(void)tape_write(&live.tape, TAPE_SKIP, 5, &end, sizeof(end));
	lead_on();
	must_diverge("skips what the inbox has not");
}
END_TEST

/* --- votes --- */

START_TEST(urgent_output)
{
	view.output_pending = 100;
	ck_assert_int_eq(next_of_leader().kind, INPUT_CLOSED);
	view.output_urgent = true;
	struct input input = next_of_leader();

	ck_assert_int_eq(input.kind, INPUT_VOTE);
	ck_assert_uint_eq(input.value, VOTE_CAUSE_OUTPUT);
}
END_TEST

/* The inbox has only so much room for what was not voted on, void or not. */
START_TEST(full_inbox)
{
	unsigned skipped = 0;
	struct input input;

	say(3, DEVICE_INPUT_NEVER);
	for (;;) {
		bring(3, INPUT_DISK_DONE);
		input = next_of_leader();
		if (input.kind != INPUT_SKIP)
			break;
		skipped++;
		ck_assert_uint_le(view.inbox_taken, CONTROL_INBOX_PER_VOTE + INBOX_ENTRY_MAX);
	}
	ck_assert_int_eq(input.kind, INPUT_VOTE);
	ck_assert_uint_eq(input.value, VOTE_CAUSE_BACKLOG);
	ck_assert_uint_gt(skipped, 0);
	ck_assert_uint_ge(view.inbox_taken, CONTROL_INBOX_PER_VOTE);
	ck_assert_int_eq(next_of_leader().kind, INPUT_SKIP);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("source_devices");
	TCase *passing = tcase_create("passing");
	TCase *lying = tcase_create("lying");
	TCase *votes = tcase_create("votes");

	tcase_add_checked_fixture(passing, setup, NULL);
	tcase_add_test(passing, passed_on);
	tcase_add_test(passing, voids_skipped);
	tcase_add_test(passing, waits);
	tcase_add_test(passing, frames_get_lost);
	suite_add_tcase(suite, passing);
	tcase_add_checked_fixture(lying, setup, NULL);
	tcase_add_loop_test(lying, lies_about_inputs, 0, 5);
	tcase_add_test(lying, invents_inputs);
	tcase_add_loop_test(lying, does_not_fit_here, 0, 2);
	tcase_add_loop_test(lying, skips_what_fits, 0, 5);
	tcase_add_loop_test(lying, skips_too_much, 0, 3);
	suite_add_tcase(suite, lying);
	tcase_add_checked_fixture(votes, setup, NULL);
	tcase_add_test(votes, urgent_output);
	tcase_add_test(votes, full_inbox);
	suite_add_tcase(suite, votes);
	return fixture_run(suite);
}
