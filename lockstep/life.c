#include "lockstep/life.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/bytes.h"

const char *life_state_name(enum life_state state)
{
	static const char *const names[] = {
		[LIFE_RUNNING] = "running",
		[LIFE_PRELAUNCH] = "prelaunch",
		[LIFE_PAUSED] = "paused",
		[LIFE_SHUTDOWN] = "shutdown",
		[LIFE_PANICKED] = "guest-panicked",
	};

	return (size_t)state < ARRAY_SIZE(names) ? names[state] : "internal-error";
}

const char *life_cause_name(enum life_cause cause)
{
	static const char *const names[] = {
		[LIFE_NO_CAUSE] = "none",
		[LIFE_GUEST_SHUTDOWN] = "guest-shutdown",
		[LIFE_GUEST_RESET] = "guest-reset",
		[LIFE_HOST_SIGNAL] = "host-signal",
		[LIFE_HOST_UI] = "host-ui",
		[LIFE_HOST_QUIT] = "host-qmp-quit",
		[LIFE_HOST_RESET] = "host-qmp-system-reset",
	};

	return (size_t)cause < ARRAY_SIZE(names) ? names[cause] : "none";
}

bool life_cause_is_guest(enum life_cause cause)
{
	return cause == LIFE_GUEST_SHUTDOWN || cause == LIFE_GUEST_RESET;
}

static result needs_reset(void)
{
	return fail(STATUS_FAILED, "the guest has powered off: the machine must be reset before it can go on");
}

result life_pause(struct life *life, bool *changed)
{
	*changed = life->state == LIFE_RUNNING;
	if (life->state == LIFE_SHUTDOWN)
		return needs_reset();
	if (*changed)
		life->state = LIFE_PAUSED;
	return OK;
}

result life_resume(struct life *life, bool *changed)
{
	*changed = life->state != LIFE_RUNNING && life->state != LIFE_SHUTDOWN;
	if (life->state == LIFE_SHUTDOWN)
		return needs_reset();
	life->state = LIFE_RUNNING;
	return OK;
}

void life_reset(struct life *life)
{
	if (life->state != LIFE_RUNNING)
		life->state = LIFE_PRELAUNCH;
}

/* The guest is off, or would be. */
static enum life_step go_off(struct life *life)
{
	life->state = LIFE_SHUTDOWN;
	life->off = true;
	return life->hold ? LIFE_HOLDS : LIFE_IS_OVER;
}

enum life_step life_end(struct life *life, enum machine_end end, bool asked)
{
	switch (end) {
	case END_RUNNING:
		return LIFE_GOES_ON;
	case END_POWER_OFF:
		/* One that is held votes as it stands, when a replica is to be repaired. */
		return life->off ? LIFE_GOES_ON : go_off(life);
	case END_RESET:
		if (life->no_reboot && !asked)
			return go_off(life);
		life->off = false;
		if (asked)
			life_reset(life);
		return LIFE_RESETS;
	case END_EXIT:
	case END_CRASHED:
	case END_DEAD_HALT:
		break;
	}
	life->state = LIFE_SHUTDOWN;
	return LIFE_IS_OVER;
}

result life_seed(const uint8_t seed[BOOT_SEED_SIZE], uint64_t boot, uint8_t derived[BOOT_SEED_SIZE])
{
	uint8_t text[BOOT_SEED_SIZE + sizeof(boot)];
	unsigned length = 0;

	if (boot == 0) {
		memcpy(derived, seed, BOOT_SEED_SIZE);
		return OK;
	}
	memcpy(text, seed, BOOT_SEED_SIZE);
	bytes_store_u64(text + BOOT_SEED_SIZE, boot);
	if (EVP_Digest(text, sizeof(text), derived, &length, EVP_sha512(), NULL) != 1)
		return fail(STATUS_FAILED, "OpenSSL offers no SHA-512");
	invariant(length == BOOT_SEED_SIZE);
	return OK;
}
