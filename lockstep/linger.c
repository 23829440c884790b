#include "lockstep/linger.h"

#include <poll.h>

#include "lockstep/event.h"

bool linger_wanted(const struct supervisor *supervisor, const struct failure *failure)
{
	return supervisor->options->hold && supervisor->service && !supervisor->asked_to_end &&
	       (failure->status == STATUS_NO_MAJORITY || failure->status == STATUS_GUEST);
}

void linger(struct supervisor *supervisor)
{
	struct pollfd ready[] = {
		{ .fd = supervisor->service_fd, .events = POLLIN },
		{ .fd = supervisor->signal_fd, .events = POLLIN },
	};

	supervisor->life.state = LIFE_PANICKED;
	event_tell_panic(supervisor);
	event_tell_life(supervisor, EVENT_STOP, LIFE_NO_CAUSE, "the machine stands still until it is ended");
	while (!supervisor->asked_to_end && ready[1].revents == 0) {
		(void)poll(ready, ARRAY_SIZE(ready), -1);
		if (ready[0].revents)
			supervisor->service->serve(supervisor->service->context);
	}
}
