#include "vmm/native_code.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fd.h"

enum {
	LEAF_EXTENDED = (int)0x80000001,
	FEATURE_LAHF = 1 << 0, /* Fn8000_0001 ECX */
};

result native_code_create(struct native_code *code, size_t size)
{
	unsigned a, b, c = 0, d;
	void *memory;

	*code = (struct native_code){ .fd = -1, .size = size };
	if (!__get_cpuid((unsigned)LEAF_EXTENDED, &a, &b, &c, &d) || !(c & FEATURE_LAHF))
		return fail(STATUS_HOST, "this CPU has no LAHF in 64-bit mode: guest code cannot be executed in place");
	TRY(fd_sealed_memory(&code->fd, "native-code", code->size));
	result r = fd_map(code->fd, "native code", code->size, true, &memory);

	if (failed(r)) {
		fd_close(&code->fd);
		return r;
	}
	code->written = memory;
	memory = mmap(NULL, code->size, PROT_READ | PROT_EXEC, MAP_SHARED, code->fd, 0);
	if (memory == MAP_FAILED) {
		int error = errno;

		native_code_destroy(code);
		return fail_errno(STATUS_HOST, error, "native code: this host does not let us execute what we write");
	}
	code->run = memory;
	return OK;
}

void native_code_destroy(struct native_code *code)
{
	if (code->run)
		(void)munmap(code->run, code->size);
	if (code->written)
		fd_unmap(code->written, code->size);
	fd_close(&code->fd);
	*code = (struct native_code){ .fd = -1 };
}

bool native_code_has_room(const struct native_code *code, size_t bytes)
{
	return code->size - code->used >= bytes;
}

void native_code_clear(struct native_code *code)
{
	code->used = 0;
}

const uint8_t *native_code_add(struct native_code *code, const struct native_writer *writer)
{
	enum { ALIGNMENT = 16 };
	const uint8_t *run = code->run + code->used;

	invariant(native_code_has_room(code, writer->length));
	memcpy(code->written + code->used, writer->bytes, writer->length);
	code->used += (writer->length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	if (code->used > code->size)
		code->used = code->size;
	return run;
}
