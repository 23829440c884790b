#include "tests/fault/scheme.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/futex.h"
#include "tests/fault/poke.h"

enum { STROKE_US = 50, IDLE_US = 500, TESTAMENTS = 9, TEXTS = 4 };

const char *scheme_usage(void)
{
	return "schemes\n"
	       "  silent     says for ever that it has not voted\n"
	       "  undead     is stopped for ever, and shows signs of life\n"
	       "  lazy       lets itself be outvoted, and does not carry out its orders, but shows signs of life;\n"
	       "             variant 1: says that it has carried them out\n"
	       "  withhold   lets nobody see what it writes on its tape; variant 1: damages the word that tells\n"
	       "  testament  dies as leader, and leaves behind that its tape is longer (variant 0), shorter (1), far\n"
	       "             longer (2), damaged (3); that it had gone further (4), less far (5), far further (6),\n"
	       "             damaged (7); 8: both. From 9 on: the same, but it says that it has failed\n"
	       "  failure    says that it has failed, in words without end (0), that move a terminal's cursor (1),\n"
	       "             that are no text (2), that look like a format (3), as an error of the host's (4)\n"
	       "  complain   complains all the time, of absurd positions; variant 1: the same words without end\n"
	       "  epoch      follows a leadership that does not exist; variant: which\n"
	       "  held       says that it stands still; variant 1: that it never does\n"
	       "  doorbell   takes the rings that others gave, and makes whoever asks wait\n"
	       "  doors      tries to write what is not its own, and logs what came of it; as it starts, or with\n"
	       "             variant 1 at its first vote, in its sandbox\n"
	       "  honest     does nothing\n";
}

/* --- the control page --- */

static void hold_votes(struct plan *plan)
{
	atomic_store(&plan->own.control->votes, 0);
}

static void hold_tape(struct plan *plan)
{
	static uint64_t word;

	if (word == 0)
		word = atomic_load(&plan->own.control->tape_written);
	atomic_store(&plan->own.control->tape_written, plan->variant ? word ^ UINT64_C(1) << 60 : word);
}

static void put_text(struct plan *plan, uint64_t variant)
{
	static const char *const texts[TEXTS] = {
		"",
		"\x1b[2J\x1b]0;owned\x07\x1b[31m a red word\r\n\x9bm and a line of its own\x7f",
		"\xff\xfe broken \xc3( \xed\xa0\x80 \xf4\x90\x80\x80",
		"%s%n%1000000d",
	};
	char *failure = plan->own.control->failure;

	if (variant == 0)
		memset(failure, 'A', CONTROL_FAILURE_SIZE);
	else if (variant < ARRAY_SIZE(texts))
		(void)snprintf(failure, CONTROL_FAILURE_SIZE, "%s", texts[variant]);
	else
		(void)snprintf(failure, CONTROL_FAILURE_SIZE, "the host has no virtual machines");
}

static void hold_complaint(struct plan *plan)
{
	struct control *control = plan->own.control;

	control->complaint_epoch = atomic_load(&plan->page->epoch);
	control->complaint_position = plan_random(plan) << (plan_random(plan) % 64);
	control->complaint_tape_at = plan_random(plan) << (plan_random(plan) % 64);
	put_text(plan, plan->variant ? 0 : 1);
	atomic_store(&control->complaint, 1);
}

static void hold_epoch(struct plan *plan)
{
	atomic_store(&plan->own.control->epoch, (uint32_t)plan->variant);
}

static void hold_held(struct plan *plan)
{
	atomic_store(&plan->own.control->held, plan->variant ? 0 : atomic_load(&plan->page->verdicts));
}

struct holding {
	const char *mode;
	void (*hold)(struct plan *plan);
};

static const struct holding holdings[] = {
	{ "silent", hold_votes },       { "withhold", hold_tape }, { "complain", hold_complaint },
	{ "epoch", hold_epoch },        { "held", hold_held },
};

static void wait_for_turn(struct plan *plan)
{
	while (!plan_is_mine(plan))
		poke_nap(STROKE_US);
	plan_log(plan, "begins: %s", plan->mode);
}

static void live_holding(struct plan *plan)
{
	wait_for_turn(plan);
	for (;;) {
		for (size_t i = 0; i < ARRAY_SIZE(holdings) && plan_is_mine(plan); i++)
			if (plan_is(plan, holdings[i].mode))
				holdings[i].hold(plan);
		poke_nap(STROKE_US);
	}
}

/* --- signs of life --- */

static void show_life(struct plan *plan)
{
	atomic_fetch_add(&plan->own.control->beats, 1);
}

static void live_undead(struct plan *plan)
{
	wait_for_turn(plan);
	for (;;) {
		if (plan_is_mine(plan)) {
			(void)kill(getppid(), SIGSTOP);
			show_life(plan);
		}
		poke_nap(IDLE_US);
	}
}

static void live_lazy(struct plan *plan)
{
	for (;;) {
		uint32_t serial = atomic_load(&plan->page->orders[plan->config.index].serial);

		if (plan_is_mine(plan) && serial != atomic_load(&plan->own.control->order_done)) {
			plan_log(plan, "order %u is not carried out", serial);
			if (plan->variant == 1)
				atomic_store(&plan->own.control->order_done, serial);
			else
				(void)kill(getppid(), SIGSTOP);
		}
		show_life(plan);
		poke_nap(STROKE_US);
	}
}

/* --- descriptors --- */

