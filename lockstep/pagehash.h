/*
 * The set hash over guest memory: every page has a 128-bit keyed hash of (page number, content), and the digest
 * of all memory is their sum modulo 2^128. A vote hashes only pages that were written.
 *
 * The hash of a page of zeros is 0: memory that was never touched need not be read. Sum, not XOR: GMAC is
 * linear, and with XOR two pages that trade their contents would cancel.
 */
#ifndef TERCET_LOCKSTEP_PAGEHASH_H
#define TERCET_LOCKSTEP_PAGEHASH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "lockstep/digest.h"
#include "vmm/ram.h"

/* A page whose hash changed at a vote. */
struct pagehash_change {
	uint64_t page;
	struct digest hash;
};

/* Told of each page whose hash changed, in ascending order. */
typedef void pagehash_changed(void *context, const struct pagehash_change *change);

struct pagehash {
	struct digest_context *digests;
	const struct ram *ram;
	struct digest *table; /* one hash a page; not owned */
	unsigned __int128 sum;
	uint64_t hashed;      /* pages hashed so far */
	void (*alive)(void *context); /* called now and then while many pages are hashed; may be NULL */
	void *alive_context;
};

/* Starts with memory that is all zero; `table` has ram_pages entries, zero too. */
void pagehash_init(struct pagehash *hash, struct digest_context *digests, const struct ram *ram,
		   struct digest *table);

/* The hash of one page as it is now. */
struct digest pagehash_of(struct digest_context *digests, uint64_t page, const uint8_t *content);

/* Flips the one bit of `content` with which this page's hash is `wanted`. False: there is none, and nothing is
 * changed. */
bool pagehash_flip_towards(struct digest_context *digests, uint64_t page, uint8_t *content,
			   const struct digest *wanted);

/* Hashes again every page in `bitmap`, and empties it. */
void pagehash_update(struct pagehash *hash, uint64_t *bitmap, pagehash_changed *changed, void *context);

/* Hashes one page again and books the result; gives it. */
struct digest pagehash_replace(struct pagehash *hash, uint64_t page);

/* Sums up the whole table: whatever became of it, the digest is that of what it says. */
void pagehash_recount(struct pagehash *hash);

/* The sum, as a digest of all memory. */
struct digest pagehash_digest(const struct pagehash *hash);

#endif
