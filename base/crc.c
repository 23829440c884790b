#include "base/crc.h"

#include <zlib.h>

uint32_t crc_of(const void *data, size_t size)
{
	return (uint32_t)crc32_z(0, data, size);
}
