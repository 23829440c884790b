#include "tests/fault/poke.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/futex.h"
#include "tests/fault/damage.h"

enum { IDLE_US = 1000, STROKE_US = 20, SAMPLE = 61, TAIL = 96, HASHES = 64 };

const char *poke_usage(void)
{
	return "modes, by writing into memory\n"
	       "  bytes   variant 0: control page; 1: last vote record; 2: last exit; 3, 4, 5: tail of the tape,\n"
	       "          first copy, second, both; 6: tail of the outbox; 7: page hashes; 8: page hash changes;\n"
	       "          100: all\n"
	       "  words   of the control page\n"
	       "  storm   variant 0: anywhere; 1: control page\n";
}

void poke_nap(uint64_t microseconds)
{
	const struct timespec span = { .tv_sec = (time_t)(microseconds / 1000000),
				       .tv_nsec = (long)(microseconds % 1000000 * 1000) };

	(void)nanosleep(&span, NULL);
}

/* --- bytes --- */

enum region { HEAD, RECORD, EXIT, TAPE, MIRROR, BOTH_TAPES, OUTBOX, TABLE, CHANGES, REGIONS };

/* A place in memory; two where both copies of something are hit. */
struct spot {
	uint8_t *at[2];
	size_t offset; /* for the log */
};

/* The header fields of a record, all; of cpu and devices a sample. */
static size_t record_offset(uint64_t index, bool *valid)
{
	const size_t head = offsetof(struct vote_record, cpu);
	const size_t tail = offsetof(struct vote_record, changes_begin);
	const size_t tail_size = sizeof(struct vote_record) - tail;

	*valid = true;
	if (index < head)
		return index;
	if (index - head < tail_size)
		return tail + (index - head);
	index = head + (index - head - tail_size) * SAMPLE;
	*valid = index < tail;
	return index;
}

static uint64_t record_size(void)
{
	uint64_t index = 0;
	bool valid = true;

	while (valid)
		(void)record_offset(index++, &valid);
	return index - 1;
}

static uint64_t region_size(uint64_t region)
{
	switch (region) {
	case HEAD:
		return offsetof(struct control, records);
	case RECORD:
		return record_size();
	case EXIT:
		return sizeof(struct exit_record);
	case TAPE:
	case MIRROR:
	case BOTH_TAPES:
	case OUTBOX:
		return TAIL;
	case TABLE:
		return HASHES * sizeof(struct digest);
	case CHANGES:
		return 2 * sizeof(struct pagehash_change);
	default:
		return 0;
	}
}

static uint8_t *in_ring(const struct ring *ring, uint64_t end, uint64_t index)
{
	return ring->data + ((end - 1 - index) & (ring->size - 1));
}

/* Byte `index` of a region, counted from what was written last where the region is a log. */
static struct spot spot_of(const struct plan *plan, uint64_t region, uint64_t index)
{
	const struct area *area = &plan->own;
	struct control *control = area->control;
	uint64_t votes = atomic_load(&control->votes);
	struct vote_record *record = &control->records[(votes - 1) % CONTROL_VOTE_SLOTS];
	uint64_t written = checked_word_load(&control->tape_written, 0);
	uint64_t reached = checked_word_load(&control->reached, 0);
	uint64_t changes = (record->changes_end - 1) % area->changes_size;
	uint64_t page = index / sizeof(struct digest) * (plan->config.memory / RAM_PAGE_SIZE / HASHES);
	struct spot spot = { .at = { NULL } };
	bool valid;

	switch (region) {
	case RECORD:
		spot.at[0] = (uint8_t *)record + record_offset(index, &valid);
		break;
	case EXIT:
		spot.at[0] = (uint8_t *)&area->exit_log[reached % CONTROL_EXIT_LOG] + index;
		break;
	case TAPE:
		spot.at[0] = in_ring(&area->tape, written, index);
		break;
	case BOTH_TAPES:
		spot.at[1] = in_ring(&area->tape, written, index);
		spot.at[0] = in_ring(&area->tape_mirror, written, index);
		break;
	case MIRROR:
		spot.at[0] = in_ring(&area->tape_mirror, written, index);
		break;
	case OUTBOX:
		spot.at[0] = in_ring(&area->outbox, atomic_load(&control->output_written), index);
		break;
	case TABLE:
		spot.at[0] = (uint8_t *)&area->page_hashes[page] + index % sizeof(struct digest);
		break;
	case CHANGES:
		changes = changes > 0 ? changes - index / sizeof(struct pagehash_change) : 0;
		spot.at[0] = (uint8_t *)&area->changes[changes] + index % sizeof(struct pagehash_change);
		break;
	default:
		spot.at[0] = (uint8_t *)area->memory + index;
		break;
	}
	spot.offset = (size_t)(spot.at[0] - (uint8_t *)area->memory);
	return spot;
}

static void set_byte(uint8_t *at, uint8_t byte)
{
	*(volatile uint8_t *)at = byte;
}

static uint64_t bytes_size(const struct plan *plan)
{
	uint64_t size = 0;

	if (plan->variant != PLAN_EACH)
		return region_size(plan->variant);
	for (uint64_t region = 0; region < REGIONS; region++)
		size += region_size(region);
	return size;
}

static struct spot spot_at(const struct plan *plan, uint64_t index)
{
	uint64_t region = 0;

	if (plan->variant != PLAN_EACH)
		return spot_of(plan, plan->variant, index);
	while (index >= region_size(region))
		index -= region_size(region++);
	return spot_of(plan, region, index);
}

