/*
 * What a thread may do beyond its user's rights (capabilities(7)).
 */
#ifndef TERCET_BASE_PRIVILEGE_H
#define TERCET_BASE_PRIVILEGE_H

#include <stddef.h>

#include "base/result.h"

/* Drops all capabilities of this thread for good, and of what it may become by exec, but those of `kept` (CAP_...,
 * linux/capability.h) that it has. Errors: the kernel refuses. */
must_check result privilege_drop(const unsigned *kept, size_t count);

#endif
