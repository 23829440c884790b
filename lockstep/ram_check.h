/*
 * Guest memories compared byte for byte: the check of the hashes that stand for them.
 */
#ifndef TERCET_LOCKSTEP_RAM_CHECK_H
#define TERCET_LOCKSTEP_RAM_CHECK_H

#include <stdint.h>

#include "base/result.h"

/* Compares `count` memories of `size` bytes with the first. Gives the pages compared and how many of them were
 * not equal in all; what none has ever touched counts as compared. The memories must stand still. */
must_check result ram_check_compare(const int *fds, unsigned count, uint64_t size, uint64_t *pages,
				    uint64_t *differing);

#endif
