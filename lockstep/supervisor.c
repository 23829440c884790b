/* set-up, events, the end: the story of a running machine. What is decided on the way is verdict.c's. */
#include "lockstep/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/futex.h"
#include "base/log.h"
#include "devices/host/console.h"
#include "lockstep/console_line.h"
#include "lockstep/ending.h"
#include "lockstep/leadership.h"
#include "lockstep/preempt.h"
#include "lockstep/record.h"
#include "lockstep/repair.h"
#include "lockstep/request.h"
#include "lockstep/roster.h"
#include "lockstep/sandbox.h"
#include "lockstep/steer.h"
#include "lockstep/supervisor_state.h"
#include "lockstep/verdict.h"
#include "lockstep/watch.h"

/* Replicas that are told to end get so long before they are killed. */
#define END_PATIENCE_NS (2 * NS_PER_S)
/* Meanwhile it looks at them so often. */
#define END_LOOK_MS 1

static void poll_fd(struct supervisor *supervisor, int operation, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	(void)epoll_ctl(supervisor->epoll_fd, operation, fd, &event);
}

/* --- events --- */

/* The doorbell is every replica's: one could empty it first, and has means to let its readers wait. */
static void drain_doorbell(int fd)
{
	uint64_t count;
	const struct iovec into = { .iov_base = &count, .iov_len = sizeof(count) };
	ssize_t got = preadv2(fd, &into, 1, -1, RWF_NOWAIT);

	(void)got;
}

static void drain(int fd)
{
	uint64_t count;
	ssize_t got = read(fd, &count, sizeof(count));

	(void)got;
}

static result take_signal(struct supervisor *supervisor)
{
	struct signalfd_siginfo information;
	char how[64];

	if (read(supervisor->signal_fd, &information, sizeof(information)) != sizeof(information))
		return OK;
	supervisor->asked_to_end = LIFE_HOST_SIGNAL;
	(void)snprintf(how, sizeof(how), "ended by signal %u (%s)", information.ssi_signo,
		       strsignal((int)information.ssi_signo));
	return steer_quit(supervisor, how);
}

static result take_event(struct supervisor *supervisor, const struct epoll_event *event)
{
	int fd = event->data.fd;

	if (fd == supervisor->signal_fd)
		return take_signal(supervisor);
	if (fd == supervisor->doorbell_fd) {
		drain_doorbell(fd);
	} else if (fd == supervisor->timer_fd) {
		drain(fd);
		TRY(console_line_look(supervisor));
		return supervisor->over ? OK : watch_look(supervisor);
	} else if (supervisor->service && fd == supervisor->service_fd) {
		supervisor->service->serve(supervisor->service->context);
	} else {
		return console_line_event(supervisor, event);
	}
	return OK;
}

/* What devices ask for before any vote, and what is there for them. */
static void serve_devices(struct supervisor *supervisor)
{
	const struct backends_client client = {
		.control = supervisor->members[supervisor->leader].area.control,
		.index = supervisor->leader,
		.epoch = supervisor->epoch,
		.page = supervisor->page,
		.kept = supervisor->inbox_taken,
	};
	bool behind;

	if (backends_exchange(supervisor->backends, &client))
		futex_signal(&supervisor->page->sequence);
	behind = backends_behind(supervisor->backends);
	if (supervisor->backends_behind && !behind)
		verdict_tell(supervisor);
	supervisor->backends_behind = behind;
}

/* Whether something that the machine let out has not got where it belongs. */
static bool must_deliver(const struct supervisor *supervisor)
{
	return console_must_deliver(&supervisor->console) || backends_busy(supervisor->backends);
}

