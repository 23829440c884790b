/*
 * `tercet diff`: where two recordings differ first, and in what.
 */
#ifndef TERCET_LOCKSTEP_RECORDING_DIFF_H
#define TERCET_LOCKSTEP_RECORDING_DIFF_H

#include <stdbool.h>

#include "base/result.h"

/* Compares two recordings and says on standard output what it found; `*differ` tells, too. Digests are compared where
 * both machines had the same key. Errors: STATUS_INPUT one of them cannot be read, or is damaged before they differ. */
must_check result recording_diff(const char *one, const char *other, bool *differ);

#endif
