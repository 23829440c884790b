#include "lockstep/file_hash.h"

#include <openssl/evp.h>

#include "base/fd.h"

static result hash_all(EVP_MD_CTX *context, int fd, const char *name, uint64_t size)
{
	uint8_t bytes[1 << 16];

	for (uint64_t at = 0; at < size;) {
		const size_t part = size - at < sizeof(bytes) ? (size_t)(size - at) : sizeof(bytes);

		TRY(fd_read_at(fd, name, at, bytes, part));
		if (EVP_DigestUpdate(context, bytes, part) != 1)
			return fail(STATUS_FAILED, "OpenSSL cannot hash %s", name);
		at += part;
	}
	return OK;
}

result file_hash(int fd, const char *name, uint64_t *size, uint8_t hash[FILE_HASH_SIZE])
{
	EVP_MD_CTX *context;
	result r;

	TRY(fd_size(fd, name, size));
	context = EVP_MD_CTX_new();
	if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(context);
		return fail(STATUS_FAILED, "OpenSSL offers no SHA-256: check its installation");
	}
	r = hash_all(context, fd, name, *size);
	if (!failed(r) && EVP_DigestFinal_ex(context, hash, NULL) != 1)
		r = fail(STATUS_FAILED, "OpenSSL cannot hash %s", name);
	EVP_MD_CTX_free(context);
	return r;
}