/* Until the guest has ended and its last output is taken. */
static result supervise(struct supervisor *supervisor)
{
	enum { READY_MAX = 16 };
	struct stopwatch *time = &supervisor->tally.time;
	struct epoll_event events[READY_MAX];

	while (!supervisor->over || must_deliver(supervisor)) {
		bool ready = console_line_arrange(supervisor);
		(void)stopwatch_enter(time, DUTY_SLEEP);
		int count = epoll_wait(supervisor->epoll_fd, events, READY_MAX, ready ? 0 : turns_wait(supervisor));
		(void)stopwatch_enter(time, DUTY_SERVE);

		if (count == 0 && !ready)
			turns_free(supervisor);
		if (count < 0 && errno != EINTR)
			return fail_errno(STATUS_FAILED, errno, "the supervisor cannot wait for events");
		for (int i = 0; i < count; i++)
			TRY(take_event(supervisor, &events[i]));
		if (ready)
			TRY(console_line_keys(supervisor));
		(void)stopwatch_enter(time, DUTY_JUDGE);
		TRY(verdict_judge(supervisor));
		/* After the votes: what a replica said before it died still counts. */
		if (!supervisor->over)
			TRY(verdict_bury_dead(supervisor));
		TRY(verdict_judge(supervisor));
		turns_take(supervisor);
		if (!supervisor->over)
			TRY(repair_continue(supervisor));
		(void)stopwatch_enter(time, DUTY_SERVE);
		serve_devices(supervisor);
		if (supervisor->over)
			TRY(console_flush(&supervisor->console));
		TRY(steer_continue(supervisor, must_deliver(supervisor)));
	}
	return OK;
}

/* --- setting up --- */

static result make_seed(struct supervisor *supervisor)
{
	const struct machine_options *options = supervisor->options;
	struct replica_config *config = &supervisor->config;
	unsigned length = 0;

	if (getrandom(config->digest_key, sizeof(config->digest_key), 0) != sizeof(config->digest_key) ||
	    getrandom(config->seed, sizeof(config->seed), 0) != sizeof(config->seed))
		return fail_errno(STATUS_FAILED, errno, "the host has no random numbers");
	if (options->seeded && EVP_Digest(&options->seed, sizeof(options->seed), config->seed, &length, EVP_sha512(),
					  NULL) != 1)
		return fail(STATUS_FAILED, "OpenSSL offers no SHA-512");
	invariant(length == 0 || length == BOOT_SEED_SIZE);
	return OK;
}

static result open_input(const char *option, const char *path, int *fd, char *name)
{
	uint64_t size;

	if (!path)
		return OK;
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		return fail_errno(STATUS_INPUT, errno, "%s: cannot read %s", option, path);
	(void)snprintf(name, REPLICA_NAME_MAX, "%s", path);
	return in_context(fd_size(*fd, path, &size), "%s", option);
}

/* What Linux's command line lacks where nothing preempts a delay loop; "" if nothing. */
static const char *calibration_of(const struct machine_options *options)
{
	return options->kind == BOOT_LINUX ? boot_command_line_addition(options->command_line, false) : "";
}

/* On processors a stop costs some ms. Where the trial alone costs so much, a usual budget has next to no stops, and
 * what remains between two alarms is no time for a guest. `*choice` is what a trial showed to work, so that replicas
 * need none of their own, for each takes a virtual machine. Where none does they say why. */
static uint64_t settle_preemption(const struct machine_options *options, uint32_t *choice)
{
	uint64_t cost;
	result r;

	*choice = PREEMPT_UNTRIED;
	if (options->preempt_grace == 0)
		return 0;
	r = preempt_choose(boot_needs_shim(options->kind), choice, &cost);
	if (failed(r) || !options->preempt_unasked || cost < PREEMPT_DEAR_NS)
		return options->preempt_grace;
	*choice = PREEMPT_UNTRIED;
	log_info("code that never exits is not preempted: to try it took %llu ms of this host's processor, so stops "
		 "would be dear; with --preempt-grace TIME (10ms, say) it is preempted all the same",
		 (unsigned long long)(cost / NS_PER_MS));
	return 0;
}

static result make_command_line(const struct machine_options *options, bool preempted, struct replica_config *config)
{
	const char *addition = calibration_of(options);

	if (addition[0] && !preempted)
		log_info("%s is appended to the kernel's command line: a delay loop cannot be calibrated where nothing "
			 "preempts it",
			 addition);
	return boot_command_line(options->command_line, preempted || !addition[0], config->command_line,
				 sizeof(config->command_line));
}

