#include "guest-tools/payloads/churn.h"

/* A slice of work writes one page here and there and, every second time, a whole page: some 25,000 pages a second. */
enum {
	PAGE = 4096,
	PAGE_WORDS = PAGE / 8,
	SLICE_COST = 60000, /* nanoseconds, on a 3 GHz core of 2023 with 64 MiB */
	SCATTERED = 32,     /* words written in the page here and there */
	RANDOM_READS = 256,
	READ_PAGES = 24,    /* read in sequence */
	FILL_COST = 600,    /* a page, for the first time */
};

size_t churn_working_set(const struct payload *payload, uint64_t limit)
{
	size_t size = (size_t)1 << 20;

	if (payload->memory_size < size)
		return 0;
	while (size * 2 <= payload->memory_size && size * 2 <= limit)
		size *= 2;
	return size;
}

static void write_page(uint64_t *words, uint64_t value)
{
	for (size_t i = 0; i < PAGE_WORDS; i++)
		words[i] = value + i * 0x9E3779B97F4A7C15;
}

static void slice(struct payload *payload, uint64_t *words, size_t pages, uint64_t count)
{
	uint64_t mask = pages * PAGE_WORDS - 1;
	uint64_t *page = words + (payload_random(payload) & (pages - 1)) * PAGE_WORDS;
	uint64_t value = payload_random(payload), sum = 0;
	size_t from = count * READ_PAGES & (pages - 1);

	for (size_t i = 0; i < SCATTERED; i++)
		page[(value >> 3) * (2 * i + 1) % PAGE_WORDS] += value ^ i;
	if (count % 2 == 0)
		write_page(words + (count / 2 & (pages - 1)) * PAGE_WORDS, value);
	/* Each address comes out of the word before: a chain that no prefetcher foresees. */
	for (size_t i = 0; i < RANDOM_READS; i++)
		value = value * 0xD1342543DE82EF95 + words[(value >> 20) & mask] + i;
	for (size_t i = 0; i < READ_PAGES; i++) {
		const uint64_t *in = words + ((from + i) & (pages - 1)) * PAGE_WORDS;

		for (size_t k = 0; k < PAGE_WORDS; k++)
			sum += in[k];
	}
	payload_check(payload, value);
	payload_check(payload, sum);
}

void churn_run(struct payload *payload, size_t working_set, uint64_t microseconds)
{
	uint64_t *words = (uint64_t *)(void *)payload->memory;
	size_t pages = working_set / PAGE;

	for (size_t i = 0; i < pages; i++) {
		write_page(words + i * PAGE_WORDS, payload_random(payload));
		payload_pace(payload, FILL_COST);
	}
	for (uint64_t count = 0; count < microseconds * 1000 / SLICE_COST; count++) {
		slice(payload, words, pages, count);
		payload_pace(payload, SLICE_COST);
	}
	for (size_t i = 0; i < pages; i++) {
		uint64_t sum = 0;

		for (size_t k = 0; k < PAGE_WORDS; k++)
			sum = sum * 3 + words[i * PAGE_WORDS + k];
		payload_check(payload, sum);
		payload_pace(payload, FILL_COST);
	}
}
