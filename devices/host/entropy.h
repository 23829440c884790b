/*
 * The host's random numbers.
 */
#ifndef TERCET_DEVICES_HOST_ENTROPY_H
#define TERCET_DEVICES_HOST_ENTROPY_H

#include <stddef.h>

#include "base/result.h"

/* Fills `data` from getrandom(2). Errors: the host has none. */
must_check result entropy_read(void *data, size_t length);

#endif
