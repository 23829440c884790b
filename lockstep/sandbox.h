/*
 * A process gives up what it does not need, once it is set up: capabilities, new privileges, and all system calls but
 * those of its role (sandbox_rules.h). A forbidden call ends it by SIGSYS (seccomp(2)); docs/sandbox.md has the whole.
 */
#ifndef TERCET_LOCKSTEP_SANDBOX_H
#define TERCET_LOCKSTEP_SANDBOX_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"
#include "lockstep/sandbox_rules.h"

enum { SANDBOX_OUTLETS_MAX = 4 };

struct sandbox {
	enum sandbox_role role;
	int outlets[SANDBOX_OUTLETS_MAX]; /* that may be written, besides standard error */
	size_t outlet_count;
	_Atomic uint32_t *tried; /* gets the number of a forbidden call plus 1 before the process ends; or NULL */
};

/* Whether this program was built with a sanitizer that needs what every role forbids (LeakSanitizer traces its own
 * process, AddressSanitizer maps memory as it likes). */
bool sandbox_sanitized(void);

/* Whether a sandbox can be had. Errors: STATUS_HOST, with the reason. */
must_check result sandbox_available(void);

/* Enters it, with all threads of this process; there is no way back. Threads that exist already keep their
 * capabilities. Errors: STATUS_HOST, and the process should end. */
must_check result sandbox_enter(const struct sandbox *sandbox);

/* "41 (socket)" for a system call's number, which may be anything. */
void sandbox_name(uint32_t call, char *text, size_t size);

#endif
