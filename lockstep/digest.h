/*
 * Digests: AES-GMAC keyed per boot, by OpenSSL. A digest is 128 bits; two different inputs have the same one
 * with a probability of about 2^-120. The key keeps faults from being correlated with it; it is no secret from
 * the replicas.
 */
#ifndef TERCET_LOCKSTEP_DIGEST_H
#define TERCET_LOCKSTEP_DIGEST_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "lockstep/digest_value.h"

enum { DIGEST_KEY_SIZE = 16 };

/* What is hashed: the same bytes have different digests in different domains. */
enum digest_domain {
	DIGEST_PAGE = 1,
	DIGEST_EXITS,
	DIGEST_CPU,
	DIGEST_DEVICES,
	DIGEST_OUTPUT,
	DIGEST_FILE,
};

struct digest_context {
	EVP_CIPHER_CTX *cipher;
};

/* Makes a context; one for each thread. Errors: OpenSSL lacks AES-GCM, no memory. */
must_check result digest_create(struct digest_context *context, const uint8_t key[DIGEST_KEY_SIZE]);
void digest_destroy(struct digest_context *context);

/* The digest of `length` bytes at `data`; `number` distinguishes equal bytes at different places. */
struct digest digest_of(struct digest_context *context, enum digest_domain domain, uint64_t number,
			const void *data, size_t length);

/* Looks for the one bit of `data` whose flip gives it the digest `wanted`: false if there is none, else `*bit` is it,
 * counted from the lowest one of the first byte. `length` is a multiple of DIGEST_SIZE; `data` is as before in the
 * end. It takes a digest for each DIGEST_SIZE bytes, not one for each bit. */
bool digest_find_flip(struct digest_context *context, enum digest_domain domain, uint64_t number, uint8_t *data,
		      size_t length, const struct digest *wanted, size_t *bit);

/* digest_of in parts: begin, any number of adds, end. */
void digest_begin(struct digest_context *context, enum digest_domain domain, uint64_t number);
void digest_add(struct digest_context *context, const void *data, size_t length);
struct digest digest_end(struct digest_context *context);

#endif
