#include "lockstep/heartbeat.h"

#include <stdbool.h>

enum { QUARTERS = 4, FIRST_KICK = 2 };

static void begin_silence(struct heartbeat *heartbeat, uint64_t beats, uint64_t now)
{
	*heartbeat = (struct heartbeat){ .beats = beats, .since = now, .looked = now };
}

void heartbeat_reset(struct heartbeat *heartbeat, uint64_t now_ns)
{
	begin_silence(heartbeat, 0, now_ns);
}

enum heartbeat_state heartbeat_look(struct heartbeat *heartbeat, uint64_t beats, uint64_t now_ns,
				    uint64_t watchdog_ns)
{
	uint64_t quarter = watchdog_ns < QUARTERS ? 1 : watchdog_ns / QUARTERS;
	/* Whatever kept us from looking - a stopped process group, a starved host - may have kept the replica from
	 * beating. A clock that went back makes a gap too, since the difference has no sign. */
	bool gap = now_ns - heartbeat->looked > quarter;

	if (beats != heartbeat->beats || gap || watchdog_ns == 0) {
		begin_silence(heartbeat, beats, now_ns);
		return HEARTBEAT_ALIVE;
	}
	heartbeat->looked = now_ns;

	uint64_t silent = now_ns - heartbeat->since;

	if (silent >= watchdog_ns)
		return HEARTBEAT_HUNG;
	if (silent / quarter >= FIRST_KICK && silent / quarter > heartbeat->kicked) {
		heartbeat->kicked = silent / quarter;
		return HEARTBEAT_KICK;
	}
	return HEARTBEAT_ALIVE;
}
