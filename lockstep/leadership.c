#include "lockstep/leadership.h"

void leadership_publish(struct supervisor_page *page, uint32_t epoch, const struct leadership *leadership)
{
	page->leaderships[epoch % CONTROL_LEADERSHIPS] = *leadership;
	/* Who sees the number sees the rest. */
	atomic_store(&page->epoch, epoch);
}
