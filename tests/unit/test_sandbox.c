/* Sandboxes: what a role may do passes, what it may not ends the process. */
#include "tests/unit/guest_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/futex.h"
#include "base/privilege.h"
#include "lockstep/sandbox.h"
#include "tests/unit/process_status.h"

/* Shared with children. */
struct seen {
	_Atomic uint32_t tried;
	_Atomic uint32_t entered;
	_Atomic uint32_t passed;
};

static struct seen *seen;
static pid_t parent;
static int file; /* a memory */
static int outlet, other; /* eventfds: one of the replica's outlets, and one that is none */

static void set_up(void)
{
	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(seen, MAP_FAILED);
	outlet = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ck_assert(outlet >= 0 && other >= 0);
	must_succeed(fd_sealed_memory(&file, "file", 4096));
	parent = getpid();
}

static bool impossible(void)
{
	if (sandbox_sanitized())
		printf("skip sandbox: this test was built with a sanitizer\n");
	return sandbox_sanitized();
}

static void enter(enum sandbox_role role)
{
	const struct sandbox sandbox = {
		.role = role, .outlets = { outlet }, .outlet_count = 1, .tried = &seen->tried
	};
	result r = sandbox_enter(&sandbox);

	if (failed(r)) {
		(void)fprintf(stderr, "%s\n", r.failure->message);
		_exit(99);
	}
	atomic_store(&seen->entered, 1);
}

typedef void deed(void);

/* What becomes of a child that does this in this role's sandbox: its wait status. */
static int outcome(enum sandbox_role role, deed *what)
{
	pid_t pid;
	int status;

	memset(seen, 0, sizeof(*seen));
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		enter(role);
		what();
		atomic_store(&seen->passed, 1);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_uint_eq(atomic_load(&seen->entered), 1);
	return status;
}

static void must_pass(enum sandbox_role role, deed *what, const char *name)
{
	int status = outcome(role, what);

	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0 && atomic_load(&seen->passed),
		      "role %d: %s: status 0x%x, system call %d", (int)role, name, (unsigned)status,
		      (int)atomic_load(&seen->tried) - 1);
}

static void must_die(enum sandbox_role role, deed *what, const char *name, long call)
{
	int status = outcome(role, what);

	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS && !atomic_load(&seen->passed),
		      "role %d: %s: status 0x%x", (int)role, name, (unsigned)status);
	ck_assert_msg(atomic_load(&seen->tried) == (uint32_t)call + 1, "role %d: %s: call %u", (int)role, name,
		      atomic_load(&seen->tried));
}

/* --- deeds --- */

static void live(void)
{
	struct timespec time;
	uint64_t count = 1;
	char *memory = malloc(1 << 20);
	_Atomic uint32_t word = 0;

	if (!memory)
		_exit(1);
	memset(memory, 1, 1 << 20);
	memory = realloc(memory, 64 << 20);
	if (!memory)
		_exit(1);
	free(memory);
	if (syscall(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, &time) < 0 ||
	    write(STDERR_FILENO, "", 0) < 0 || write(outlet, &count, sizeof(count)) != sizeof(count))
		_exit(2);
	futex_wake(&word);
	futex_wait(&word, 0, NS_PER_MS);
	(void)nanosleep(&(struct timespec){ .tv_nsec = 1000 }, NULL);
	if (read(outlet, &count, sizeof(count)) != sizeof(count))
		_exit(3);
}

/* Allowed as a call; that there is no such VM is another matter. */
static void run_guest(void)
{
	if (ioctl(other, KVM_RUN, 0) != -1 || ioctl(other, KVM_SET_MSRS, NULL) != -1)
		_exit(1);
}

static void read_again(void)
{
	uint64_t size;
	uint8_t byte;

	/* What there is to read was opened before. */
	if (failed(fd_size(file, "it", &size)) || failed(fd_read_at(file, "it", 0, &byte, 1)) ||
	    failed(fd_clear(file, "it", 4096)) || lseek(file, 0, SEEK_DATA) != -1)
		_exit(1);
}

