/* Looks for words in a text, as editors and filters do: Horspool's search, and each find is looked at once more. */
#include "guest-tools/payloads/payload.h"

#include <string.h>

enum {
	TEXT = 1 << 18,
	LETTERS = 12,      /* few, so that beginnings match often */
	WORD_MIN = 3,
	WORD_MAX = 10,
	PART = 1 << 14,    /* searched between two paces */
	PART_COST = 11500,
};

const char payload_name[] = "search";

static uint8_t text[TEXT];

/* How far a search may go on that stands before each byte. */
static void make_skips(size_t *skip, const uint8_t *word, size_t length)
{
	for (size_t i = 0; i < 256; i++)
		skip[i] = length;
	for (size_t i = 0; i + 1 < length; i++)
		skip[word[i]] = length - 1 - i;
}

static uint64_t find_all(struct payload *payload, const uint8_t *word, size_t length)
{
	size_t skip[256], paced = 0;
	uint64_t found = 0;

	make_skips(skip, word, length);
	for (size_t at = 0; at + length <= TEXT; at += skip[text[at + length - 1]]) {
		size_t same = length;

		while (same > 0 && text[at + same - 1] == word[same - 1])
			same--;
		if (same == 0) {
			found++;
			payload_check(payload, at);
		}
		if (at - paced >= PART) {
			payload_pace(payload, PART_COST);
			paced = at;
		}
	}
	return found;
}

uint32_t payload_main(struct payload *payload)
{
	const uint64_t rounds = 1 + payload->scale * 20000 * 1000 / ((uint64_t)TEXT / PART * PART_COST);

	for (size_t i = 0; i < TEXT; i++)
		text[i] = (uint8_t)('a' + payload_random(payload) % LETTERS);
	for (uint64_t round = 0; round < rounds; round++) {
		const uint64_t random = payload_random(payload);
		const size_t length = WORD_MIN + (random & 0xFF) % (WORD_MAX - WORD_MIN + 1);
		const uint8_t *word = text + (random >> 8) % (TEXT - WORD_MAX);

		/* It is there, since it was taken from there. */
		if (find_all(payload, word, length) == 0) {
			payload_print("search: not found\n");
			return PAYLOAD_WRONG;
		}
		/* And the next one finds another text. */
		text[random % TEXT] = (uint8_t)('a' + (random >> 32) % LETTERS);
	}
	return PAYLOAD_GOOD;
}
