/*
 * The input of a fuzz target, taken from its beginning on: numbers and bytes, zeros behind its end.
 */
#ifndef TERCET_TESTS_FUZZ_INPUT_H
#define TERCET_TESTS_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What libFuzzer calls for each input; returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t left;
};

/* The next number, of 1 to 8 bytes. */
static inline uint64_t input_next(struct input *input, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes && input->left > 0; i++, input->left--)
		value |= (uint64_t)*input->data++ << 8 * i;
	return value;
}

/* The next `length` bytes. */
static inline void input_bytes(struct input *input, void *to, size_t length)
{
	size_t there = length < input->left ? length : input->left;

	memcpy(to, input->data, there);
	memset((uint8_t *)to + there, 0, length - there);
	input->data += there;
	input->left -= there;
}

#endif