static void signal_itself(void)
{
	(void)pthread_kill(pthread_self(), 0);
}

static void supervise(void)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = other };
	int fd = epoll_create1(EPOLL_CLOEXEC);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || null < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, other, &event) < 0 || epoll_wait(fd, &event, 1, 0) != 0)
		_exit(1);
	FILE *stream = fdopen(null, "w");

	if (!stream || fprintf(stream, "text") < 0 || fclose(stream) != 0)
		_exit(2);
	if (kill(getpid(), SIGCONT) < 0)
		_exit(3);
	fd_close(&fd);
}

static void *idle(void *context)
{
	return context;
}

static void start_thread(void)
{
	pthread_t thread;
	void *end = NULL;

	if (pthread_create(&thread, NULL, idle, &seen) != 0 || pthread_join(thread, &end) != 0 || end != &seen)
		_exit(1);
}

static void pass_memory(void)
{
	int fd;
	void *memory;

	if (failed(fd_sealed_memory(&fd, "test", 4096)) || failed(fd_map(fd, "test", 4096, true, &memory)))
		_exit(1);
}

static void make_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	fd_close(&fd);
}

static void make_connection(void)
{
	(void)syscall(SYS_connect, other, NULL, 0);
}

static void open_file(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	fd_close(&fd);
}

static void open_again(void)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", outlet);
	int fd = open(path, O_RDWR | O_CLOEXEC);

	fd_close(&fd);
}

static void execute(void)
{
	char name[] = "true";
	char *arguments[] = { name, NULL };

	(void)execv("/bin/true", arguments);
}

static void make_process(void)
{
	if (fork() == 0)
		_exit(0);
}

static void trace(void)
{
	(void)ptrace(PTRACE_ATTACH, parent, NULL, NULL);
}

static void write_to_other_process(void)
{
	(void)syscall(SYS_process_vm_writev, parent, NULL, 0, NULL, 0, 0);
}

static void map_code(void)
{
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)memory;
}

static void make_code(void)
{
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)mprotect(memory, 4096, PROT_READ | PROT_EXEC);
}

static void make_guest(void)
{
	(void)ioctl(other, KVM_CREATE_VM, 0);
}

static void type_into_terminal(void)
{
	char key = 'x';

	(void)ioctl(STDERR_FILENO, TIOCSTI, &key);
}

static void write_elsewhere(void)
{
	uint64_t count = 1;

	ssize_t written = write(other, &count, sizeof(count));

	(void)written;
}

static void kill_parent(void)
{
	(void)kill(parent, SIGCONT);
}

static void stop_parent(void)
{
	(void)kill(parent, SIGSTOP);
}

static void kill_thread_of_parent(void)
{
	(void)syscall(SYS_tgkill, parent, parent, SIGCONT);
}

static void change_handler(void)
{
	(void)signal(SIGSYS, SIG_IGN);
}

static void get_rights(void)
{
	(void)syscall(SYS_capset, NULL, NULL);
}

static void lock_system(void)
{
	(void)syscall(SYS_bpf, 0, NULL, 0);
}

