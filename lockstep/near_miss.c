/* what nearly was the stop */
#include "lockstep/near_miss.h"

#include <stdio.h>

struct difference {
	const struct register_info *first;
	unsigned bits;
};

static void count_bits(void *context, const struct register_info *info, const uint8_t *a, const uint8_t *b)
{
	struct difference *difference = context;

	if (!difference->first)
		difference->first = info;
	for (unsigned i = 0; i < info->width; i++)
		difference->bits += (unsigned)__builtin_popcount(a[i] ^ b[i]);
}

void near_miss_note(struct near_miss *miss, const struct cpu_state *here, const struct cpu_state *stop)
{
	struct difference difference = { .first = NULL };

	(void)registers_compare(here, stop, count_bits, &difference);
	if (!difference.first || (miss->bits > 0 && difference.bits >= miss->bits))
		return;
	miss->bits = difference.bits;
	miss->first = difference.first;
	miss->value = register_value(here, difference.first);
}

void near_miss_tell(const struct near_miss *miss, const struct cpu_state *stop, char *text, size_t size)
{
	char general[192] = "", others[96] = "";

	register_nearest_tell(&miss->general, stop->gpr, general, sizeof(general));
	if (miss->bits > 0)
		(void)snprintf(others, sizeof(others), "; a visit was nearly it: %s 0x%llx not 0x%llx, %u bits in all",
			       miss->first->name, (unsigned long long)miss->value,
			       (unsigned long long)register_value(stop, miss->first), miss->bits);
	(void)snprintf(text, size, "%s%s%s", others, general[0] ? "; the nearest visit had " : "", general);
}
