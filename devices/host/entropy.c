#include "devices/host/entropy.h"

#include <errno.h>
#include <stdint.h>
#include <sys/random.h>

result entropy_read(void *data, size_t length)
{
	uint8_t *bytes = data;

	while (length > 0) {
		ssize_t got = getrandom(bytes, length, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return fail_errno(STATUS_FAILED, errno, "the host has no random numbers");
		bytes += got;
		length -= (size_t)got;
	}
	return OK;
}
