#include "vmm/boot.h"

#include "vmm/boot_linux.h"
#include "vmm/boot_payload.h"

struct boot_method {
	result (*load)(struct ram *ram, const struct boot_source *source, struct cpu_state *entry);
	bool needs_shim;
};

static const struct boot_method methods[] = {
	[BOOT_LINUX] = { boot_linux_load, true },
	/* A payload reads no TSC and cannot reach any other privileged state. */
	[BOOT_PAYLOAD] = { boot_payload_load, false },
};

result boot_load(struct ram *ram, const struct boot_source *source, struct cpu_state *entry)
{
	return methods[source->kind].load(ram, source, entry);
}

bool boot_needs_shim(enum boot_kind kind)
{
	return methods[kind].needs_shim;
}