static result make_config(struct supervisor *supervisor)
{
	const struct machine_options *options = supervisor->options;
	struct replica_config *config = &supervisor->config;
	uint32_t choice;

	*config = (struct replica_config){
		.replicas = supervisor->replicas,
		.memory = options->memory,
		.vote_interval = options->vote_interval,
		.preempt_grace = settle_preemption(options, &choice),
		/* The verdict is to be there in time, and followers go the same way after their leader. */
		.segment_max = options->segment_max / 2,
		.watchdog = options->watchdog,
		.preempt_budget = options->preempt_budget,
		.rtc_epoch = (int64_t)time(NULL),
		.kind = options->kind,
		.verbose = options->verbose,
		.scrub = options->scrub,
		.strict = options->strict,
		.digests = options->record != NULL,
		.doorbell_fd = supervisor->doorbell_fd,
		.kernel_fd = -1,
		.initrd_fd = -1,
		.faults = options->faults,
	};
	memcpy(config->fault, options->fault, sizeof(config->fault));
	config->preempt_choice = choice;
	TRY(make_command_line(options, choice != PREEMPT_UNTRIED, config));
	TRY(make_seed(supervisor));
	TRY(open_input(options->kind == BOOT_PAYLOAD ? "--payload" : "--kernel", options->kernel, &config->kernel_fd,
		       config->kernel_name));
	return open_input("--initrd", options->initrd, &config->initrd_fd, config->initrd_name);
}

static result make_events(struct supervisor *supervisor)
{
	const long interval = (long)watch_interval(supervisor);
	const struct itimerspec look = {
		.it_interval = { .tv_nsec = interval },
		.it_value = { .tv_nsec = interval },
	};
	sigset_t signals;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGHUP);
	/* What these signals would tell, a write's error tells better. */
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGXFSZ, SIG_IGN) == SIG_ERR ||
	    /* A kick that comes before a new replica knows what it means is lost on it. */
	    signal(SIGUSR1, SIG_IGN) == SIG_ERR ||
	    sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot block signals");
	supervisor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	supervisor->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	supervisor->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	supervisor->doorbell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (supervisor->epoll_fd < 0 || supervisor->signal_fd < 0 || supervisor->timer_fd < 0 ||
	    supervisor->doorbell_fd < 0 || timerfd_settime(supervisor->timer_fd, 0, &look, NULL) < 0)
		return fail_errno(STATUS_FAILED, errno, "the supervisor cannot set up its events");
	poll_fd(supervisor, EPOLL_CTL_ADD, supervisor->signal_fd, EPOLLIN);
	poll_fd(supervisor, EPOLL_CTL_ADD, supervisor->timer_fd, EPOLLIN);
	poll_fd(supervisor, EPOLL_CTL_ADD, supervisor->doorbell_fd, EPOLLIN);
	return OK;
}

static result make_page(struct supervisor *supervisor)
{
	TRY(supervisor_page_create(&supervisor->page, &supervisor->page_fd, "tercet-supervisor"));
	leadership_publish(supervisor->page, 0, &(struct leadership){ .leader = supervisor->leader });
	atomic_store(&supervisor->page->live, (1u << supervisor->replicas) - 1);
	return OK;
}

/* Fails now rather than after hours: the statistics can be written. */
static result check_statistics(const char *path)
{
	int fd;

	if (!path)
		return OK;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0)
		return fail_errno(STATUS_INPUT, errno, "--stats: cannot write %s", path);
	fd_close(&fd);
	return OK;
}

static result start_member(struct supervisor *supervisor, unsigned i)
{
	struct member *member = &supervisor->members[i];
	struct care *care = &supervisor->care[i];

	TRY(roster_launch(supervisor, i, &supervisor->config));
	member->live = true;
	care->phase = CARE_LIVE;
	care->core = -1;
	/* A machine that cannot be where it should does not begin. */
	return cores_apply(&supervisor->cores, i, member->pid);
}

static result start_service(struct supervisor *supervisor)
{
	const struct service *service = supervisor->options->service;

	if (!service)
		return OK;
	TRY(service->start(service->context, supervisor, &supervisor->service_fd));
	supervisor->service = service;
	poll_fd(supervisor, EPOLL_CTL_ADD, supervisor->service_fd, EPOLLIN);
	return OK;
}

