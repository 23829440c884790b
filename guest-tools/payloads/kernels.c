#include "guest-tools/payloads/kernels.h"

#include <emmintrin.h>
#include <string.h>

/*
 * The costs in nanoseconds were measured on a 3 GHz core of 2023; they only set how much work makes a microsecond
 * and where payload_pace puts its exits, so another processor's speed changes no result.
 */
enum {
	HASH_WORDS = 4096,
	HASH_COST = 11000, /* one pass over the words */
	MATRIX_SIZE = 64,
	MATRIX_ROW_COST = 1700,
	SIEVE_SPAN = 1 << 17,   /* numbers in a segment; odd ones only are stored */
	SIEVE_SEGMENTS = 8,     /* up to 2^20, so primes below 2^10 sieve */
	SIEVE_COST = 75000,     /* one segment */
	BODIES = 8,
	BODIES_STEPS = 16,      /* between two paces */
	BODIES_COST = 5000,     /* of so many steps */
	SORT_WORDS = 8192,
	SORT_COST = 60,         /* one sift-down */
};

static uint32_t hash_words[HASH_WORDS];
static double matrix[3][MATRIX_SIZE][MATRIX_SIZE] __attribute__((aligned(16)));
static uint8_t sieve[SIEVE_SPAN / 2];
static uint32_t sort_words[SORT_WORDS];

