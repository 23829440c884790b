#include "vmm/register_nearest.h"

#include <stdio.h>
#include <string.h>

void register_nearest_note(struct register_nearest *nearest, const uint64_t gpr[GPR_COUNT],
			   const uint64_t sought[GPR_COUNT])
{
	const unsigned limit = nearest->differing != 0 ? nearest->differing : GPR_COUNT + 1;
	unsigned differing = 0;

	/* In dense loops this is asked all the time: no further than it can be the nearest. */
	for (unsigned i = 0; i < GPR_COUNT && differing < limit; i++)
		differing += gpr[i] != sought[i];
	if (differing == 0 || differing >= limit)
		return;
	nearest->differing = differing;
	memcpy(nearest->gpr, gpr, sizeof(nearest->gpr));
}

void register_nearest_tell(const struct register_nearest *nearest, const uint64_t sought[GPR_COUNT], char *text,
			   size_t size)
{
	enum { ONE = 64 }; /* more than one register takes */
	size_t used = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < GPR_COUNT && nearest->differing != 0 && size - used >= ONE; i++) {
		if (nearest->gpr[i] == sought[i])
			continue;
		/* The table begins with them, in their order. */
		used += (size_t)snprintf(text + used, size - used, "%s%s 0x%llx not 0x%llx", used > 0 ? ", " : "",
					 register_table[i].name, (unsigned long long)nearest->gpr[i],
					 (unsigned long long)sought[i]);
	}
}
