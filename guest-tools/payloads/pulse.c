/*
 * A guest that watches the clock: it reads the time again and again and notes every pause between two readings, so
 * that bench/recovery sees what a repair costs from within. Its output tells times and so differs from run to run,
 * as no other payload's does; its checksum does not. What the arguments mean to it:
 *   scale=N   20 ms each for which it watches; a 'q' on the console ends it before
 *   bytes=N   memory that it fills at first, rounded down to pages, and looks over at the end
 *   step=N    microseconds; pauses that are longer are noted
 * Times are nanoseconds, on the PM timer's scale from power-on (to about 280 ns: one tick). Lines of its output:
 *   written PAGES ADDRESS    pages of 4096 bytes that it writes all the time, and hexadecimal where the first is; of
 *                            each it writes the first 8 bytes and leaves the others alone
 *   ready TIME               it watches from now on
 *   pause TIME LENGTH        no reading between TIME and TIME + LENGTH (all of them come at the end)
 *   end TIME READINGS LOST   it watched until then; so many readings; so many pauses for which there was no room
 */
#include <stdbool.h>

#include "guest-tools/payloads/payload.h"

enum {
	PAGE = 4096,
	PAGE_WORDS = PAGE / 8,
	WRITTEN = 64,
	PAUSES_MAX = 32768,
	LOOKS_PER_KEY = 256,   /* readings between two looks for a key press */
	SCALE_MS = 20,
	WORK = 8000,           /* rounds between two readings, some 10 us: not all time goes into exits */
	FILL_COST = 600,       /* nanoseconds a page, for payload_pace */
	DATA_READY = 0x01,     /* 16550 line status register, bit 0 */
};

#define TICKS_PER_SECOND UINT64_C(3579545)
#define NS_PER_SECOND UINT64_C(1000000000)
#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)

struct pause {
	uint64_t start;  /* ticks since power-on */
	uint64_t length;
};

struct watch {
	struct pause *pauses; /* PAUSES_MAX */
	uint64_t *words;      /* pages that are filled; the first WRITTEN are those that are written */
	uint64_t pages;
	uint64_t count;       /* pauses */
	uint64_t lost;
	uint64_t readings;
	uint64_t now;         /* ticks since power-on: the timer's 32 bits wrap every 20 minutes, this does not */
};

const char payload_name[] = "pulse";

static uint64_t nanoseconds(uint64_t ticks)
{
	return ticks / TICKS_PER_SECOND * NS_PER_SECOND +
	       ticks % TICKS_PER_SECOND * NS_PER_SECOND / TICKS_PER_SECOND;
}

static uint64_t ticks_of(uint64_t ns)
{
	return ns / NS_PER_SECOND * TICKS_PER_SECOND + ns % NS_PER_SECOND * TICKS_PER_SECOND / NS_PER_SECOND;
}

static void say(const char *what, uint64_t value)
{
	payload_print(what);
	payload_print(" ");
	payload_print_decimal(value);
}

static uint64_t word_of(const struct payload *payload, uint64_t index)
{
	uint64_t mixed = (index + payload->seed) * 0x9FB21C651E98DF25;

	return mixed ^ (mixed >> 29) ^ (uint64_t)1 << 63 >> (index & 7);
}

static void fill(struct payload *payload, const struct watch *watch)
{
	for (uint64_t page = 0; page < watch->pages; page++) {
		for (uint64_t i = 0; i < PAGE_WORDS; i++)
			watch->words[page * PAGE_WORDS + i] = word_of(payload, page * PAGE_WORDS + i);
		payload_pace(payload, FILL_COST);
	}
}