static uint64_t bits_of(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

/* In [0, 1), exactly representable. */
static double random_fraction(struct payload *payload)
{
	return (double)(payload_random(payload) >> 11) * 0x1p-53;
}

static uint32_t rotate(uint32_t value, unsigned count)
{
	return (value << count) | (value >> (32 - count));
}

/* Add, rotate, xor over an array that it rewrites as it goes. */
static void run_hash(struct payload *payload, uint64_t passes)
{
	uint32_t state[4] = { 1, 2, 3, 4 };

	for (size_t i = 0; i < HASH_WORDS; i++)
		hash_words[i] = (uint32_t)payload_random(payload);
	for (uint64_t pass = 0; pass < passes; pass++) {
		for (size_t i = 0; i < HASH_WORDS; i++) {
			state[0] += hash_words[i] ^ rotate(state[3], 7);
			state[1] ^= rotate(state[0], 13) + state[2];
			state[2] += rotate(state[1], 18) ^ hash_words[(state[0] >> 3) % HASH_WORDS];
			state[3] ^= state[2] * 5 + (uint32_t)i;
			hash_words[i] = state[3] + rotate(state[1], 22);
		}
		payload_check(payload, (uint64_t)state[0] << 32 | state[1]);
		payload_check(payload, (uint64_t)state[2] << 32 | state[3]);
		payload_pace(payload, HASH_COST);
	}
}

static void multiply_row(size_t row)
{
	for (size_t column = 0; column < MATRIX_SIZE; column += 2) {
		__m128d sum = _mm_setzero_pd();

		for (size_t k = 0; k < MATRIX_SIZE; k++)
			sum = _mm_add_pd(sum, _mm_mul_pd(_mm_set1_pd(matrix[0][row][k]),
							 _mm_load_pd(&matrix[1][k][column])));
		_mm_store_pd(&matrix[2][row][column], sum);
	}
}

static void run_matrix(struct payload *payload, uint64_t rows)
{
	for (size_t i = 0; i < MATRIX_SIZE; i++) {
		for (size_t j = 0; j < MATRIX_SIZE; j++) {
			matrix[0][i][j] = random_fraction(payload);
			matrix[1][i][j] = random_fraction(payload);
		}
	}
	for (uint64_t count = 0; count < rows; count++) {
		size_t row = count % MATRIX_SIZE;

		multiply_row(row);
		payload_check(payload, bits_of(matrix[2][row][row]));
		/* The product becomes the next factor, kept between 0 and 1. */
		for (size_t j = 0; j < MATRIX_SIZE; j++)
			matrix[0][row][j] = matrix[2][row][j] * (0.5 / MATRIX_SIZE) + matrix[1][j][row] * 0.5;
		payload_pace(payload, MATRIX_ROW_COST);
	}
}

static void run_sieve(struct payload *payload, uint64_t segments)
{
	for (uint64_t count = 0; count < segments; count++) {
		uint32_t low = (uint32_t)(count % SIEVE_SEGMENTS) * SIEVE_SPAN;
		uint64_t primes = 0, last = 0;

		memset(sieve, 1, sizeof(sieve));
		payload_pace(payload, SIEVE_COST / 4);
		for (uint32_t factor = 3; factor < 1024; factor += 2) {
			uint32_t from = (low + factor - 1) / factor * factor;

			if (from < factor * factor)
				from = factor * factor;
			if (from % 2 == 0)
				from += factor;
			for (uint32_t n = from; n < low + SIEVE_SPAN; n += 2 * factor)
				sieve[(n - low) / 2] = 0;
			if (factor % 32 == 1)
				payload_pace(payload, SIEVE_COST / 64);
		}
		for (uint32_t i = 0; i < SIEVE_SPAN / 2; i++) {
			if (sieve[i] != 0) {
				primes++;
				last = low + 2 * i + 1;
			}
		}
		payload_check(payload, primes);
		payload_check(payload, last);
		payload_pace(payload, SIEVE_COST / 4);
	}
}

struct body {
	double at[3], speed[3], mass;
};

static void step_bodies(struct body *bodies)
{
	const double dt = 0x1p-10;

	for (size_t i = 0; i < BODIES; i++) {
		for (size_t j = i + 1; j < BODIES; j++) {
			double d[3], square = 0x1p-6, pull; /* softened: two bodies in one place stay finite */
			__m128d root;

			for (size_t k = 0; k < 3; k++) {
				d[k] = bodies[i].at[k] - bodies[j].at[k];
				square += d[k] * d[k];
			}
			root = _mm_sqrt_sd(_mm_setzero_pd(), _mm_set_sd(square));
			pull = dt / (square * _mm_cvtsd_f64(root));
			for (size_t k = 0; k < 3; k++) {
				bodies[i].speed[k] -= d[k] * bodies[j].mass * pull;
				bodies[j].speed[k] += d[k] * bodies[i].mass * pull;
			}
		}
	}
	for (size_t i = 0; i < BODIES; i++) {
		for (size_t k = 0; k < 3; k++)
			bodies[i].at[k] += dt * bodies[i].speed[k];
	}
}

static void run_bodies(struct payload *payload, uint64_t blocks)
{
	struct body bodies[BODIES];

	for (size_t i = 0; i < BODIES; i++) {
		for (size_t k = 0; k < 3; k++) {
			bodies[i].at[k] = random_fraction(payload) * 4 - 2;
			bodies[i].speed[k] = random_fraction(payload) - 0.5;
		}
		bodies[i].mass = random_fraction(payload) + 0x1p-4;
	}
	for (uint64_t block = 0; block < blocks; block++) {
		for (int step = 0; step < BODIES_STEPS; step++)
			step_bodies(bodies);
		payload_check(payload, bits_of(bodies[block % BODIES].at[block % 3]));
		payload_pace(payload, BODIES_COST);
	}
}

static void sift_down(size_t root, size_t end)
{
	uint32_t value = sort_words[root];

	for (;;) {
		size_t child = 2 * root + 1;

		if (child >= end)
			break;
		if (child + 1 < end && sort_words[child + 1] > sort_words[child])
			child++;
		if (sort_words[child] <= value)
			break;
		sort_words[root] = sort_words[child];
		root = child;
	}
	sort_words[root] = value;
}

static uint32_t run_sort(struct payload *payload, uint64_t rounds)
{
	for (uint64_t round = 0; round < rounds; round++) {
		for (size_t i = 0; i < SORT_WORDS; i++)
			sort_words[i] = (uint32_t)payload_random(payload);
		for (size_t i = SORT_WORDS / 2; i-- > 0;) {
			sift_down(i, SORT_WORDS);
			payload_pace(payload, SORT_COST / 4);
		}
		for (size_t end = SORT_WORDS - 1; end > 0; end--) {
			uint32_t largest = sort_words[0];

			sort_words[0] = sort_words[end];
			sort_words[end] = largest;
			sift_down(0, end);
			payload_pace(payload, SORT_COST);
		}
		for (size_t i = 0; i < SORT_WORDS; i++) {
			if (i > 0 && sort_words[i - 1] > sort_words[i]) {
				payload_print("sort: not sorted\n");
				return PAYLOAD_WRONG;
			}
			payload_check(payload, sort_words[i]);
		}
	}
	return PAYLOAD_GOOD;
}

uint32_t kernels_run(struct payload *payload, uint64_t microseconds)
{
	uint64_t share = microseconds * 1000 / 5;

	run_hash(payload, share / HASH_COST);
	run_matrix(payload, share / MATRIX_ROW_COST);
	run_sieve(payload, share / SIEVE_COST);
	run_bodies(payload, share / BODIES_COST);
	return run_sort(payload, share / ((uint64_t)SORT_WORDS * SORT_COST));
}
