#include "lockstep/checkpoint.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

result checkpoint_create(struct checkpoint *checkpoint, const struct ram *ram)
{
	void *memory = mmap(NULL, ram->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			    0);

	*checkpoint = (struct checkpoint){ .pages = ram_pages(ram) };
	if (memory != MAP_FAILED)
		checkpoint->memory = memory;
	checkpoint->table = calloc(ram_pages(ram), sizeof(struct digest));
	checkpoint->record = calloc(1, sizeof(struct vote_record));
	if (checkpoint->memory && checkpoint->table && checkpoint->record)
		return OK;
	checkpoint_destroy(checkpoint);
	return fail(STATUS_FAILED, "no memory for a checkpoint of %llu bytes of guest RAM",
		    (unsigned long long)ram->size);
}

void checkpoint_destroy(struct checkpoint *checkpoint)
{
	if (checkpoint->memory)
		(void)munmap(checkpoint->memory, checkpoint->pages * RAM_PAGE_SIZE);
	free(checkpoint->table);
	free(checkpoint->record);
	*checkpoint = (struct checkpoint){ .memory = NULL };
}

static void take_page(struct checkpoint *checkpoint, const struct area *area, const struct ram *ram, uint64_t page)
{
	memcpy(checkpoint->memory + page * RAM_PAGE_SIZE, ram_page(ram, page), RAM_PAGE_SIZE);
	checkpoint->table[page] = area->page_hashes[page];
}

void checkpoint_prepare(struct checkpoint *checkpoint, const struct area *area, const struct ram *ram, uint64_t first,
			uint64_t count)
{
	invariant(first <= checkpoint->pages && count <= checkpoint->pages - first);
	checkpoint->valid = false;
	for (uint64_t page = first; page < first + count; page++)
		if (memcmp(&checkpoint->table[page], &area->page_hashes[page], sizeof(struct digest)) != 0)
			take_page(checkpoint, area, ram, page);
}

void checkpoint_take(struct checkpoint *checkpoint, const struct area *area, const struct ram *ram,
		     const struct vote_record *record)
{
	bool follows = checkpoint->valid && record->number == checkpoint->record->number + 1;

	if (follows && record->changes_end - record->changes_begin <= area->changes_size) {
		for (uint64_t i = record->changes_begin; i < record->changes_end; i++)
			take_page(checkpoint, area, ram, area->changes[i % area->changes_size].page);
	} else {
		checkpoint_prepare(checkpoint, area, ram, 0, checkpoint->pages);
	}
	*checkpoint->record = *record;
	checkpoint->valid = true;
}
