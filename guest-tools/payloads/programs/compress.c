/* Compresses text by references to what came before, expands it again and compares, as archivers do. */
#include "guest-tools/payloads/payload.h"

#include <string.h>

enum {
	TEXT = 1 << 16,
	WORDS = 4096,
	WORD_MAX = 12,
	HASH_BITS = 14,
	MATCH_MIN = 4,
	MATCH_MAX = 255 + MATCH_MIN,
	TRIES = 8,             /* candidates looked at for one reference */
	NOWHERE = 0,           /* positions count from 1 */
	TOKEN_MAX = 5,
	BYTE_COST = 10,        /* to compress; expanding takes a tenth */
	BYTES_PACED = 1024,
};

const char payload_name[] = "compress";

static uint8_t text[TEXT], expanded[TEXT];
/* A literal is 0 and a byte; a reference its length less MATCH_MIN - 1 (in 8 bits, never 0) and its distance. */
static uint8_t packed[2 * TEXT];
static uint32_t newest[1 << HASH_BITS];
static uint32_t before[TEXT + 1];
static uint8_t words[WORDS][WORD_MAX];
static uint8_t lengths[WORDS];

static void make_words(struct payload *payload)
{
	for (size_t i = 0; i < WORDS; i++) {
		lengths[i] = (uint8_t)(2 + payload_random(payload) % (WORD_MAX - 2));
		for (size_t k = 0; k < lengths[i]; k++)
			words[i][k] = (uint8_t)('a' + payload_random(payload) % 26);
	}
}

/* A few words are frequent and most are rare. */
static void make_text(struct payload *payload)
{
	size_t at = 0;

	while (at < TEXT) {
		const uint64_t random = payload_random(payload);
		const size_t word = (random >> 8 & (WORDS - 1)) >> (random & 7);

		for (size_t k = 0; k < lengths[word] && at < TEXT; k++)
			text[at++] = words[word][k];
		if (at < TEXT)
			text[at++] = ' ';
	}
}

static size_t hash_at(size_t at)
{
	uint32_t value;

	memcpy(&value, text + at, sizeof(value));
	return value * UINT32_C(2654435761) >> (32 - HASH_BITS);
}

static size_t match_length(const uint8_t *a, const uint8_t *b, size_t limit)
{
	size_t length = 0;

	while (length < limit && a[length] == b[length])
		length++;
	return length;
}

struct match {
	size_t from, length;
};

/* The longest of the last few places that begin like this one. */
static struct match find_match(size_t at)
{
	const size_t left = TEXT - at, limit = left < MATCH_MAX ? left : MATCH_MAX;
	struct match best = { 0 };

	if (left < MATCH_MIN)
		return best;
	for (uint32_t i = 0, candidate = newest[hash_at(at)]; i < TRIES && candidate != NOWHERE; i++) {
		const size_t length = match_length(text + candidate - 1, text + at, limit);

		if (length > best.length)
			best = (struct match){ .from = candidate - 1, .length = length };
		candidate = before[candidate];
	}
	return best;
}

static void remember(size_t at)
{
	const size_t hash = hash_at(at);

	before[at + 1] = newest[hash];
	newest[hash] = (uint32_t)at + 1;
}

static size_t put_reference(size_t used, size_t distance, size_t length)
{
	packed[used++] = (uint8_t)(length - MATCH_MIN + 1);
	for (unsigned i = 0; i < TOKEN_MAX - 2; i++)
		packed[used++] = (uint8_t)(distance >> (8 * i));
	return used;
}

static size_t compress(struct payload *payload)
{
	size_t used = 0, paced = 0;

	memset(newest, 0, sizeof(newest));
	for (size_t at = 0; at < TEXT;) {
		const struct match match = find_match(at);
		size_t length = match.length;

		if (length < MATCH_MIN) {
			packed[used++] = 0;
			packed[used++] = text[at];
			length = 1;
		} else {
			if (length == MATCH_MAX)
				length--;
			used = put_reference(used, at - match.from, length);
		}
		for (const size_t end = at + length; at < end; at++) {
			if (at + MATCH_MIN <= TEXT)
				remember(at);
		}
		if (at - paced >= BYTES_PACED) {
			payload_pace(payload, (at - paced) * BYTE_COST);
			paced = at;
		}
	}
	return used;
}

static void expand(struct payload *payload, size_t used)
{
	size_t out = 0;

	for (size_t at = 0; at < used;) {
		const size_t code = packed[at++];
		size_t distance = 0;

		if (code == 0) {
			expanded[out++] = packed[at++];
			continue;
		}
		for (unsigned i = 0; i < TOKEN_MAX - 2; i++)
			distance |= (size_t)packed[at++] << (8 * i);
		/* It may overlap with what it makes. */
		for (size_t length = code + MATCH_MIN - 1; length > 0; length--, out++)
			expanded[out] = expanded[out - distance];
		payload_pace(payload, (code + MATCH_MIN - 1) * BYTE_COST / 10);
	}
}

uint32_t payload_main(struct payload *payload)
{
	const uint64_t rounds = 1 + payload->scale * 20000 * 1000 / ((uint64_t)TEXT * BYTE_COST * 11 / 10);

	make_words(payload);
	for (uint64_t round = 0; round < rounds; round++) {
		size_t used;

		make_text(payload);
		used = compress(payload);
		expand(payload, used);
		if (memcmp(text, expanded, TEXT) != 0) {
			payload_print("compress: not what it was\n");
			return PAYLOAD_WRONG;
		}
		payload_check(payload, used);
		for (size_t i = 0; i < used; i += sizeof(uint64_t)) {
			uint64_t value = 0;

			memcpy(&value, packed + i, used - i < sizeof(value) ? used - i : sizeof(value));
			payload_check(payload, value);
		}
	}
	return PAYLOAD_GOOD;
}
