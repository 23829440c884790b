/*
 * A digest as a value, without the library that computes it: what the voter reads.
 */
#ifndef TERCET_LOCKSTEP_DIGEST_VALUE_H
#define TERCET_LOCKSTEP_DIGEST_VALUE_H

#include <stdint.h>

enum { DIGEST_SIZE = 16 }; /* bytes: the tag of AES-GMAC, NIST SP 800-38D, 5.2.1.2 */

struct digest {
	uint8_t bytes[DIGEST_SIZE];
};

#endif
