/*
 * What each kind of process may ask of the kernel once it is set up, and why: docs/sandbox.md is made to say the same.
 */
#ifndef TERCET_LOCKSTEP_SANDBOX_RULES_H
#define TERCET_LOCKSTEP_SANDBOX_RULES_H

#include <stddef.h>
#include <stdint.h>

enum sandbox_role {
	SANDBOX_REPLICA,
	SANDBOX_SUPERVISOR,
	SANDBOX_ROLES,
};

enum sandbox_check {
	SANDBOX_ALWAYS,      /* whatever its arguments are */
	SANDBOX_VALUES,      /* the argument's lower 32 bits are one of `values` */
	SANDBOX_WITH,        /* the argument has all bits of the first value */
	SANDBOX_WITHOUT,     /* the argument has no bit of the first value */
	SANDBOX_OWN_PROCESS, /* the argument is the process's own number */
	SANDBOX_OUTLETS,     /* the argument is standard error or one of the descriptors in struct sandbox */
	SANDBOX_ABSENT,      /* fails with ENOSYS, as with a kernel that does not have it */
};

struct sandbox_value {
	const char *name;
	uint64_t value;
};

struct sandbox_rule {
	const char *call; /* as syscalls(2) has it */
	const char *why;
	enum sandbox_check check;
	unsigned argument; /* 0: the first */
	const struct sandbox_value *values;
	size_t value_count;
};

/* The rules of a role; all other system calls are forbidden. */
const struct sandbox_rule *sandbox_rules(enum sandbox_role role, size_t *count);

#endif
