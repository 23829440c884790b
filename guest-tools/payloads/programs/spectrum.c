/* Fourier transforms of 4,096 points there and back, as in signal processing; nothing may be lost on the way. */
#include "guest-tools/payloads/payload.h"

#include <emmintrin.h>
#include <string.h>

enum {
	BITS = 12,
	POINTS = 1 << BITS,
	STAGE_COST = 6000, /* one of the BITS stages */
};

const char payload_name[] = "spectrum";

struct number {
	double real, imaginary;
};

static struct number signal[POINTS], first[POINTS];
static struct number roots[POINTS / 2]; /* of unity, in order */

static struct number times(struct number a, struct number b)
{
	return (struct number){
		.real = a.real * b.real - a.imaginary * b.imaginary,
		.imaginary = a.real * b.imaginary + a.imaginary * b.real,
	};
}

static double square_root(double value)
{
	return _mm_cvtsd_f64(_mm_sqrt_sd(_mm_setzero_pd(), _mm_set_sd(value)));
}

/* Each root is a product of those whose angles are halves of halves of a turn: no library of functions is needed. */
static void make_roots(void)
{
	struct number power = { 0, 1 }; /* a quarter of a turn */

	roots[0] = (struct number){ 1, 0 };
	for (size_t step = POINTS / 4; step > 0; step /= 2) {
		for (size_t i = step; i < POINTS / 2; i += 2 * step)
			roots[i] = times(roots[i - step], power);
		power = (struct number){ square_root((1 + power.real) / 2), square_root((1 - power.real) / 2) };
	}
}

static void swap_by_reversed_bits(void)
{
	for (size_t i = 0; i < POINTS; i++) {
		size_t reversed = 0;

		for (unsigned bit = 0; bit < BITS; bit++)
			reversed |= (i >> bit & 1) << (BITS - 1 - bit);
		if (reversed > i) {
			const struct number other = signal[i];

			signal[i] = signal[reversed];
			signal[reversed] = other;
		}
	}
}

static void transform(struct payload *payload, bool back)
{
	swap_by_reversed_bits();
	for (size_t half = 1; half < POINTS; half *= 2) {
		for (size_t i = 0; i < POINTS; i += 2 * half) {
			for (size_t k = 0; k < half; k++) {
				struct number root = roots[k * (POINTS / 2 / half)], turned;

				if (back)
					root.imaginary = -root.imaginary;
				turned = times(signal[i + half + k], root);
				signal[i + half + k].real = signal[i + k].real - turned.real;
				signal[i + half + k].imaginary = signal[i + k].imaginary - turned.imaginary;
				signal[i + k].real += turned.real;
				signal[i + k].imaginary += turned.imaginary;
			}
		}
		payload_pace(payload, STAGE_COST);
	}
}

static bool is_near(double a, double b)
{
	return a - b < 0x1p-30 && b - a < 0x1p-30;
}

static bool same_as_first(void)
{
	for (size_t i = 0; i < POINTS; i++) {
		if (!is_near(signal[i].real / POINTS, first[i].real) ||
		    !is_near(signal[i].imaginary / POINTS, first[i].imaginary))
			return false;
	}
	return true;
}

uint32_t payload_main(struct payload *payload)
{
	const uint64_t rounds = 1 + payload->scale * 20000 * 1000 / ((uint64_t)2 * BITS * STAGE_COST);

	make_roots();
	for (uint64_t round = 0; round < rounds; round++) {
		for (size_t i = 0; i < POINTS; i++) {
			const uint64_t random = payload_random(payload);

			first[i].real = (double)(int32_t)random * 0x1p-31;
			first[i].imaginary = (double)(int32_t)(random >> 32) * 0x1p-31;
		}
		memcpy(signal, first, sizeof(signal));
		transform(payload, false);
		for (size_t i = 0; i < POINTS; i += 97) {
			uint64_t bits;

			memcpy(&bits, &signal[i].real, sizeof(bits));
			payload_check(payload, bits);
		}
		transform(payload, true);
		if (!same_as_first()) {
			payload_print("spectrum: not what it was\n");
			return PAYLOAD_WRONG;
		}
	}
	return PAYLOAD_GOOD;
}
