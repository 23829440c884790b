#include "lockstep/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/privilege.h"

/* The kernel compares 64 bits, and takes 32 of those arguments that are int. */
#define LOWER_HALF UINT64_C(0xFFFFFFFF)

bool sandbox_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
	return true;
#endif
#endif
	return false;
}

result sandbox_available(void)
{
	const uint32_t action = SECCOMP_RET_TRAP;

	if (sandbox_sanitized())
		return fail(STATUS_HOST, "this program was built with a sanitizer, which cannot live in a sandbox");
	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0)
		return fail_errno(STATUS_HOST, errno,
				  "this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER), or a container hides "
				  "them: --sandbox off does without");
	return OK;
}

void sandbox_name(uint32_t call, char *text, size_t size)
{
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)call);

	(void)snprintf(text, size, "%u (%s)", call, name ? name : "unknown");
	free(name);
}

/* --- a forbidden call --- */

static _Atomic uint32_t *tried_word;

/* The call is not made. Nothing here may take a lock: the process was stopped anywhere. */
static void on_forbidden(int signal_number, siginfo_t *information, void *context)
{
	char line[96];

	(void)context;
	if (tried_word)
		atomic_store(tried_word, (uint32_t)information->si_syscall + 1);
	int length = snprintf(line, sizeof(line), "tercet: error: a forbidden system call was tried: %d\n",
			      information->si_syscall);

	ssize_t written = write(STDERR_FILENO, line, length > 0 ? (size_t)length : 0);

	(void)written;
	/* Its handler is gone by now (SA_RESETHAND): this ends the process. */
	for (;;)
		(void)syscall(SYS_tgkill, getpid(), gettid(), signal_number);
}

static result handle_forbidden(const struct sandbox *sandbox)
{
	const struct sigaction action = {
		.sa_sigaction = on_forbidden,
		.sa_flags = SA_SIGINFO | (int)SA_RESETHAND | SA_NODEFER,
	};
	sigset_t own;

	tried_word = sandbox->tried;
	(void)sigemptyset(&own);
	(void)sigaddset(&own, SIGSYS);
	if (sigaction(SIGSYS, &action, NULL) < 0 || sigprocmask(SIG_UNBLOCK, &own, NULL) < 0)
		return fail_errno(STATUS_HOST, errno, "the sandbox cannot be set up: no handler for SIGSYS");
	return OK;
}

/* --- the filter --- */

static int allow(scmp_filter_ctx filter, int call, struct scmp_arg_cmp condition)
{
	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &condition);
}

static int allow_values(scmp_filter_ctx filter, int call, const struct sandbox_rule *rule)
{
	int error = 0;

	for (size_t i = 0; i < rule->value_count && error == 0; i++)
		error = allow(filter, call, SCMP_CMP(rule->argument, SCMP_CMP_MASKED_EQ, LOWER_HALF,
						     rule->values[i].value & LOWER_HALF));
	return error;
}

static int allow_outlets(scmp_filter_ctx filter, int call, const struct sandbox_rule *rule,
			 const struct sandbox *sandbox)
{
	int error = allow(filter, call, SCMP_CMP(rule->argument, SCMP_CMP_MASKED_EQ, LOWER_HALF, STDERR_FILENO));

	for (size_t i = 0; i < sandbox->outlet_count && error == 0; i++)
		error = allow(filter, call, SCMP_CMP(rule->argument, SCMP_CMP_MASKED_EQ, LOWER_HALF,
						     (unsigned)sandbox->outlets[i]));
	return error;
}

static int add_rule(scmp_filter_ctx filter, const struct sandbox_rule *rule, const struct sandbox *sandbox)
{
	const int call = seccomp_syscall_resolve_name(rule->call);
	const uint64_t first = rule->value_count > 0 ? rule->values[0].value : 0;

	/* One that this libseccomp does not know, the C library does not know either. */
	if (call == __NR_SCMP_ERROR)
		return 0;
	switch (rule->check) {
	case SANDBOX_ALWAYS:
		return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 0, NULL);
	case SANDBOX_VALUES:
		return allow_values(filter, call, rule);
	case SANDBOX_WITH:
		return allow(filter, call, SCMP_CMP(rule->argument, SCMP_CMP_MASKED_EQ, first, first));
	case SANDBOX_WITHOUT:
		return allow(filter, call, SCMP_CMP(rule->argument, SCMP_CMP_MASKED_EQ, first, 0));
	case SANDBOX_OWN_PROCESS:
		return allow(filter, call,
			     SCMP_CMP(rule->argument, SCMP_CMP_MASKED_EQ, LOWER_HALF, (unsigned)getpid()));
	case SANDBOX_OUTLETS:
		return allow_outlets(filter, call, rule, sandbox);
	case SANDBOX_ABSENT:
		return seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(ENOSYS), call, 0, NULL);
	}
	return -EINVAL;
}

static int fill(scmp_filter_ctx filter, const struct sandbox *sandbox)
{
	size_t count;
	const struct sandbox_rule *rules = sandbox_rules(sandbox->role, &count);
	/* All threads; a call by another of the CPU's ways (32 bits, x32) ends the process at once. */
	int error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);

	if (error == 0)
		error = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	for (size_t i = 0; i < count && error == 0; i++)
		error = add_rule(filter, &rules[i], sandbox);
	/* What comes first is made most. */
	if (error == 0)
		error = seccomp_syscall_priority(filter, seccomp_syscall_resolve_name(rules[0].call), UINT8_MAX);
	return error;
}

static result load_filter(const struct sandbox *sandbox)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
	int error;

	if (!filter)
		return fail(STATUS_FAILED, "no memory for a seccomp filter");
	error = fill(filter, sandbox);
	if (error == 0)
		error = seccomp_load(filter);
	seccomp_release(filter);
	if (error != 0)
		return fail_errno(STATUS_HOST, -error,
				  "this host does not take a seccomp filter (--sandbox off does without)");
	return OK;
}

result sandbox_enter(const struct sandbox *sandbox)
{
	/* Reports and sockets go where its user said, which may be another user's folder; and a new replica, which has
	 * all rights still, is sent to its core. */
	static const unsigned kept[] = { CAP_DAC_OVERRIDE, CAP_SYS_NICE };

	TRY(privilege_drop(kept, sandbox->role == SANDBOX_SUPERVISOR ? ARRAY_SIZE(kept) : 0));
	/* No other process of this user can look into this one, and it leaves no core with the guest's memory. */
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail_errno(STATUS_HOST, errno, "the sandbox cannot be set up");
	TRY(handle_forbidden(sandbox));
	return load_filter(sandbox);
}
