/*
 * How a machine stands to those who look after it, and what follows when its guest ends. Pure: no clock, no replica.
 *
 *   PRELAUNCH --resume--> RUNNING <--resume/pause--> PAUSED
 *   RUNNING --the guest powers off, and the machine is held--> SHUTDOWN --reset--> PRELAUNCH
 *   PAUSED --reset--> PRELAUNCH
 *
 * These are QEMU's states (qapi/run-state.json, RunState), as libvirt expects them.
 */
#ifndef TERCET_LOCKSTEP_LIFE_H
#define TERCET_LOCKSTEP_LIFE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "lockstep/control.h"
#include "vmm/boot.h"

enum life_state {
	LIFE_RUNNING,
	LIFE_PRELAUNCH, /* stands still at the beginning of a boot, or before the first one */
	LIFE_PAUSED,    /* stands still where it was when that was asked for */
	LIFE_SHUTDOWN,  /* the guest has ended, and the machine is held */
	LIFE_PANICKED,  /* tercet has stopped the machine, which is held for whoever looks after it */
};

/* Whose doing a reset or an end is: of QEMU's ShutdownCause (qapi/run-state.json) those that there are here. */
enum life_cause {
	LIFE_NO_CAUSE,
	LIFE_GUEST_SHUTDOWN,
	LIFE_GUEST_RESET,
	LIFE_HOST_SIGNAL,
	LIFE_HOST_UI, /* keys typed at the console */
	LIFE_HOST_QUIT,
	LIFE_HOST_RESET,
};

/* As QMP has it: "guest-reset", "host-qmp-quit", ...; and whether it was the guest. */
const char *life_cause_name(enum life_cause cause);
bool life_cause_is_guest(enum life_cause cause);

/* As QMP has it: "running", "prelaunch", ... */
const char *life_state_name(enum life_state state);

struct life {
	enum life_state state;
	bool hold;      /* after the guest's power-off the machine stays */
	bool no_reboot; /* a guest that resets its machine ends it */
	bool off;       /* the guest has ended, and was not reset since */
};

/* What is to be done when a vote says that the guest has ended. */
enum life_step {
	LIFE_GOES_ON, /* nothing: it has not ended, or that is known already */
	LIFE_RESETS,  /* replicas begin again */
	LIFE_HOLDS,   /* replicas stay where they are */
	LIFE_IS_OVER,
};

/* Pauses, or lets run; `*changed` tells whether it was otherwise. Errors: STATUS_FAILED, its guest has powered off, and
 * has to be reset first. */
must_check result life_pause(struct life *life, bool *changed);
must_check result life_resume(struct life *life, bool *changed);

/* Somebody asks for a reset: a machine that stands still stands at the beginning of a boot then. */
void life_reset(struct life *life);

/* The guest has ended in this way, by its own doing or (`asked`) because of a reset that was asked for. */
enum life_step life_end(struct life *life, enum machine_end end, bool asked);

/* The random seed of boot number `boot`: the machine's own for number 0, and another for each that follows. Errors:
 * OpenSSL offers no SHA-512. */
must_check result life_seed(const uint8_t seed[BOOT_SEED_SIZE], uint64_t boot, uint8_t derived[BOOT_SEED_SIZE]);

#endif