static const struct {
	deed *what;
	const char *name;
	enum sandbox_role role;
	long call; /* at which it dies, or -1: it passes */
} deeds[] = {
	{ live, "live", SANDBOX_REPLICA, -1 },
	{ run_guest, "run a guest", SANDBOX_REPLICA, -1 },
	{ read_again, "read what is open", SANDBOX_REPLICA, -1 },
	{ signal_itself, "signal itself", SANDBOX_REPLICA, -1 },
	{ make_socket, "make a socket", SANDBOX_REPLICA, SYS_socket },
	{ make_connection, "connect", SANDBOX_REPLICA, SYS_connect },
	{ open_file, "open", SANDBOX_REPLICA, SYS_openat },
	{ open_again, "open a memory again", SANDBOX_REPLICA, SYS_openat },
	{ execute, "exec", SANDBOX_REPLICA, SYS_execve },
	{ make_process, "fork", SANDBOX_REPLICA, SYS_clone },
	{ start_thread, "start a thread", SANDBOX_REPLICA, SYS_rt_sigaction },
	{ trace, "trace", SANDBOX_REPLICA, SYS_ptrace },
	{ write_to_other_process, "write to a process", SANDBOX_REPLICA, SYS_process_vm_writev },
	{ map_code, "map code", SANDBOX_REPLICA, SYS_mmap },
	{ make_code, "make code", SANDBOX_REPLICA, SYS_mprotect },
	{ make_guest, "make a VM", SANDBOX_REPLICA, SYS_ioctl },
	{ type_into_terminal, "type into a terminal", SANDBOX_REPLICA, SYS_ioctl },
	{ write_elsewhere, "write elsewhere", SANDBOX_REPLICA, SYS_write },
	{ kill_parent, "signal its parent", SANDBOX_REPLICA, SYS_kill },
	{ kill_thread_of_parent, "signal its parent's thread", SANDBOX_REPLICA, SYS_tgkill },
	{ change_handler, "change a handler", SANDBOX_REPLICA, SYS_rt_sigaction },
	{ get_rights, "get rights", SANDBOX_REPLICA, SYS_capset },
	{ lock_system, "load a program into the kernel", SANDBOX_REPLICA, SYS_bpf },

	{ live, "live", SANDBOX_SUPERVISOR, -1 },
	{ supervise, "supervise", SANDBOX_SUPERVISOR, -1 },
	{ start_thread, "start a thread", SANDBOX_SUPERVISOR, -1 },
	{ pass_memory, "pass a configuration", SANDBOX_SUPERVISOR, -1 },
	{ write_elsewhere, "write", SANDBOX_SUPERVISOR, -1 },
	{ make_socket, "make a socket", SANDBOX_SUPERVISOR, SYS_socket },
	{ make_connection, "connect", SANDBOX_SUPERVISOR, SYS_connect },
	{ execute, "exec", SANDBOX_SUPERVISOR, SYS_execve },
	{ make_process, "fork", SANDBOX_SUPERVISOR, SYS_clone },
	{ trace, "trace", SANDBOX_SUPERVISOR, SYS_ptrace },
	{ write_to_other_process, "write to a process", SANDBOX_SUPERVISOR, SYS_process_vm_writev },
	{ map_code, "map code", SANDBOX_SUPERVISOR, SYS_mmap },
	{ make_code, "make code", SANDBOX_SUPERVISOR, SYS_mprotect },
	{ run_guest, "run a guest", SANDBOX_SUPERVISOR, SYS_ioctl },
	{ type_into_terminal, "type into a terminal", SANDBOX_SUPERVISOR, SYS_ioctl },
	{ stop_parent, "stop a process", SANDBOX_SUPERVISOR, SYS_kill },
	{ change_handler, "change a handler", SANDBOX_SUPERVISOR, SYS_rt_sigaction },
	{ get_rights, "get rights", SANDBOX_SUPERVISOR, SYS_capset },
	{ lock_system, "load a program into the kernel", SANDBOX_SUPERVISOR, SYS_bpf },
};

START_TEST(does)
{
	if (impossible())
		return;
	if (deeds[_i].call < 0)
		must_pass(deeds[_i].role, deeds[_i].what, deeds[_i].name);
	else
		must_die(deeds[_i].role, deeds[_i].what, deeds[_i].name, deeds[_i].call);
}
END_TEST

/* --- what is given up besides --- */

