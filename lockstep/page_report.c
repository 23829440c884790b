#include "lockstep/page_report.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lockstep/pagehash.h"
#include "lockstep/report_json.h"

/* Pages of one report whose flipped bit is looked for: a fifth of a millisecond each, for which a guest may wait. */
enum { TRIALS_MAX = 8 };

enum side { SUSPECT, REFERENCE, SIDES };

/* A page that differs: its hash on each side, and whether that is what was voted. */
struct page {
	uint64_t number;
	struct digest hash[SIDES];
	bool certain[SIDES];
};

struct page_list {
	const struct report_side *side[SIDES];
	struct digest_context *digests;
	struct page *pages;
	uint64_t count;
	unsigned trials;
};

/* The page hash changes of one side's vote, copied; they were written in order. */
struct change_list {
	struct pagehash_change *changes;
	uint64_t count;
};

static struct change_list copy_changes(const struct report_side *side)
{
	const struct area *area = side->area;
	uint64_t begin = side->record->changes_begin;
	uint64_t count = side->record->changes_end - begin;
	struct change_list list = { .changes = NULL };

	if (side->record->changes_end < begin || count > area->changes_size || count == 0)
		return list;
	list.changes = calloc((size_t)count, sizeof(*list.changes));
	if (!list.changes)
		return list;
	list.count = count;
	for (uint64_t i = 0; i < count; i++)
		list.changes[i] = area->changes[(begin + i) % area->changes_size];
	return list;
}

/* A side that did not change the page at this vote has it as it was before, unless it has run on. */
static void take_hash(const struct page_list *list, struct page *page, enum side side,
		      const struct pagehash_change *change)
{
	page->certain[side] = change != NULL;
	page->hash[side] = change ? change->hash : list->side[side]->area->page_hashes[page->number];
}

static void take_page(struct page_list *list, uint64_t number, const struct pagehash_change *suspect,
		      const struct pagehash_change *reference)
{
	struct page *page = &list->pages[list->count];

	/* The lists are a replica's own, and nobody has checked them. */
	if (number >= ram_pages(list->side[SUSPECT]->ram) || number >= ram_pages(list->side[REFERENCE]->ram))
		return;
	page->number = number;
	take_hash(list, page, SUSPECT, suspect);
	take_hash(list, page, REFERENCE, reference);
	if (memcmp(&page->hash[SUSPECT], &page->hash[REFERENCE], sizeof(page->hash[SUSPECT])) != 0 ||
	    !page->certain[SUSPECT] || !page->certain[REFERENCE])
		list->count++;
}

static bool gather(struct page_list *list)
{
	struct change_list a = copy_changes(list->side[SUSPECT]);
	struct change_list b = copy_changes(list->side[REFERENCE]);
	uint64_t i = 0;
	uint64_t j = 0;

	list->pages = calloc((size_t)(a.count + b.count + 1), sizeof(*list->pages));
	while (list->pages && (i < a.count || j < b.count)) {
		const struct pagehash_change *one = i < a.count ? &a.changes[i] : NULL;
		const struct pagehash_change *other = j < b.count ? &b.changes[j] : NULL;

		if (one && other && one->page == other->page) {
			take_page(list, one->page, one, other);
			i++;
			j++;
		} else if (one && (!other || one->page < other->page)) {
			take_page(list, one->page, one, NULL);
			i++;
		} else if (other) {
			take_page(list, other->page, NULL, other);
			j++;
		}
	}
	free(a.changes);
	free(b.changes);
	return list->pages != NULL;
}

/* --- what was voted --- */

static unsigned __int128 number_of(const struct digest *digest)
{
	unsigned __int128 number;

	memcpy(&number, digest->bytes, sizeof(number));
	return number;
}

/* By how much the votes on all memory differ, less what the pages' hashes explain. */
static unsigned __int128 unexplained(const struct page_list *list)
{
	const struct digest *suspect = &list->side[SUSPECT]->record->ballot.digests[VOTE_RAM];
	const struct digest *reference = &list->side[REFERENCE]->record->ballot.digests[VOTE_RAM];
	unsigned __int128 rest = number_of(reference) - number_of(suspect);

	for (uint64_t i = 0; i < list->count; i++)
		rest -= number_of(&list->pages[i].hash[REFERENCE]) - number_of(&list->pages[i].hash[SUSPECT]);
	return rest;
}

