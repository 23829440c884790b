#include "lockstep/pagehash.h"

#include <string.h>

/* Pages between two signs of life: some milliseconds, even where a hash is emulated. */
enum { ALIVE_EVERY = 128 };

void pagehash_init(struct pagehash *hash, struct digest_context *digests, const struct ram *ram,
		   struct digest *table)
{
	*hash = (struct pagehash){ .digests = digests, .ram = ram, .table = table };
}

static bool is_zero(const uint8_t *content)
{
	/* The first byte is zero and every other equals its neighbour: one pass at memory speed. */
	return content[0] == 0 && memcmp(content, content + 1, RAM_PAGE_SIZE - 1) == 0;
}

struct digest pagehash_of(struct digest_context *digests, uint64_t page, const uint8_t *content)
{
	if (is_zero(content))
		return (struct digest){ .bytes = { 0 } };
	return digest_of(digests, DIGEST_PAGE, page, content, RAM_PAGE_SIZE);
}

static void flip(uint8_t *content, size_t bit)
{
	content[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

bool pagehash_flip_towards(struct digest_context *digests, uint64_t page, uint8_t *content,
			   const struct digest *wanted)
{
	const struct digest zero = { .bytes = { 0 } };
	size_t bit = 0;

	if (memcmp(wanted, &zero, sizeof(zero)) != 0) {
		if (!digest_find_flip(digests, DIGEST_PAGE, page, content, RAM_PAGE_SIZE, wanted, &bit))
			return false;
		flip(content, bit);
		return true;
	}
	/* A page of zeros is not hashed. */
	while (bit < 8 * (size_t)RAM_PAGE_SIZE && (content[bit / 8] >> bit % 8 & 1) == 0)
		bit++;
	if (bit == 8 * (size_t)RAM_PAGE_SIZE)
		return false;
	flip(content, bit);
	if (is_zero(content))
		return true;
	flip(content, bit);
	return false;
}

static unsigned __int128 as_number(const struct digest *digest)
{
	unsigned __int128 number;

	memcpy(&number, digest->bytes, sizeof(number));
	return number;
}

static void update_page(struct pagehash *hash, uint64_t page, pagehash_changed *changed, void *context)
{
	struct pagehash_change change = {
		.page = page,
		.hash = pagehash_of(hash->digests, page, ram_page(hash->ram, page)),
	};

	hash->hashed++;
	if (hash->alive && hash->hashed % ALIVE_EVERY == 0)
		hash->alive(hash->alive_context);
	if (memcmp(&change.hash, &hash->table[page], sizeof(change.hash)) == 0)
		return;
	hash->sum += as_number(&change.hash) - as_number(&hash->table[page]);
	hash->table[page] = change.hash;
	if (changed)
		changed(context, &change);
}

void pagehash_update(struct pagehash *hash, uint64_t *bitmap, pagehash_changed *changed, void *context)
{
	size_t words = ram_bitmap_words(hash->ram);

	for (size_t i = 0; i < words; i++) {
		for (uint64_t word = bitmap[i]; word; word &= word - 1)
			update_page(hash, i * 64 + (uint64_t)__builtin_ctzll(word), changed, context);
		bitmap[i] = 0;
	}
}

struct digest pagehash_replace(struct pagehash *hash, uint64_t page)
{
	update_page(hash, page, NULL, NULL);
	return hash->table[page];
}

void pagehash_recount(struct pagehash *hash)
{
	hash->sum = 0;
	for (uint64_t page = 0; page < ram_pages(hash->ram); page++)
		hash->sum += as_number(&hash->table[page]);
}

struct digest pagehash_digest(const struct pagehash *hash)
{
	struct digest digest;

	memcpy(digest.bytes, &hash->sum, sizeof(digest.bytes));
	return digest;
}
