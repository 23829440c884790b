#include "lockstep/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/futex.h"
#include "base/log.h"
#include "lockstep/fail_stop_copy.h"
#include "lockstep/fail_stop_text.h"
#include "lockstep/file_hash.h"
#include "lockstep/guest_time.h"
#include "lockstep/leadership.h"
#include "lockstep/recording.h"
#include "lockstep/sandbox.h"
#include "lockstep/spawn.h"

/* The replica, and who stands where its leader would: an area that this process writes. */
enum { FOLLOWER, LEADER, MEMBERS };

/* While the replica works, it is looked at so often. */
enum { LOOK_MS = 50 };
#define PROGRESS_NS (200 * NS_PER_MS)
enum { BAR_WIDTH = 40, SHARE_ALL = 1000 };

struct replay {
	const struct replay_options *options;
	struct recording recording;
	struct recording_summary summary;
	struct replica_config config;
	struct member members[MEMBERS];
	struct spawner spawner;
	struct area leader; /* writable */
	struct tape_writer tape;
	struct supervisor_page *page;
	int page_fd, doorbell_fd;
	uint64_t votes;    /* that were as recorded */
	uint64_t position; /* that the replica must have reached by now */
	uint64_t target;   /* position at which the replay ends */
	uint64_t console_taken;
	uint64_t inbox_taken;
	struct vote_record *record; /* the replica's last vote */

	uint64_t beats;    /* the replica's, and since when it has been so many */
	uint64_t beats_since;
	bool terminal;
	uint64_t shown_ns;
};

static const struct control *follower_of(const struct replay *replay)
{
	return replay->members[FOLLOWER].area.control;
}

/* --- progress --- */

static void show_progress(struct replay *replay, bool last)
{
	const uint64_t now = clock_monotonic_ns();
	const uint64_t whole = replay->target > 0 ? replay->target : 1;
	uint64_t at = checked_word_load(&follower_of(replay)->reached, 0);
	char bar[BAR_WIDTH + 1];

	if (!replay->terminal || (!last && now - replay->shown_ns < PROGRESS_NS))
		return;
	replay->shown_ns = now;
	at = at < whole ? at : whole;
	for (unsigned i = 0; i < BAR_WIDTH; i++)
		bar[i] = (unsigned __int128)at * BAR_WIDTH > (unsigned __int128)whole * i ? '#' : '.';
	bar[BAR_WIDTH] = '\0';
	(void)fprintf(stderr, "\r[%s] position %" PRIu64 " of %" PRIu64 "%s", bar, at, whole, last ? "\n" : "");
	(void)fflush(stderr);
}

/* --- the replica --- */

