/*
 * Words of shared memory that one process writes and others read, and in which a flipped bit is seen.
 */
#ifndef TERCET_BASE_CHECKED_WORD_H
#define TERCET_BASE_CHECKED_WORD_H

#include <stdatomic.h>
#include <stdint.h>

/* 48 bits of value, and above them 16 bits of check: one store keeps both together. */
#define CHECKED_WORD_MAX ((UINT64_C(1) << 48) - 1)

/* The word for a value. */
static inline uint64_t checked_word(uint64_t value)
{
	uint64_t folded = (value ^ value >> 16 ^ value >> 32) & 0xFFFF;

	return value | folded << 48;
}

/* The word's value; where it is damaged, `fallback`: what the reader knew last, until the writer writes again. */
static inline uint64_t checked_word_load(const _Atomic uint64_t *word, uint64_t fallback)
{
	uint64_t read = atomic_load_explicit(word, memory_order_acquire);
	uint64_t value = read & CHECKED_WORD_MAX;

	return checked_word(value) == read ? value : fallback;
}

/* Writes a value, after everything that it speaks of. */
static inline void checked_word_store(_Atomic uint64_t *word, uint64_t value)
{
	atomic_store_explicit(word, checked_word(value), memory_order_release);
}

#endif