static void live_doorbell(struct plan *plan)
{
	int fd = plan->config.doorbell_fd;
	uint64_t count;

	wait_for_turn(plan);
	for (;;) {
		/* This belongs to the open file, which is everybody's: who reads an empty one waits. */
		(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
		ssize_t got = read(fd, &count, sizeof(count));

		(void)got;
	}
}

/* Maps a page as `protection` says, then allows `more`; gives what came of it. */
static const char *try_map(int fd, int protection, int more)
{
	void *memory = mmap(NULL, RAM_PAGE_SIZE, protection, MAP_SHARED, fd, 0);
	const char *outcome = "OPEN";

	if (memory == MAP_FAILED)
		return strerror(errno);
	if (mprotect(memory, RAM_PAGE_SIZE, more) < 0)
		outcome = strerror(errno);
	(void)munmap(memory, RAM_PAGE_SIZE);
	return outcome;
}

/* One thing that is not this replica's own. */
static void try_door(struct plan *plan, const char *what, int fd)
{
	const int both = PROT_READ | PROT_WRITE;
	char path[64];
	uint8_t byte = 0;
	int again;

	plan_log(plan, "door %s mapped for writing: %s", what, try_map(fd, both, both));
	plan_log(plan, "door %s made writable: %s", what, try_map(fd, PROT_READ, both));
	plan_log(plan, "door %s written: %s", what, pwrite(fd, &byte, 1, 0) < 0 ? strerror(errno) : "OPEN");
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC);
	plan_log(plan, "door %s opened again for writing: %s", what,
		 again < 0 ? strerror(errno) : try_map(again, both, both));
	if (again >= 0)
		(void)close(again);
}

static void try_doors(struct plan *plan)
{
	if (!plan_is_mine(plan))
		return;
	try_door(plan, "page", plan->config.supervisor_fd);
	for (unsigned i = 0; i < plan->config.replicas; i++)
		if (i != plan->config.index) {
			try_door(plan, "area", plan->config.peer_area_fds[i]);
			try_door(plan, "memory", plan->config.peer_ram_fds[i]);
		}
	plan_log(plan, "doors tried");
}

/* --- at a vote, on the tape --- */

static void wait_for_death(const struct plan *plan)
{
	fd_ring(plan->config.doorbell_fd);
	for (;;)
		poke_nap(IDLE_US);
}

void scheme_vote(struct plan *plan, uint64_t number)
{
	struct control *control = plan->own.control;
	uint64_t strike;

	if (plan->victim == plan->config.index && number >= plan->after &&
	    atomic_exchange(&plan->state->victim_done, 1) == 0) {
		plan_log(plan, "kills itself");
		(void)kill(getpid(), SIGKILL);
	}
	if (plan_is(plan, "failure") && plan_strike(plan, UINT64_MAX, &strike)) {
		plan_log(plan, "strike %llu: fails", (unsigned long long)strike);
		put_text(plan, plan_variant(plan, strike, TEXTS));
		control->failure_status = plan->variant == TEXTS ? STATUS_HOST : STATUS_FAILED;
		atomic_store(&control->state, REPLICA_FAILED);
		wait_for_death(plan);
	}
	if (plan_is(plan, "doors") && plan->variant == 1 && number == 0)
		try_doors(plan);
	if (plan_is(plan, "lazy") && number % plan->every == 0 && plan_strike(plan, UINT64_MAX, &strike))
		control->records[number % CONTROL_VOTE_SLOTS].ballot.digests[VOTE_CPU].bytes[0] ^= 1;
}

static void forge_word(_Atomic uint64_t *word, int64_t by, bool damaged)
{
	uint64_t value = checked_word_load(word, 0) + (uint64_t)by;

	atomic_store(word, checked_word(value & CHECKED_WORD_MAX) ^ (uint64_t)damaged << 60);
}

void scheme_tape(struct plan *plan, struct tape_writer *writer)
{
	static const int64_t tape[TESTAMENTS] = { 64, -24, INT64_C(1) << 40, 0, 0, 0, 0, 0, 48 };
	static const int64_t reached[TESTAMENTS] = { 0, 0, 0, 0, 40, -2, INT64_C(1) << 40, 0, 7 };
	struct control *control = plan->own.control;
	uint64_t strike;

	uint64_t variant, what;

	if (!plan_is(plan, "testament") || writer->at == 0 || plan_random(plan) % plan->every != 0 ||
	    !plan_strike(plan, UINT64_MAX, &strike))
		return;
	variant = plan_variant(plan, strike, UINT64_C(2) * TESTAMENTS);
	what = variant % TESTAMENTS;
	plan_log(plan, "strike %llu: testament %llu with %llu bytes on its tape, at position %llu",
		 (unsigned long long)strike, (unsigned long long)variant, (unsigned long long)writer->at,
		 (unsigned long long)checked_word_load(&control->reached, 0));
	if (variant >= TESTAMENTS)
		atomic_store(&control->state, REPLICA_FAILED);
	forge_word(&control->tape_written, tape[what], what == 3);
	forge_word(&control->reached, reached[what], what == 7);
	if (variant >= TESTAMENTS)
		wait_for_death(plan);
	(void)kill(getpid(), SIGKILL);
}

/* --- birth --- */

result scheme_start(struct plan *plan)
{
	for (size_t i = 0; i < ARRAY_SIZE(holdings); i++)
		if (plan_is(plan, holdings[i].mode))
			return poke_helper(plan, live_holding);
	if (plan_is(plan, "undead"))
		return poke_helper(plan, live_undead);
	if (plan_is(plan, "lazy"))
		return poke_helper(plan, live_lazy);
	if (plan_is(plan, "doorbell"))
		return poke_helper(plan, live_doorbell);
	if (plan_is(plan, "doors") && plan->variant == 0)
		try_doors(plan);
	return OK;
}