/* The memory's digest is the sum of its pages' hashes. So the sum tells whether the hashes that were not voted but
 * taken from a table that may have moved on are right; and if there is but one of them, what it has to be. */
static void make_certain(struct page_list *list)
{
	unsigned __int128 rest = unexplained(list);
	struct page *doubtful = NULL;
	uint64_t doubts = 0;

	for (uint64_t i = 0; i < list->count; i++) {
		struct page *page = &list->pages[i];

		if (page->certain[SUSPECT] && page->certain[REFERENCE])
			continue;
		doubtful = page;
		doubts++;
	}
	if (rest != 0 && doubts == 1) {
		enum side side = doubtful->certain[SUSPECT] ? REFERENCE : SUSPECT;
		unsigned __int128 hash = number_of(&doubtful->hash[side]);

		hash = side == REFERENCE ? hash + rest : hash - rest;
		memcpy(doubtful->hash[side].bytes, &hash, sizeof(hash));
		rest = 0;
	}
	for (uint64_t i = 0; i < list->count && rest == 0; i++)
		list->pages[i].certain[SUSPECT] = list->pages[i].certain[REFERENCE] = true;
}

/* --- which bits --- */

static bool same(const struct digest *a, const struct digest *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* One side's page, if it is still what was voted. */
static bool voted_content(const struct page_list *list, const struct page *page, enum side side, uint8_t *content)
{
	struct digest actual;

	memcpy(content, ram_page(list->side[side]->ram, page->number), RAM_PAGE_SIZE);
	actual = pagehash_of(list->digests, page->number, content);
	return page->certain[side] && same(&actual, &page->hash[side]);
}

static bool both_contents(struct page_list *list, const struct page *page, uint8_t content[SIDES][RAM_PAGE_SIZE])
{
	bool known[SIDES];

	known[SUSPECT] = voted_content(list, page, SUSPECT, content[SUSPECT]);
	known[REFERENCE] = voted_content(list, page, REFERENCE, content[REFERENCE]);
	if (known[SUSPECT] && known[REFERENCE])
		return true;
	if (!known[SUSPECT] && !known[REFERENCE])
		return false;
	enum side good = known[SUSPECT] ? SUSPECT : REFERENCE;
	enum side gone = known[SUSPECT] ? REFERENCE : SUSPECT;

	if (!page->certain[gone] || list->trials >= TRIALS_MAX)
		return false;
	list->trials++;
	memcpy(content[gone], content[good], RAM_PAGE_SIZE);
	return pagehash_flip_towards(list->digests, page->number, content[gone], &page->hash[gone]);
}

static json_t *page_json(struct page_list *list, const struct page *page)
{
	json_t *item = json_pack("{s:o}", "address",
				 report_json_hex(ram_page_address(list->side[SUSPECT]->ram, page->number)));
	uint8_t content[SIDES][RAM_PAGE_SIZE];
	uint64_t count;

	if (both_contents(list, page, content)) {
		json_t *bits = report_json_bits(content[SUSPECT], content[REFERENCE], RAM_PAGE_SIZE, &count);

		(void)json_object_set_new(item, "bits", bits);
		(void)json_object_set_new(item, "bit_count", json_integer((json_int_t)count));
	}
	return item;
}

json_t *page_report(const struct report_side *suspect, const struct report_side *reference,
		    struct digest_context *digests, uint64_t *count)
{
	struct page_list list = { .side = { suspect, reference }, .digests = digests };
	json_t *pages = json_array();

	*count = 0;
	if (!gather(&list))
		return pages;
	make_certain(&list);
	for (uint64_t i = 0; i < list.count; i++) {
		const struct page page = list.pages[i];

		if (same(&page.hash[SUSPECT], &page.hash[REFERENCE]))
			continue;
		++*count;
		/* Finding the bits is dear, so not for a list that is full. */
		if (json_array_size(pages) < REPORT_LIST_MAX)
			report_json_append(pages, page_json(&list, &page));
	}
	free(list.pages);
	return pages;
}
