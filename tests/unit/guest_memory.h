/*
 * What unit tests of memory and of files share: guest RAM over a memfd, files made of bytes, and failures that must
 * say something.
 */
#ifndef TERCET_TESTS_UNIT_GUEST_MEMORY_H
#define TERCET_TESTS_UNIT_GUEST_MEMORY_H

#include "tests/unit/fixture.h"
#include "vmm/ram.h"

/* Makes writable guest RAM of `size` bytes; the descriptor lives as long as the process does. */
void guest_memory_make(struct ram *ram, uint64_t size);

/* A file with these bytes, then zeros up to `size` (at least `length`). */
int guest_memory_file(const void *data, size_t length, uint64_t size);

/* The test fails unless `r` is a success. */
void must_succeed(result r);

/* The test fails unless `r` is a failure of this status whose message has `words` in it. */
void must_fail(result r, enum status status, const char *words);

/* The number of MiB that the message of the last failure gives for --memory; the test fails if there is none. */
uint64_t must_ask_for_memory(result r);

#endif