/* Before there are replicas, which may go wrong. */
static result confine(struct supervisor *supervisor)
{
	const struct sandbox sandbox = { .role = SANDBOX_SUPERVISOR };

	if (!supervisor->options->sandbox)
		return OK;
	if (sandbox_sanitized()) {
		log_info("there is no sandbox: this program was built with a sanitizer");
		return OK;
	}
	TRY(sandbox_available());
	supervisor->config.sandbox = 1;
	return sandbox_enter(&sandbox);
}

static result set_up(struct supervisor *supervisor)
{
	TRY(ram_check_size(supervisor->options->memory));
	supervisor->records = calloc(VOTE_REPLICAS_MAX, sizeof(*supervisor->records));
	if (!supervisor->records)
		return fail(STATUS_FAILED, "no memory for vote records");
	TRY(tally_create(&supervisor->tally));
	TRY(make_events(supervisor));
	/* Early, so that it has nothing of what comes. */
	TRY(spawner_start(&supervisor->spawner));
	TRY(make_config(supervisor));
	TRY(digest_create(&supervisor->digests, supervisor->config.digest_key));
	TRY(console_line_open(supervisor));
	TRY(backends_open(&supervisor->backends, &supervisor->options->devices));
	poll_fd(supervisor, EPOLL_CTL_ADD, backends_fd(supervisor->backends), EPOLLIN);
	supervisor->config.pci_count = (uint32_t)backends_describe(supervisor->backends, supervisor->config.pci);
	TRY(commit_create(&supervisor->commit, &supervisor->console, supervisor->backends, &supervisor->digests));
	TRY(make_page(supervisor));
	for (unsigned i = 0; i < supervisor->replicas; i++)
		TRY(member_create(&supervisor->members[i], i, supervisor->options->memory));
	TRY(cores_open(&supervisor->cores, &supervisor->options->cores, supervisor->replicas));
	supervisor->config.crowding = cores_crowding(&supervisor->cores);
	TRY(start_service(supervisor));
	/* Late, so that a run that never began leaves no empty file. */
	TRY(check_statistics(supervisor->options->statistics));
	TRY(record_open(&supervisor->record, supervisor->options->record, supervisor));
	TRY(confine(supervisor));
	supervisor->begin_ns = stopwatch_enter(&supervisor->tally.time, DUTY_STARTUP);
	supervisor->config.born_ns = supervisor->begin_ns;
	steer_begin(supervisor);
	for (unsigned i = 0; i < supervisor->replicas; i++)
		TRY(start_member(supervisor, i));
	return OK;
}

/* --- the end --- */

/* Takes the remains of those that have ended; waits a little for those that have not. False when none is left. */
static bool await_replicas(struct supervisor *supervisor)
{
	struct pollfd deaths[VOTE_REPLICAS_MAX];
	bool running = false;

	for (unsigned i = 0; i < supervisor->replicas; i++) {
		struct member *member = &supervisor->members[i];

		/* One that sleeps until its leader moves is woken to see that it shall end. */
		if (member->pid != 0)
			(void)futex_wake(&member->area.control->sequence);
		running |= !member_died(member) || !member_reap(member);
		deaths[i] = (struct pollfd){ .fd = member->pid != 0 ? member->pid_fd : member->dead_pid_fd,
					     .events = POLLIN };
	}
	if (running)
		(void)poll(deaths, supervisor->replicas, END_LOOK_MS);
	return running;
}

static void end_replicas(struct supervisor *supervisor)
{
	uint64_t until = clock_monotonic_ns() + END_PATIENCE_NS;

	if (supervisor->page) {
		atomic_store(&supervisor->page->command, COMMAND_END);
		for (unsigned i = 0; i < supervisor->replicas; i++)
			atomic_fetch_add(&supervisor->page->attention[i], 1);
		futex_signal(&supervisor->page->sequence);
		/* One inside its guest does not hear, and has to be killed. */
		while (await_replicas(supervisor) && clock_monotonic_ns() < until)
			;
	}
	for (unsigned i = 0; i < supervisor->replicas; i++)
		member_kill(&supervisor->members[i]);
}

static result write_statistics(struct supervisor *supervisor)
{
	if (!supervisor->options->statistics || supervisor->begin_ns == 0)
		return OK;
	stopwatch_stop(&supervisor->tally.time);
	supervisor->tally.life_ns = clock_monotonic_ns() - supervisor->begin_ns;
	request_count(supervisor);
	return tally_write(&supervisor->tally, supervisor->members, supervisor->replicas, supervisor->leader,
			   supervisor->options->statistics);
}

