#include "base/privilege.h"

#include <cap-ng.h>
#include <errno.h>

result privilege_drop(const unsigned *kept, size_t count)
{
	/* Only who may set capabilities can shrink the bounding set; for others it bounds nothing. */
	const bool bounds = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) == 1;
	unsigned had = 0; /* bit i: it has kept[i] */

	invariant(count <= 8 * sizeof(had));
	for (size_t i = 0; i < count; i++)
		if (capng_have_capability(CAPNG_EFFECTIVE, kept[i]) == 1)
			had |= 1u << i;
	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < count; i++)
		if ((had >> i & 1) && capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, kept[i]) != 0)
			return fail(STATUS_FAILED, "the set of capabilities cannot be made");
	if (capng_apply(bounds ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS) != 0)
		return fail_errno(STATUS_FAILED, errno, "capabilities cannot be dropped");
	return OK;
}
