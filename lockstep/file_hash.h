/*
 * SHA-256 of files (FIPS 180-4, by OpenSSL): whether a file is the one that was meant.
 */
#ifndef TERCET_LOCKSTEP_FILE_HASH_H
#define TERCET_LOCKSTEP_FILE_HASH_H

#include <stdint.h>

#include "base/result.h"

enum { FILE_HASH_SIZE = 32 };

/* Hashes all of a regular file, and gives its size in bytes. `name` is for messages. Errors: STATUS_INPUT it cannot be
 * read, or shrinks meanwhile. */
must_check result file_hash(int fd, const char *name, uint64_t *size, uint8_t hash[FILE_HASH_SIZE]);

#endif