START_TEST(gives_up)
{
	const enum sandbox_role role = (enum sandbox_role)_i;
	char mine[64], its[64];
	struct stat information;
	int status;

	if (impossible())
		return;
	pid_t pid = fork();

	if (pid == 0) {
		enter(role);
		for (;;)
			(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ .tv_sec = 1 }, NULL);
	}
	while (!atomic_load(&seen->entered))
		ck_assert_int_eq(waitpid(pid, &status, WNOHANG), 0);
	process_status_of(getpid(), "CapEff", mine, sizeof(mine));
	process_status_of(pid, "CapEff", its, sizeof(its));
	const uint64_t kept = 1u << CAP_DAC_OVERRIDE | 1u << CAP_SYS_NICE;

	ck_assert_uint_eq(strtoull(its, NULL, 16),
			  role == SANDBOX_SUPERVISOR ? strtoull(mine, NULL, 16) & kept : 0);
	process_status_must_be(pid, "CapPrm", its);
	process_status_must_be(pid, "CapInh", "0000000000000000");
	process_status_must_be(pid, "CapAmb", "0000000000000000");
	process_status_must_be(pid, "NoNewPrivs", "1");
	process_status_must_be(pid, "Seccomp", "2");
	/* Files of a process that cannot be looked into are root's (proc(5)). */
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	ck_assert_int_eq(stat(path, &information), 0);
	ck_assert_uint_eq(information.st_uid, 0);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
}
END_TEST

static void *go_on_and_open(void *context)
{
	struct timespec pause = { .tv_nsec = 1000000 };

	(void)context;
	while (!atomic_load(&seen->entered))
		(void)nanosleep(&pause, NULL);
	make_socket();
	atomic_store(&seen->passed, 1);
	return NULL;
}

START_TEST(holds_for_threads_before)
{
	int status;
	pid_t pid;

	if (impossible())
		return;
	pid = fork();
	if (pid == 0) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, go_on_and_open, NULL) != 0)
			_exit(1);
		enter(SANDBOX_SUPERVISOR);
		(void)pthread_join(thread, NULL);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_uint_eq(atomic_load(&seen->entered), 1);
	ck_assert_uint_eq(atomic_load(&seen->passed), 0);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGSYS);
}
END_TEST

/* Whom /proc shows a memory cannot open it for writing: only its mode stands between, so no rights may be there. */
START_TEST(memory_cannot_be_opened_for_writing)
{
	char path[64];
	int fd, status;
	pid_t pid;

	must_succeed(fd_sealed_memory(&fd, "test", 4096));
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	pid = fork();
	if (pid == 0) {
		if (failed(privilege_drop(NULL, 0)))
			_exit(1);
		int both = open(path, O_RDWR | O_CLOEXEC);
		int error = errno;
		int writable = open(path, O_WRONLY | O_CLOEXEC);
		int readable = open(path, O_RDONLY | O_CLOEXEC);

		_exit(both < 0 && error == EACCES && writable < 0 && readable >= 0 ? 0 : 2);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	fd_close(&fd);
}
END_TEST

START_TEST(says_whether_it_can_be_had)
{
	if (sandbox_sanitized())
		must_fail(sandbox_available(), STATUS_HOST, "this program was built with a sanitizer");
	else
		must_succeed(sandbox_available());
}
END_TEST

START_TEST(names_calls)
{
	char text[48];

	sandbox_name(SYS_socket, text, sizeof(text));
	ck_assert_str_eq(text, "41 (socket)");
	sandbox_name(UINT32_MAX - 1, text, sizeof(text));
	ck_assert_str_eq(text, "4294967294 (unknown)");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sandbox");
	TCase *tests = tcase_create("sandbox");

	tcase_add_checked_fixture(tests, set_up, NULL);
	tcase_add_loop_test(tests, does, 0, ARRAY_SIZE(deeds));
	tcase_add_loop_test(tests, gives_up, 0, SANDBOX_ROLES);
	tcase_add_test(tests, holds_for_threads_before);
	tcase_add_test(tests, memory_cannot_be_opened_for_writing);
	tcase_add_test(tests, says_whether_it_can_be_had);
	tcase_add_test(tests, names_calls);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