static void tear_down(struct supervisor *supervisor)
{
	for (unsigned i = 0; i < supervisor->replicas; i++)
		member_destroy(&supervisor->members[i]);
	spawner_stop(&supervisor->spawner);
	if (supervisor->page)
		fd_unmap(supervisor->page, sizeof(*supervisor->page));
	record_close(supervisor->record);
	commit_destroy(&supervisor->commit);
	backends_close(supervisor->backends);
	cores_close(&supervisor->cores);
	digest_destroy(&supervisor->digests);
	tally_destroy(&supervisor->tally);
	fd_close(&supervisor->config.kernel_fd);
	fd_close(&supervisor->config.initrd_fd);
	fd_close(&supervisor->page_fd);
	fd_close(&supervisor->doorbell_fd);
	fd_close(&supervisor->timer_fd);
	fd_close(&supervisor->signal_fd);
	fd_close(&supervisor->epoll_fd);
	free(supervisor->records);
	free(supervisor);
}

static void log_summary(const struct supervisor *supervisor)
{
	const struct tally *tally = &supervisor->tally;
	double seconds = (double)tally->wall_ns / (double)NS_PER_S;

	if (supervisor->replicas == 1)
		log_info("%" PRIu64 " positions in %.1f s, 1 replica, no votes", supervisor->agreed_position, seconds);
	else
		log_info("%" PRIu64 " positions in %.1f s, %u replicas, %" PRIu64 " votes: %" PRIu64 " unanimous, "
			 "%" PRIu64 " with a minority, %" PRIu64 " without a majority",
			 supervisor->agreed_position, seconds, supervisor->replicas,
			 tally->votes[VOTE_UNANIMOUS] + tally->votes[VOTE_MINORITY] + tally->votes[VOTE_NO_MAJORITY],
			 tally->votes[VOTE_UNANIMOUS], tally->votes[VOTE_MINORITY], tally->votes[VOTE_NO_MAJORITY]);
}

result supervisor_run(const struct machine_options *options)
{
	struct supervisor *supervisor = calloc(1, sizeof(*supervisor));

	if (!supervisor)
		return fail(STATUS_FAILED, "no memory for the supervisor");
	invariant(options->replicas >= 1 && options->replicas <= VOTE_REPLICAS_MAX);
	supervisor->options = options;
	supervisor->replicas = options->replicas;
	supervisor->page_fd = supervisor->doorbell_fd = supervisor->epoll_fd = supervisor->signal_fd =
		supervisor->timer_fd = -1;
	supervisor->config.kernel_fd = supervisor->config.initrd_fd = -1;
	supervisor->spawner = spawner_none();
	for (unsigned i = 0; i < VOTE_REPLICAS_MAX; i++)
		supervisor->members[i] = member_none(i);

	/* A failure's text lives until the next one: each stage's is kept. */
	struct failure first = { .status = STATUS_OK };
	result r = set_up(supervisor);

	if (!failed(r))
		r = supervise(supervisor);
	if (supervisor->begin_ns)
		supervisor->tally.wall_ns = clock_monotonic_ns() - supervisor->begin_ns;
	(void)stopwatch_enter(&supervisor->tally.time, DUTY_COMPARE);
	if (!failed(r))
		r = ending_check_memory(supervisor);
	(void)stopwatch_enter(&supervisor->tally.time, DUTY_END);
	if (!failed(r))
		r = ending_judge(supervisor);
	else
		supervisor->tally.end = "stopped";
	if (failed(r))
		first = *r.failure;
	record_end(supervisor);
	ending_tell(supervisor, &first);
	end_replicas(supervisor);
	ending_report(supervisor, &first);
	ending_linger(supervisor, &first);
	if (supervisor->console_open)
		console_close(&supervisor->console);
	r = write_statistics(supervisor);
	if (failed(r) && first.status == STATUS_OK)
		first = *r.failure;
	if (supervisor->agreed_position > 0)
		log_summary(supervisor);
	tear_down(supervisor);
	return first.status == STATUS_OK ? OK : fail(first.status, "%s", first.message);
}