/* What it says of itself; its page is its own. */
static result says(const struct control *control, enum status status, const char *what)
{
	char text[CONTROL_FAILURE_SIZE];

	memcpy(text, control->failure, sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_make_plain(text);
	return fail(status, "%s%.800s", what, text);
}

static result check_alive(struct replay *replay)
{
	const struct control *control = follower_of(replay);
	const uint64_t now = clock_monotonic_ns();
	const uint64_t beats = atomic_load(&control->beats);
	const uint32_t status = control->failure_status;
	char what[128];
	char end[64];

	if (atomic_load(&control->state) == REPLICA_FAILED)
		return says(control,
			    status > STATUS_OK && status <= STATUS_GUEST ? (enum status)status : STATUS_FAILED, "");
	if (atomic_load(&control->complaint) != 0) {
		(void)snprintf(what, sizeof(what), "the replay leaves the recording at position %" PRIu64
			       ", after %" PRIu64 " votes as recorded: ", control->complaint_position, replay->votes);
		return says(control, STATUS_NO_MAJORITY, what);
	}
	if (member_died(&replay->members[FOLLOWER])) {
		(void)member_reap(&replay->members[FOLLOWER]);
		member_tell_end(&replay->members[FOLLOWER], end, sizeof(end));
		return fail(STATUS_FAILED, "the replica is lost after position %" PRIu64 ": %s",
			    checked_word_load(&control->reached, 0), end);
	}
	if (beats != replay->beats || replay->beats_since == 0) {
		replay->beats = beats;
		replay->beats_since = now;
	}
	if (now - replay->beats_since < replay->options->watchdog)
		return OK;
	return fail(STATUS_NO_MAJORITY,
		    "the replica is inside its guest since position %" PRIu64 " and does not come out, after %" PRIu64
		    " votes as recorded",
		    checked_word_load(&control->reached, 0), replay->votes);
}

/* Whether it has taken the whole tape, and waits for more. It can have nothing else to do then: what it says before it
 * waits, it has said. */
static bool waits(const struct replay *replay)
{
	const struct control *control = follower_of(replay);

	/* In this order: it says that it waits no more before it runs, and before it reads. */
	return checked_word_load(&control->reached, 0) >= replay->position &&
	       atomic_load(&control->tape_read) == replay->tape.at && atomic_load(&control->waiting) != 0;
}

/* Waits for the replica to cast vote number `vote`; false if it waits itself, and has not. */
static result await_vote(struct replay *replay, uint64_t vote, bool *cast)
{
	const struct control *control = follower_of(replay);
	uint64_t count;

	for (;;) {
		/* In this order: a vote is there before the wait that follows it. */
		const bool waiting = waits(replay);

		*cast = atomic_load(&control->votes) > vote;
		if (*cast || waiting)
			return OK;
		TRY(check_alive(replay));
		show_progress(replay, false);

		struct pollfd doorbell = { .fd = replay->doorbell_fd, .events = POLLIN };

		if (poll(&doorbell, 1, LOOK_MS) < 0 && errno != EINTR)
			return fail_errno(STATUS_FAILED, errno, "cannot wait for the replica");
		if (read(replay->doorbell_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
			return fail_errno(STATUS_FAILED, errno, "cannot wait for the replica");
	}
}

/* --- its leader --- */

/* What was in the inbox; where that was void and is not recorded, something else that is. Here is one leadership. */
static result bring_device_input(struct replay *replay, struct tape_entry *entry)
{
	const uint64_t at = replay->inbox_taken;
	const uint64_t kept = at > CONTROL_INBOX_SIZE / 2 ? at - CONTROL_INBOX_SIZE / 2 : 0;
	struct inbox_entry input;

	if (entry->kind == TAPE_SKIP) {
		TRY(inbox_void(at, tape_entry_value(entry), &input));
	} else {
		TRY(in_context(inbox_from_tape(entry->payload, entry->length, at, &input),
			       "the recording's input for a device at position %" PRIu64, entry->position));
		input.input.epoch = 0;
		entry->length = inbox_to_tape(&input, entry->payload);
	}
	replay->inbox_taken = input.end;
	/* It is taken before the ring comes round: a vote is due before. */
	if (!inbox_put(replay->page, kept, &input.input, input.asked))
		return fail(STATUS_INPUT, "the recording has an input for a device that nobody had room for");
	return OK;
}

/* Inputs are there before the leader says that it took them. */
static result bring_input(struct replay *replay, struct tape_entry *entry)
{
	const struct ring console = { replay->page->console, CONTROL_INPUT_SIZE };

	if (entry->kind == TAPE_CONSOLE) {
		ring_put(&console, replay->console_taken, entry->payload, entry->length);
		replay->console_taken += entry->length;
		atomic_store(&replay->page->console_written, replay->console_taken);
	} else if (entry->kind == TAPE_BUTTON) {
		atomic_fetch_add(&replay->page->buttons, 1);
	} else if (entry->kind == TAPE_RESET) {
		atomic_fetch_add(&replay->page->resets, 1);
	} else if (entry->kind == TAPE_DEVICE || entry->kind == TAPE_SKIP) {
		return bring_device_input(replay, entry);
	}
	return OK;
}

static void reach(struct replay *replay, uint64_t position)
{
	replay->position = position;
	checked_word_store(&replay->leader.control->reached, position);
}

/* The tape before a vote fits into the ring, which is empty after each. */
static result feed(struct replay *replay, struct tape_entry *entry)
{
	TRY(bring_input(replay, entry));
	reach(replay, entry->position);
	(void)tape_write(&replay->tape, entry->kind, entry->position, entry->payload, entry->length);
	return OK;
}

static void wake(struct replay *replay)
{
	futex_signal(&replay->leader.control->sequence);
}

/* --- votes --- */

/* The replica's vote, and what it lets out. */
static result take_vote(struct replay *replay)
{
	TRY(vote_record_take(&replay->members[FOLLOWER].area, replay->votes, replay->record));
	atomic_store(&replay->page->output_released, replay->record->output_end);
	return OK;
}

static result check_vote(struct replay *replay, const struct tape_file_vote *recorded)
{
	struct tape_file_vote cast;
	char difference[800];
	bool any;

	wake(replay);
	TRY(await_vote(replay, replay->votes, &any));
	if (!any)
		return fail(STATUS_NO_MAJORITY,
			    "the recording has vote %" PRIu64 " at position %" PRIu64 ", where the replay cannot vote",
			    recorded->number, recorded->position);
	TRY(take_vote(replay));
	cast = tape_file_vote_of(replay->record);
	if (tape_file_compare_votes(&cast, recorded, true, difference, sizeof(difference)))
		return fail(STATUS_NO_MAJORITY,
			    "vote %" PRIu64 " at position %" PRIu64 " is not as recorded, the first of them (the one "
			    "before was at position %" PRIu64 "): %s",
			    recorded->number, recorded->position, replay->summary.position, difference);
	replay->summary.position = recorded->position;
	replay->votes++;
	atomic_store(&replay->page->verdicts, replay->votes);
	futex_signal(&replay->page->sequence);
	return OK;
}

/* Runs to the position without anything that is not recorded. */
static result run_to(struct replay *replay, uint64_t position)
{
	bool cast;

	reach(replay, position);
	wake(replay);
	TRY(await_vote(replay, replay->votes, &cast));
	if (cast)
		return fail(STATUS_NO_MAJORITY, "the replay votes at position %" PRIu64 ", which is not recorded",
			    position);
	return OK;
}

/* A vote of our own, which is not on the recorded tape; there is no way on from here. False: the machine is within an
 * instruction that takes more than one exit, or an exception is at hand. */
static result look(struct replay *replay, bool *cast)
{
	const uint64_t cause = VOTE_CAUSE_REQUEST;

	(void)tape_write(&replay->tape, TAPE_VOTE, replay->position, &cause, sizeof(cause));
	wake(replay);
	TRY(await_vote(replay, replay->votes, cast));
	return *cast ? take_vote(replay) : OK;
}

/* --- the story --- */

/* Everything up to `position`. `item` is the first behind it, if the recording has not ended. */
static result play(struct replay *replay, uint64_t position, struct recording_item *item, bool *at_hand)
{
	struct recording *recording = &replay->recording;

	while (!recording->ended) {
		if (!*at_hand)
			TRY(recording_next(recording, item));
		*at_hand = item->position > position && item->kind != RECORDING_END;
		if (*at_hand)
			return OK;
		if (item->kind == RECORDING_ENTRY)
			TRY(feed(replay, &item->entry));
		else if (item->kind == RECORDING_VOTE)
			TRY(check_vote(replay, &item->vote));
		/* What stands behind it need not be whole. */
		if (item->kind == RECORDING_VOTE && item->position == position)
			return OK;
	}
	return OK;
}

/* As near behind the position as the machine can be looked at. */
static result look_at(struct replay *replay, struct recording_item *item, bool *at_hand)
{
	bool cast = false;

	TRY(look(replay, &cast));
	while (!cast) {
		TRY(play(replay, replay->position + 1, item, at_hand));
		if (replay->recording.ended)
			return OK;
		TRY(run_to(replay, replay->position + 1));
		TRY(look(replay, &cast));
	}
	return OK;
}

static result follow_recording(struct replay *replay)
{
	const struct replay_options *options = replay->options;
	/* Too large for the stack. */
	struct recording_item *item = calloc(1, sizeof(*item));
	bool at_hand = false;
	result r;

	if (!item)
		return fail(STATUS_FAILED, "no memory for a recording");
	replay->summary = (struct recording_summary){ .position = 0 };
	r = play(replay, options->until, item, &at_hand);
	/* Where the recording has no more for the guest, the replica stands at the last vote. */
	if (!failed(r) && !replay->recording.ended && replay->position < options->until)
		r = run_to(replay, options->until);
	if (!failed(r) && !replay->recording.ended && options->look)
		r = look_at(replay, item, &at_hand);
	free(item);
	return r;
}

static void dump(const struct replay *replay)
{
	struct fail_stop_copy *copy = calloc(1, sizeof(*copy));

	if (!copy)
		return;
	copy->side_count = 1;
	copy->sides[0].record = replay->record;
	fail_stop_text_digests(stdout, copy);
	(void)printf("\n");
	fail_stop_text_registers(stdout, copy);
	(void)printf("\n");
	fail_stop_text_devices(stdout, copy);
	free(copy);
}

static void tell(const struct replay *replay)
{
	const struct vote_record *record = replay->record;

	(void)printf("replayed %" PRIu64 " positions, %" PRIu64 " votes: all as recorded\n", replay->position,
		     replay->votes);
	if (record->crc != 0) {
		(void)printf("digest of memory at position %" PRIu64 ": ", record->position);
		for (unsigned i = 0; i < DIGEST_SIZE; i++)
			(void)printf("%02x", record->ballot.digests[VOTE_RAM].bytes[i]);
		(void)printf("\n");
	}
	if (replay->recording.ended)
		(void)printf("at its end the machine was %s\n",
			     record->end == END_RUNNING ? "running: it was stopped" :
							  fail_stop_copy_end_name(record->end));
	if (replay->options->dump && record->crc != 0)
		dump(replay);
}

/* --- setting up --- */

/* Opens the file that was recorded, or one that is the same. */
static result open_image(const struct tape_file_image *image, const char *given, const char *option, int *fd,
			 char *name)
{
	const char *path = given ? given : image->path;
	uint8_t hash[FILE_HASH_SIZE];
	uint64_t size;

	if (!image->path[0])
		return given ? fail(STATUS_USAGE, "%s %s: the machine was recorded without one", option, given) : OK;
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		return fail_errno(STATUS_INPUT, errno,
				  "cannot read %s, from which the machine was started (%s FILE says where it is now)",
				  path, option);
	(void)snprintf(name, REPLICA_NAME_MAX, "%.*s", REPLICA_NAME_MAX - 1, path);
	TRY(file_hash(*fd, path, &size, hash));
	if (size != image->size || memcmp(hash, image->hash, sizeof(hash)) != 0)
		return fail(STATUS_INPUT, "%s is not the file from which the machine was started (%s FILE says where "
			    "that is): its SHA-256 is another", path, option);
	return OK;
}

static result make_config(struct replay *replay)
{
	const struct tape_file_machine *machine = &replay->recording.machine;
	struct replica_config *config = &replay->config;
	const bool payload = machine->kind == BOOT_PAYLOAD;

	*config = (struct replica_config){
		.replicas = MEMBERS,
		.memory = machine->memory,
		.vote_interval = NS_PER_S,
		.crowding = 1,
		.watchdog = replay->options->watchdog,
		/* Stops are looked for as they were when it was recorded; time does not matter. */
		.preempt_grace = NS_PER_MS,
		.preempt_budget = SHARE_ALL,
		.rtc_epoch = machine->rtc_epoch,
		.kind = machine->kind,
		.verbose = replay->options->verbose,
		.replays = 1,
		.sandbox = !failed(sandbox_available()),
		.doorbell_fd = replay->doorbell_fd,
		.kernel_fd = -1,
		.initrd_fd = -1,
	};
	memcpy(config->digest_key, machine->digest_key, sizeof(config->digest_key));
	memcpy(config->seed, machine->seed, sizeof(config->seed));
	config->pci_count = machine->pci_count;
	memcpy(config->pci, machine->pci, sizeof(config->pci));
	memcpy(config->command_line, machine->command_line, sizeof(config->command_line));
	TRY(open_image(&machine->kernel, replay->options->kernel, payload ? "--payload" : "--kernel",
		       &config->kernel_fd, config->kernel_name));
	return open_image(&machine->initrd, replay->options->initrd, "--initrd", &config->initrd_fd,
			  config->initrd_name);
}

static result make_page(struct replay *replay)
{
	TRY(supervisor_page_create(&replay->page, &replay->page_fd, "tercet-replay"));
	leadership_publish(replay->page, 0, &(struct leadership){ .leader = LEADER });
	atomic_store(&replay->page->live, 1u << FOLLOWER);
	/* Whatever time is recorded has come by now, by this clock: replays need not wait for it. What had not come
	 * after a century is no time that a board must bear. */
	guest_time_begin(replay->page, clock_monotonic_ns() - BOARD_TIME_MAX / 2);
	return OK;
}

static result make_members(struct replay *replay)
{
	const uint64_t memory = replay->config.memory;

	for (unsigned i = 0; i < MEMBERS; i++)
		TRY(member_create(&replay->members[i], i, memory));
	TRY(area_map(&replay->leader, replay->members[LEADER].area_fd, memory / RAM_PAGE_SIZE, true));
	replay->tape = (struct tape_writer){
		.ring = replay->leader.tape,
		.mirror = replay->leader.tape_mirror,
		.written = &replay->leader.control->tape_written,
	};
	return member_start(&replay->members[FOLLOWER], replay->members, &replay->config,
			    &replay->spawner, replay->page_fd);
}

/* All of it, before anything is run. */
static result check_recording(struct replay *replay)
{
	const struct replay_options *options = replay->options;
	struct failure why;
	result r;

	TRY(recording_open(&replay->recording, options->path));
	r = recording_scan(&replay->recording, options->until, &replay->summary);
	if (failed(r) && replay->summary.votes > 0) {
		why = *r.failure;
		return fail(why.status, "%.700s; --until %" PRIu64 " replays what stands before", why.message,
			    replay->summary.position);
	}
	TRY(r);
	if (options->until != REPLAY_TO_THE_END && replay->summary.ended && replay->summary.position < options->until)
		return fail(STATUS_USAGE, "there is no position %" PRIu64 ": the recording ends at position %" PRIu64,
			    options->until, replay->summary.position);
	replay->target = options->until != REPLAY_TO_THE_END ? options->until : replay->summary.position;
	return OK;
}

static result set_up(struct replay *replay)
{
	replay->record = calloc(1, sizeof(*replay->record));
	if (!replay->record)
		return fail(STATUS_FAILED, "no memory for a vote");
	TRY(check_recording(replay));
	replay->doorbell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (replay->doorbell_fd < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot set up a replay");
	TRY(spawner_start(&replay->spawner));
	replay->terminal = isatty(STDERR_FILENO) == 1;
	TRY(make_config(replay));
	TRY(make_page(replay));
	return make_members(replay);
}

static void tear_down(struct replay *replay)
{
	for (unsigned i = 0; i < MEMBERS; i++)
		member_destroy(&replay->members[i]);
	spawner_stop(&replay->spawner);
	area_unmap(&replay->leader);
	if (replay->page)
		fd_unmap(replay->page, sizeof(*replay->page));
	fd_close(&replay->page_fd);
	fd_close(&replay->doorbell_fd);
	fd_close(&replay->config.kernel_fd);
	fd_close(&replay->config.initrd_fd);
	recording_close(&replay->recording);
	free(replay->record);
	free(replay);
}

result replay_run(const struct replay_options *options)
{
	struct replay *replay = calloc(1, sizeof(*replay));
	struct failure first = { .status = STATUS_OK };
	result r;

	if (!replay)
		return fail(STATUS_FAILED, "no memory for a replay");
	replay->options = options;
	replay->recording.fd = replay->page_fd = replay->doorbell_fd = -1;
	replay->config.kernel_fd = replay->config.initrd_fd = -1;
	replay->spawner = spawner_none();
	for (unsigned i = 0; i < MEMBERS; i++)
		replay->members[i] = member_none(i);
	r = set_up(replay);
	if (!failed(r)) {
		r = follow_recording(replay);
		show_progress(replay, true);
	}
	/* A failure's text lives until the next one. */
	if (failed(r))
		first = *r.failure;
	else
		tell(replay);
	tear_down(replay);
	return first.status == STATUS_OK ? OK : fail(first.status, "%s", first.message);
}
