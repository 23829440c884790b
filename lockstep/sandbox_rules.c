#include "lockstep/sandbox_rules.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>

#include "base/result.h"

#define VALUE(name) { #name, (uint64_t)(name) }
#define RULE(name, reason) { .call = (name), .why = (reason), .check = SANDBOX_ALWAYS }
#define RULE_IF(name, which, number, list, reason)                                                                  \
	{                                                                                                           \
		.call = (name), .why = (reason), .check = (which), .argument = (number), .values = (list),          \
		.value_count = ARRAY_SIZE(list)                                                                     \
	}
#define RULE_OWN(name, reason) { .call = (name), .why = (reason), .check = SANDBOX_OWN_PROCESS }
#define RULE_OUTLET(name, reason) { .call = (name), .why = (reason), .check = SANDBOX_OUTLETS }
#define RULE_ABSENT(name, reason) { .call = (name), .why = (reason), .check = SANDBOX_ABSENT }

static const struct sandbox_value executable[] = { VALUE(PROT_EXEC) };

/* Of a VM that exists: to run it, to take and give its state, to see which memory it wrote. */
static const struct sandbox_value replica_requests[] = {
	VALUE(KVM_RUN),
	VALUE(KVM_INTERRUPT),
	VALUE(KVM_GET_REGS),
	VALUE(KVM_SET_REGS),
	VALUE(KVM_GET_SREGS),
	VALUE(KVM_SET_SREGS),
	VALUE(KVM_GET_DEBUGREGS),
	VALUE(KVM_SET_DEBUGREGS),
	VALUE(KVM_GET_VCPU_EVENTS),
	VALUE(KVM_SET_VCPU_EVENTS),
	VALUE(KVM_GET_XSAVE),
	VALUE(KVM_SET_XSAVE),
	VALUE(KVM_GET_MSRS),
	VALUE(KVM_SET_MSRS),
	VALUE(KVM_GET_NESTED_STATE),
	VALUE(KVM_SET_NESTED_STATE),
	VALUE(KVM_SET_GUEST_DEBUG),
	VALUE(KVM_GET_DIRTY_LOG),
	VALUE(KVM_CLEAR_DIRTY_LOG),
	VALUE(KVM_SET_USER_MEMORY_REGION),
	VALUE(PERF_EVENT_IOC_PERIOD),
};

/* What both do: memory, time, waiting, dying. */
#define COMMON_RULES                                                                                                \
	RULE("futex", "waits for, and wakes, the other processes"),                                                 \
	RULE("read", "counters and bells; nothing new can be opened for it"),                                       \
	RULE("clock_getres", "the C library asks it for another process's CPU clock"),                              \
	RULE("clock_gettime", "time, where the vDSO has none, and CPU time"),                                       \
	RULE("gettimeofday", "likewise"),                                                                           \
	RULE("time", "likewise"),                                                                                   \
	RULE("getcpu", "the core on which it runs"),                                                                \
	RULE("clock_nanosleep", "short pauses"),                                                                    \
	RULE("restart_syscall", "a pause goes on after SIGSTOP and SIGCONT"),                                       \
	RULE("sched_yield", "a lock of the C library is waited for"),                                               \
	RULE_IF("mmap", SANDBOX_WITHOUT, 2, executable, "memory, never to be executed"),                            \
	RULE_IF("mprotect", SANDBOX_WITHOUT, 2, executable, "the C library's heaps and stacks grow"),               \
	RULE("mremap", "a large allocation grows"),                                                                 \
	RULE("munmap", "memory is given back"),                                                                     \
	RULE("madvise", "likewise"),                                                                                \
	RULE("brk", "the heap grows"),                                                                              \
	RULE("getrandom", "keys of hash tables, the guest's random numbers"),                                       \
	RULE("close", "what is not needed any more"),                                                               \
	RULE("rt_sigreturn", "the end of a signal handler"),                                                        \
	RULE("rt_sigprocmask", "abort() and threads of the C library"),                                             \
	RULE("getpid", "signals to itself"),                                                                        \
	RULE("gettid", "likewise"),                                                                                 \
	RULE_OWN("tgkill", "abort(), faults on purpose, and the end after a forbidden call"),                       \
	RULE("exit", "the end of a thread"),                                                                        \
	RULE("exit_group", "the end")

static const struct sandbox_rule replica_rules[] = {
	RULE_IF("ioctl", SANDBOX_VALUES, 1, replica_requests, "runs its virtual machine, which exists"),
	COMMON_RULES,
	RULE_OUTLET("write", "messages, and the supervisor's bell"),
	RULE_OUTLET("writev", "the C library's last words"),
	RULE("pread64", "a reset: kernel and initrd are read again"),
	RULE("fstat", "likewise: their size; it takes no path"),
	RULE("lseek", "likewise: which memory was written"),
	RULE("fallocate", "likewise: memory is emptied"),
	RULE("timer_settime", "the alarm that takes the guest out of its code"),
	RULE("timer_delete", "likewise, at the end"),
	RULE("pause", "a hang on purpose"),
};

