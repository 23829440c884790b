#include "lockstep/digest.h"

#include <limits.h>
#include <openssl/evp.h>
#include <string.h>

enum { NONCE_SIZE = 12 }; /* NIST SP 800-38D, 5.2.1.1: 96 bits need no extra hashing */

result digest_create(struct digest_context *context, const uint8_t key[DIGEST_KEY_SIZE])
{
	context->cipher = EVP_CIPHER_CTX_new();
	if (!context->cipher ||
	    EVP_EncryptInit_ex(context->cipher, EVP_aes_128_gcm(), NULL, key, NULL) != 1) {
		digest_destroy(context);
		return fail(STATUS_FAILED, "OpenSSL offers no AES-128-GCM for digests: check its installation");
	}
	return OK;
}

void digest_destroy(struct digest_context *context)
{
	EVP_CIPHER_CTX_free(context->cipher);
	context->cipher = NULL;
}

void digest_begin(struct digest_context *context, enum digest_domain domain, uint64_t number)
{
	uint8_t nonce[NONCE_SIZE] = { (uint8_t)domain };

	/* Every digest of a boot that can be compared with another has the same nonce as that other one: a nonce
	 * that says what is hashed. That is no way to keep secrets, and none are kept here. */
	memcpy(nonce + NONCE_SIZE - sizeof(number), &number, sizeof(number));
	int done = EVP_EncryptInit_ex(context->cipher, NULL, NULL, NULL, nonce);

	invariant(done == 1);
}

void digest_add(struct digest_context *context, const void *data, size_t length)
{
	const uint8_t *at = data;

	while (length > 0) {
		int part = length < INT_MAX ? (int)length : INT_MAX;
		int ignored;
		/* No output buffer: additional authenticated data, which makes GCM a GMAC. */
		int done = EVP_EncryptUpdate(context->cipher, NULL, &ignored, at, part);

		invariant(done == 1);
		at += part;
		length -= (size_t)part;
	}
}

struct digest digest_end(struct digest_context *context)
{
	struct digest digest;
	uint8_t none[DIGEST_SIZE];
	int ignored;
	int done = EVP_EncryptFinal_ex(context->cipher, none, &ignored);
	int got = EVP_CIPHER_CTX_ctrl(context->cipher, EVP_CTRL_AEAD_GET_TAG, DIGEST_SIZE, digest.bytes);

	invariant(done == 1 && got == 1);
	return digest;
}

struct digest digest_of(struct digest_context *context, enum digest_domain domain, uint64_t number,
			const void *data, size_t length)
{
	digest_begin(context, domain, number);
	digest_add(context, data, length);
	return digest_end(context);
}

/* --- which bit --- */

/* An element of GCM's field, GF(2^128): the highest bit of the first byte is the coefficient of x^0 (NIST SP 800-38D,
 * 6.3). */
struct element {
	uint64_t high, low;
};

static uint64_t load_big_endian(const uint8_t *bytes)
{
	uint64_t value;

	memcpy(&value, bytes, sizeof(value));
	return __builtin_bswap64(value);
}

static struct element difference(const struct digest *a, const struct digest *b)
{
	return (struct element){
		.high = load_big_endian(a->bytes) ^ load_big_endian(b->bytes),
		.low = load_big_endian(a->bytes + 8) ^ load_big_endian(b->bytes + 8),
	};
}

/* The field's polynomial is 1 + x + x^2 + x^7 + x^128, likewise. */
static struct element times_x(struct element a)
{
	const uint64_t carry = a.low & 1;

	return (struct element){
		.high = a.high >> 1 ^ carry * UINT64_C(0xE100000000000000),
		.low = a.low >> 1 | a.high << 63,
	};
}

/*
 * GMAC is linear: what a flip changes in the digest does not depend on the data, and is x^i times what a flip of the
 * block's first bit changes, where i is the bit's place behind that one.
 */
bool digest_find_flip(struct digest_context *context, enum digest_domain domain, uint64_t number, uint8_t *data,
		      size_t length, const struct digest *wanted, size_t *bit)
{
	const struct digest now = digest_of(context, domain, number, data, length);
	const struct element sought = difference(wanted, &now);

	invariant(length % DIGEST_SIZE == 0);
	for (size_t block = 0; block < length; block += DIGEST_SIZE) {
		struct digest flipped;
		struct element change;

		data[block] ^= 0x80;
		flipped = digest_of(context, domain, number, data, length);
		data[block] ^= 0x80;
		change = difference(&flipped, &now);
		for (size_t i = 0; i < 8 * (size_t)DIGEST_SIZE; i++, change = times_x(change)) {
			if (change.high != sought.high || change.low != sought.low)
				continue;
			*bit = (block + i / 8) * 8 + (7 - i % 8);
			return true;
		}
	}
	return false;
}
