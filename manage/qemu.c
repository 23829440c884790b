#include "manage/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "lockstep/supervisor.h"
#include "manage/qemu_options.h"
#include "manage/qmp_commands.h"
#include "vmm/kvm_vm.h"

#define PROGRAM "qemu-system-tercet"

bool qemu_is_meant(const char *path)
{
	const char *slash = strrchr(path, '/');

	return strcmp(slash ? slash + 1 : path, PROGRAM) == 0;
}

static result report(result r)
{
	if (failed(r))
		log_error("%s", r.failure->message);
	return r;
}

/* --- `-machine none` --- */

static result write_pid_file(const char *path, pid_t pid)
{
	char text[24];
	int length = snprintf(text, sizeof(text), "%ld\n", (long)pid);
	int fd;

	if (!path)
		return OK;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_errno(STATUS_FAILED, errno, "-pidfile: cannot write %s", path);
	result r = fd_write_all(fd, path, text, (size_t)length);

	fd_close(&fd);
	return r;
}

/* Whoever started us waits until nobody has the other side of our output. */
static void leave_standard_descriptors(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = STDIN_FILENO; fd >= 0 && i <= STDERR_FILENO; i++)
		(void)dup2(fd, i);
	if (fd > STDERR_FILENO)
		fd_close(&fd);
}

/* Until the first client has come and the last has gone, or somebody ends us. */
static result answer_clients(struct monitor *monitor, const struct service *service)
{
	struct pollfd ready[2] = { { .events = POLLIN }, { .events = POLLIN } };
	bool seen = false;
	sigset_t signals;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot block signals");
	ready[1].fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (ready[1].fd < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot wait for signals");
	TRY(service->start(service->context, NULL, &ready[0].fd));
	while (!(seen && monitor_clients(monitor) == 0)) {
		if (poll(ready, ARRAY_SIZE(ready), -1) < 0 && errno != EINTR)
			break;
		if (ready[1].revents)
			break;
		service->serve(service->context);
		seen |= monitor_clients(monitor) > 0;
	}
	service->stop(service->context);
	fd_close(&ready[1].fd);
	return OK;
}

static result probe(struct qemu_options *options)
{
	struct qmp_machine machine = { .name = options->machine.name, .kvm = options->kvm };
	const struct qmp_interface interface = qmp_commands_without_machine(&machine);
	const struct service *service;
	struct monitor *monitor;

	TRY(monitor_open(&monitor, &options->monitor, options->machine.name));
	service = monitor_service_of(monitor, &interface);
	if (!service) {
		monitor_close(monitor);
		return fail(STATUS_USAGE, "-machine none: there is nothing to do without -qmp unix:PATH");
	}
	if (options->daemonize) {
		pid_t pid = fork();

		if (pid < 0)
			return fail_errno(STATUS_FAILED, errno, "-daemonize: cannot start a process");
		/* The socket listens, and stays the child's: nothing of it is undone here. */
		if (pid > 0)
			return write_pid_file(options->pid_file, pid);
		(void)setsid();
		leave_standard_descriptors();
	} else {
		TRY(write_pid_file(options->pid_file, getpid()));
	}
	result r = answer_clients(monitor, service);

	monitor_close(monitor);
	return r;
}

/* --- a machine --- */

/* The connection's end is how libvirt hears that we fail: the reason stands in our log before. */
static void stay_open(void *context)
{
	(void)context;
}

/* What replicas would find out later: then libvirt would take the machine for started. */
static result check_host(void)
{
	struct kvm_vm vm;

	TRY(kvm_vm_create(&vm));
	kvm_vm_destroy(&vm);
	return OK;
}

static result run(struct qemu_options *options, int argc, char **argv)
{
	struct machine_options *machine = &options->machine;
	struct monitor *monitor;
	struct service service;
	result r;

	log_set_verbose(machine->verbose);
	machine->argc = argc;
	machine->argv = argv;
	r = check_host();
	if (!failed(r))
		r = monitor_open(&monitor, &options->monitor, machine->name);
	if (failed(r))
		return report(r);
	machine->name = monitor_name(monitor);
	struct qmp_machine known = qmp_commands_machine(machine->memory);

	known.uuid = options->uuid;
	known.disks = options->disks;
	known.serial = json_string_value(json_object_get(options->serial, "id"));
	const struct service *own = monitor_service(monitor, &known);

	if (own) {
		service = *own;
		service.stop = stay_open;
		machine->service = &service;
	}
	r = write_pid_file(options->pid_file, getpid());
	if (!failed(r))
		r = supervisor_run(machine);
	r = report(r);
	machine->service = NULL;
	monitor_close(monitor);
	return r;
}

static result do_what_is_asked(struct qemu_options *options, int argc, char **argv)
{
	switch (options->role) {
	case QEMU_HELP:
		(void)printf("%s is tercet with QEMU's command line, as libvirt writes it: see "
			     "qemu-system-tercet(1),\n"
			     "and docs/libvirt.md for the domain's XML. `tercet help` has tercet's own.\n",
			     PROGRAM);
		return OK;
	case QEMU_VERSION:
		(void)printf("QEMU emulator version 4.2.0 (tercet %s)\n", TERCET_VERSION);
		return OK;
	case QEMU_PROBE:
		return report(probe(options));
	case QEMU_RUN:
		break;
	}
	return run(options, argc, argv);
}

int qemu_main(int argc, char **argv)
{
	struct qemu_options options;
	result r = qemu_options_parse(argc, argv, &options);

	if (!failed(report(r)))
		r = do_what_is_asked(&options, argc, argv);
	qemu_options_free(&options);
	return failed(r) ? 1 : 0;
}