/* A thread of this process: no new process. */
static const struct sandbox_value thread_flags[] = { { "CLONE_VM and CLONE_THREAD", CLONE_VM | CLONE_THREAD } };

/* Of this number the C library makes no more than a word that goes round all threads (nptl(7)). */
static const struct sandbox_value library_signals[] = { { "33", 33 } };

static const struct sandbox_value supervisor_requests[] = {
	VALUE(TCGETS), VALUE(TCSETS), VALUE(TIOCGWINSZ), VALUE(FIONREAD),
};

static const struct sandbox_value descriptor_commands[] = {
	VALUE(F_GETFD), VALUE(F_SETFD), VALUE(F_GETFL), VALUE(F_SETFL), VALUE(F_GET_SEALS), VALUE(F_ADD_SEALS),
};

static const struct sandbox_value replica_signals[] = {
	VALUE(SIGKILL), VALUE(SIGUSR1), VALUE(SIGCONT),
};

static const struct sandbox_rule supervisor_rules[] = {
	RULE("epoll_wait", "waits for events"),
	RULE("epoll_pwait", "likewise"),
	COMMON_RULES,
	RULE("write", "the console, recordings, reports, statistics, network frames, messages"),
	RULE("writev", "likewise"),
	RULE("epoll_ctl", "what it waits for"),
	RULE("epoll_create1", "likewise"),
	RULE("poll", "whether the console takes more"),
	RULE("ppoll", "likewise"),
	RULE("preadv2", "the bell, which replicas may have emptied"),
	RULE("preadv", "likewise"),
	RULE("pread64", "disks"),
	RULE("pwrite64", "disks"),
	RULE("fallocate", "disks; a lost replica's memory is emptied"),
	RULE("fdatasync", "disks"),
	RULE("timerfd_settime", "when it looks after its replicas"),
	RULE("accept4", "clients of the monitor"),
	RULE("accept", "likewise"),
	RULE("recvfrom", "what they say; the spawner's answer"),
	RULE("sendto", "what they are told; network frames"),
	RULE("recvmsg", "likewise"),
	RULE("sendmsg", "likewise; descriptors for a new replica"),
	RULE("shutdown", "a client is let go"),
	RULE_IF("ioctl", SANDBOX_VALUES, 1, supervisor_requests, "the terminal or pty that is the console"),
	RULE_IF("fcntl", SANDBOX_VALUES, 1, descriptor_commands, "streams of the C library; a configuration is sealed"),
	RULE("memfd_create", "a new replica's configuration"),
	RULE("fchmod", "likewise"),
	RULE("ftruncate", "likewise; a recording is cut to its last whole record"),
	RULE("openat", "reports, statistics, the folder of the monitor's socket"),
	RULE("lseek", "streams of the C library"),
	RULE("newfstatat", "likewise"),
	RULE("fstat", "likewise"),
	RULE("statx", "likewise"),
	RULE("getcwd", "a report says where its machine was started"),
	RULE("mkdir", "the folder of reports"),
	RULE("mkdirat", "a report"),
	RULE("renameat", "a finished report gets its name"),
	RULE("renameat2", "likewise"),
	RULE("fsync", "a report is on disk"),
	RULE("syncfs", "likewise"),
	RULE("flock", "the folder of the monitor's socket"),
	RULE("unlink", "the monitor's socket goes"),
	RULE("pidfd_open", "a replica's end"),
	RULE("wait4", "likewise"),
	RULE("waitid", "likewise"),
	RULE_IF("kill", SANDBOX_VALUES, 1, replica_signals, "replicas are called, woken and ended"),
	RULE("sched_setaffinity", "replicas have their cores"),
	RULE_IF("clone", SANDBOX_WITH, 0, thread_flags, "a thread that waits for a replica's death"),
	RULE_ABSENT("clone3", "its flags cannot be seen; the C library then takes clone"),
	RULE_IF("rt_sigaction", SANDBOX_VALUES, 0, library_signals, "the first thread: the C library's own signal"),
	RULE("set_robust_list", "a new thread"),
	RULE("rseq", "likewise"),
	RULE("sched_getaffinity", "likewise: how many heaps the C library makes"),
	RULE("sigaltstack", "likewise"),
};

const struct sandbox_rule *sandbox_rules(enum sandbox_role role, size_t *count)
{
	*count = role == SANDBOX_REPLICA ? ARRAY_SIZE(replica_rules) : ARRAY_SIZE(supervisor_rules);
	return role == SANDBOX_REPLICA ? replica_rules : supervisor_rules;
}