static void strike_byte(struct plan *plan, uint64_t strike)
{
	const struct spot spot = spot_at(plan, strike / DAMAGE_BYTE_WAYS);
	uint64_t random = plan_random(plan);
	uint64_t until = clock_monotonic_ns() + plan->hold * NS_PER_US;
	uint8_t before[2] = { 0 };
	uint8_t byte[2] = { 0 };

	plan_log(plan, "strike %llu: area byte %zu, way %llu", (unsigned long long)strike, spot.offset,
		 (unsigned long long)(strike % DAMAGE_BYTE_WAYS));
	for (unsigned i = 0; i < 2 && spot.at[i]; i++) {
		before[i] = *spot.at[i];
		byte[i] = damage_byte(before[i], (unsigned)(strike % DAMAGE_BYTE_WAYS), random);
	}
	do {
		for (unsigned i = 0; i < 2 && spot.at[i]; i++)
			set_byte(spot.at[i], byte[i]);
		poke_nap(STROKE_US);
	} while (clock_monotonic_ns() < until);
	for (unsigned i = 0; i < 2 && spot.at[i]; i++)
		if (*spot.at[i] == byte[i])
			set_byte(spot.at[i], before[i]);
}

static void live_bytes(struct plan *plan)
{
	uint64_t strike;

	for (;;) {
		if (plan_strike(plan, bytes_size(plan) * DAMAGE_BYTE_WAYS, &strike))
			strike_byte(plan, strike);
		else
			poke_nap(IDLE_US);
	}
}

/* --- words --- */

struct word {
	const char *name;
	size_t offset;
	size_t size;  /* 4 or 8 */
	bool checked; /* forged with the right check */
};

#define WORD(member) { #member, offsetof(struct control, member), sizeof(((struct control *)NULL)->member), false }
#define CHECKED(member) { #member, offsetof(struct control, member), sizeof(uint64_t), true }

static const struct word words[] = {
	WORD(magic),          WORD(version),        WORD(sequence),        WORD(reached),
	CHECKED(reached),     WORD(closed),         CHECKED(closed),       WORD(tape_written),
	CHECKED(tape_written), WORD(waiting),       WORD(wake_at),         WORD(tape_read),
	WORD(votes),          WORD(output_written), WORD(state),           WORD(epoch),
	WORD(order_done),     WORD(complaint),      WORD(injection_done),  WORD(held),
	WORD(beats),          WORD(stopped_until_ns), WORD(complaint_position), WORD(complaint_tape_at),
	WORD(complaint_epoch),
	WORD(failure_status), WORD(statistics.injected_ns), WORD(statistics.pages_copied),
};

static void strike_word(struct plan *plan, uint64_t strike)
{
	const struct word *word = &words[strike / DAMAGE_NUMBER_WAYS % ARRAY_SIZE(words)];
	volatile uint8_t *at = (uint8_t *)plan->own.control + word->offset;
	uint64_t until = clock_monotonic_ns() + plan->hold * NS_PER_US;
	uint64_t before = 0, after = 0;
	uint64_t forged;

	memcpy(&before, (const uint8_t *)plan->own.control + word->offset, word->size);
	forged = damage_number(word->checked ? before & CHECKED_WORD_MAX : before,
			       (unsigned)(strike % DAMAGE_NUMBER_WAYS), plan_random(plan));
	if (word->checked)
		forged = checked_word(forged & CHECKED_WORD_MAX);
	plan_log(plan, "strike %llu: control.%s is 0x%llx, not 0x%llx", (unsigned long long)strike,
		 word->name, (unsigned long long)forged, (unsigned long long)before);
	do {
		if (word->size == sizeof(uint32_t))
			*(volatile uint32_t *)(volatile void *)at = (uint32_t)forged;
		else
			*(volatile uint64_t *)(volatile void *)at = forged;
		poke_nap(STROKE_US);
	} while (clock_monotonic_ns() < until);
	memcpy(&after, (const uint8_t *)plan->own.control + word->offset, word->size);
	if (memcmp(&after, &forged, word->size) == 0)
		memcpy((uint8_t *)plan->own.control + word->offset, &before, word->size);
}

static void live_words(struct plan *plan)
{
	uint64_t strike;

	for (;;) {
		if (plan_strike(plan, ARRAY_SIZE(words) * DAMAGE_NUMBER_WAYS, &strike))
			strike_word(plan, strike);
		else
			poke_nap(IDLE_US);
	}
}

/* --- storm --- */

static void live_storm(struct plan *plan)
{
	uint64_t size = plan->variant ? sizeof(struct control) : plan->own.size;
	uint64_t strike;

	for (;;) {
		uint8_t *at = (uint8_t *)plan->own.memory + plan_random(plan) % size;

		if (plan_strike(plan, UINT64_MAX, &strike)) {
			uint8_t byte = (uint8_t)plan_random(plan);

			plan_log(plan, "strike %llu: area byte %td is 0x%02x, not 0x%02x",
				 (unsigned long long)strike, at - (uint8_t *)plan->own.memory, byte, *at);
			set_byte(at, byte);
		}
		poke_nap(plan->hold);
	}
}

/* --- birth --- */

result poke_helper(struct plan *plan, void (*life)(struct plan *plan))
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot start a hostile helper");
	if (pid > 0)
		return OK;
	/* It may have died before this call, which then would wait for ever. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(STATUS_FAILED);
	life(plan);
	_exit(STATUS_OK);
}

result poke_start(struct plan *plan)
{
	if (plan_is(plan, "bytes"))
		return poke_helper(plan, live_bytes);
	if (plan_is(plan, "words"))
		return poke_helper(plan, live_words);
	if (plan_is(plan, "storm"))
		return poke_helper(plan, live_storm);
	return OK;
}