/* The words that were written go by time, and stay out of the checksum. */
static bool look_over(struct payload *payload, const struct watch *watch)
{
	uint64_t wrong = 0;

	for (uint64_t page = 0; page < watch->pages; page++) {
		uint64_t sum = 0;

		for (uint64_t i = page < WRITTEN ? 1 : 0; i < PAGE_WORDS; i++) {
			uint64_t word = watch->words[page * PAGE_WORDS + i];

			wrong += word != word_of(payload, page * PAGE_WORDS + i);
			sum = sum * 3 + word;
		}
		payload_check(payload, sum);
		payload_pace(payload, FILL_COST);
	}
	if (wrong > 0) {
		say("pulse: words of memory that are not as they were written:", wrong);
		payload_print("\n");
	}
	return wrong == 0;
}

static void note(struct watch *watch, uint64_t length)
{
	if (watch->count == PAUSES_MAX) {
		watch->lost++;
		return;
	}
	watch->pauses[watch->count++] = (struct pause){ .start = watch->now, .length = length };
}

/* False: the timer went back, as a difference of more than half its range says. */
static bool read_time(struct watch *watch, uint64_t threshold)
{
	uint32_t passed = port_in32(PORT_PM_TIMER) - (uint32_t)watch->now;

	if (passed >= UINT32_C(1) << 31)
		return false;
	if (passed > threshold)
		note(watch, passed);
	watch->now += passed;
	watch->readings++;
	return true;
}

static bool asked_to_end(void)
{
	return (port_in8(PORT_UART_STATUS) & DATA_READY) != 0 && port_in8(PORT_UART_DATA) == 'q';
}

static bool keep_watch(struct payload *payload, struct watch *watch)
{
	const uint64_t until = watch->now + ticks_of(payload->scale * SCALE_MS * NS_PER_MS);
	const uint64_t threshold = ticks_of(payload->step * NS_PER_US);
	volatile uint64_t *words = watch->words;

	while (watch->now < until) {
		uint64_t value = watch->readings;

		for (uint64_t i = 0; i < WORK; i++)
			value = value * 0xD1342543DE82EF95 + i;
		words[watch->readings % WRITTEN * PAGE_WORDS] = value;
		if (!read_time(watch, threshold)) {
			payload_print("pulse: the PM timer went back\n");
			return false;
		}
		if (watch->readings % LOOKS_PER_KEY == 0 && asked_to_end())
			break;
	}
	return true;
}

static void tell(const struct watch *watch)
{
	for (uint64_t i = 0; i < watch->count; i++) {
		say("pause", nanoseconds(watch->pauses[i].start));
		say("", nanoseconds(watch->pauses[i].length));
		payload_print("\n");
	}
	say("end", nanoseconds(watch->now));
	say("", watch->readings);
	say("", watch->lost);
	payload_print("\n");
}

uint32_t payload_main(struct payload *payload)
{
	const size_t log = PAUSES_MAX * sizeof(struct pause);
	uintptr_t first = ((uintptr_t)payload->memory + log + PAGE - 1) / PAGE * PAGE;
	uintptr_t end = (uintptr_t)payload->memory + payload->memory_size;
	struct watch watch = {
		.pauses = (struct pause *)(void *)payload->memory,
		.words = (uint64_t *)first,
		.pages = payload->bytes / PAGE,
	};

	if (watch.pages < WRITTEN || first >= end || watch.pages > (end - first) / PAGE) {
		payload_print("pulse: bytes=N must be 256 KiB at least, and 1 MiB less than there is\n");
		return PAYLOAD_ARGUMENTS;
	}
	fill(payload, &watch);
	say("written", WRITTEN);
	payload_print(" ");
	payload_print_hex((uint64_t)first);
	payload_print("\n");
	watch.now = port_in32(PORT_PM_TIMER);
	say("ready", nanoseconds(watch.now));
	payload_print("\n");
	watch.now = port_in32(PORT_PM_TIMER);
	if (!keep_watch(payload, &watch))
		return PAYLOAD_WRONG;
	tell(&watch);
	return look_over(payload, &watch) ? PAYLOAD_GOOD : PAYLOAD_WRONG;
}
