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
