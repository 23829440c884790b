/* the guest whose way is known: a loop in ring 3, in a machine of its own */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/futex.h"
#include "vmm/boot_paging.h"
#include "vmm/machine.h"
#include "vmm/progress.h"

enum { END_PORT = 0x80, TRACK_CODE = 0x200000, TRACK_STACK = 0x210000, TRACK_MEMORY = 16 << 20 };
/* A guest that hangs is taken out this often, and given up after this time. */
#define WAKE_NS (100 * NS_PER_MS)
#define TRACK_NS (2 * NS_PER_S)

/* 1: dec %rcx; jnz 1b; out %al, $END_PORT; jmp . */
static const uint8_t code[] = { 0x48, 0xFF, 0xC9, 0x75, 0xFB, 0xE6, END_PORT, 0xEB, 0xFE };
enum { TRACK_BRANCH = 3 }; /* where the jnz stands */

struct guest {
	int signal;
	struct sigaction before;
	bool handled; /* the signal had a handler before */
	timer_t timer;
	int fd; /* of its memory */
	struct ram ram;
	struct board *board;
	struct machine machine;
	struct cpu_state entry;
	uint64_t rounds; /* of the run at hand */
	uint64_t deadline;
	bool ended;
};

static void take_out(int signal)
{
	/* That it comes is enough: KVM_RUN ends. */
	(void)signal;
}

/* A signal that nobody takes would end the process, or be lost. */
static result handle_signal(struct guest *guest)
{
	struct sigaction action = { .sa_handler = take_out };

	if (sigaction(guest->signal, NULL, &guest->before) < 0)
		return fail(STATUS_FAILED, "signal %d cannot be handled", guest->signal);
	guest->handled = guest->before.sa_handler != SIG_DFL && guest->before.sa_handler != SIG_IGN;
	if (!guest->handled && sigaction(guest->signal, &action, NULL) < 0)
		return fail(STATUS_FAILED, "signal %d cannot be handled", guest->signal);
	return OK;
}

static void restore_signal(const struct guest *guest)
{
	if (!guest->handled)
		(void)sigaction(guest->signal, &guest->before, NULL);
}

static result start_timer(struct guest *guest)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = guest->signal };
	const struct itimerspec time = {
		.it_value = { .tv_nsec = WAKE_NS },
		.it_interval = { .tv_nsec = WAKE_NS },
	};

	event._sigev_un._tid = gettid(); /* glibc 2.36 has no sigev_notify_thread_id (timer_create(2)) */
	if (timer_create(CLOCK_MONOTONIC, &event, &guest->timer) < 0)
		return fail(STATUS_FAILED, "there is no timer for the counter's trial");
	if (timer_settime(guest->timer, 0, &time, NULL) == 0)
		return OK;
	(void)timer_delete(guest->timer);
	return fail(STATUS_FAILED, "there is no timer for the counter's trial");
}

static result fill(struct guest *guest)
{
	TRY(ram_write(&guest->ram, TRACK_CODE, code, sizeof(code)));
	TRY(boot_paging_enter(&guest->ram, true, &guest->entry));
	guest->entry.rip = TRACK_CODE;
	guest->entry.gpr[GPR_RSP] = TRACK_STACK;
	return OK;
}

static result make_machine(struct guest *guest)
{
	const struct board_config config = { .ram_size = TRACK_MEMORY };
	result r;

	TRY(board_create(&guest->board, &config));
	r = machine_create(&guest->machine, &guest->ram, guest->board, false);
	if (failed(r)) {
		board_destroy(guest->board);
		return r;
	}
	r = fill(guest);
	if (!failed(r))
		r = start_timer(guest);
	if (failed(r)) {
		machine_destroy(&guest->machine);
		board_destroy(guest->board);
	}
	return r;
}

static result make_guest(struct guest *guest)
{
	result r;

	TRY(fd_sealed_memory(&guest->fd, "counter trial", TRACK_MEMORY));
	r = ram_map(&guest->ram, guest->fd, TRACK_MEMORY, true);
	if (!failed(r)) {
		r = make_machine(guest);
		if (failed(r))
			ram_unmap(&guest->ram);
	}
	if (failed(r))
		fd_close(&guest->fd);
	return r;
}

static result begin(void *context, uint64_t rounds)
{
	struct guest *guest = context;

	guest->rounds = rounds;
	guest->ended = false;
	guest->deadline = clock_monotonic_ns() + TRACK_NS;
	guest->entry.gpr[GPR_RCX] = rounds;
	TRY(machine_import(&guest->machine, &guest->entry, false));
	return machine_prepare(&guest->machine);
}

static result run(void *context, bool *ended)
{
	struct guest *guest = context;
	enum machine_stop stop;

	TRY(machine_run(&guest->machine, &stop));
	guest->ended = stop == MACHINE_EXITED;
	*ended = guest->ended;
	if (guest->ended && (guest->machine.exit.record.reason != EXIT_PORT_OUT ||
			     guest->machine.exit.record.address != END_PORT))
		return fail(STATUS_HOST, "the trial's guest ended where it should not");
	if (!guest->ended && clock_monotonic_ns() > guest->deadline)
		return fail(STATUS_HOST, "the trial's guest takes too long");
	return OK;
}

static result completed(void *context, uint64_t *rounds)
{
	struct guest *guest = context;
	struct cpu_state state;

	*rounds = guest->rounds;
	if (guest->ended)
		return OK;
	TRY(machine_export(&guest->machine, &state));
	*rounds -= state.gpr[GPR_RCX];
	/* Between the two instructions of a round: the branch is still to come. */
	if (state.rip == TRACK_CODE + TRACK_BRANCH && *rounds > 0)
		*rounds -= 1;
	return OK;
}

result progress_track_open(struct progress_track *track, int signal)
{
	struct guest *guest = calloc(1, sizeof(*guest));
	result r;

	*track = (struct progress_track){ .context = NULL };
	if (!guest)
		return fail(STATUS_FAILED, "no memory for the counter's trial");
	guest->signal = signal;
	r = handle_signal(guest);
	if (!failed(r)) {
		r = make_guest(guest);
		if (failed(r))
			restore_signal(guest);
	}
	if (failed(r)) {
		free(guest);
		return r;
	}
	*track = (struct progress_track){ guest, begin, run, completed };
	return OK;
}

void progress_track_close(struct progress_track *track)
{
	struct guest *guest = track->context;

	(void)timer_delete(guest->timer);
	machine_destroy(&guest->machine);
	board_destroy(guest->board);
	ram_unmap(&guest->ram);
	fd_close(&guest->fd);
	restore_signal(guest);
	free(guest);
	track->context = NULL;
}
