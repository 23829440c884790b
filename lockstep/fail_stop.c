#include "lockstep/fail_stop.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "lockstep/fail_stop_copy.h"
#include "lockstep/fail_stop_json.h"
#include "lockstep/fail_stop_summary.h"
#include "lockstep/fail_stop_text.h"

enum { SAME_SECOND_MAX = 100, FOLDER_MODE = 0700, FILE_MODE = 0600, SCRIPT_MODE = 0700 };

/* The report while it is made. */
struct folder {
	const char *parent;
	int parent_fd;
	char name[128]; /* without the dot */
	unsigned number;
	int fd;
	char path[4096]; /* with the dot, for messages */
};

/* --- the folder and its name --- */

/* The report's name; the second of one second ends in "-2". */
static void name_text(const struct folder *folder, unsigned number, const char *dot, char *text, size_t size)
{
	if (number == 1)
		(void)snprintf(text, size, "%s%s", dot, folder->name);
	else
		(void)snprintf(text, size, "%s%s-%u", dot, folder->name, number);
}

static result open_parent(struct folder *folder)
{
	/* Just its last part: a mistyped path should not grow into a tree. */
	if (mkdir(folder->parent, FOLDER_MODE) < 0 && errno != EEXIST)
		return fail_errno(STATUS_FAILED, errno, "cannot make the folder %s", folder->parent);
	folder->parent_fd = open(folder->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder->parent_fd < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot open the folder %s", folder->parent);
	return OK;
}

static result make_folder(struct folder *folder, const struct fail_stop_copy *copy)
{
	time_t seconds = (time_t)copy->facts->time;
	struct tm parts = { .tm_mday = 1 };
	char date[32];
	char name[160] = "";
	int error = EEXIST;

	(void)gmtime_r(&seconds, &parts);
	if (strftime(date, sizeof(date), "%Y%m%d-%H%M%S", &parts) == 0)
		date[0] = '\0';
	(void)snprintf(folder->name, sizeof(folder->name), "tercet-%s-%s", copy->name, date);
	for (folder->number = 1; folder->number <= SAME_SECOND_MAX; folder->number++) {
		name_text(folder, folder->number, ".", name, sizeof(name));
		error = mkdirat(folder->parent_fd, name, FOLDER_MODE) == 0 ? 0 : errno;
		if (error != EEXIST)
			break;
	}
	(void)snprintf(folder->path, sizeof(folder->path), "%s/%s", folder->parent, name);
	if (error != 0)
		return fail_errno(STATUS_FAILED, error, "cannot make the folder %s", folder->path);
	folder->fd = openat(folder->parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (folder->fd < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot open the folder %s", folder->path);
	return OK;
}

/* Gives the finished report its name. A rename never replaces a folder that has something in it, so one that is
 * there already is found out by trying. */
static result publish(struct folder *folder, char *path, size_t size)
{
	char hidden[160];
	char name[160] = "";
	int error = EEXIST;

	name_text(folder, folder->number, ".", hidden, sizeof(hidden));
	for (unsigned number = folder->number; number <= SAME_SECOND_MAX; number++) {
		name_text(folder, number, "", name, sizeof(name));
		error = renameat(folder->parent_fd, hidden, folder->parent_fd, name) == 0 ? 0 : errno;
		if (error != EEXIST && error != ENOTEMPTY && error != ENOTDIR)
			break;
	}
	if (error != 0)
		return fail_errno(STATUS_FAILED, error, "cannot rename %s", folder->path);
	if ((size_t)snprintf(path, size, "%s/%s", folder->parent, name) >= size)
		path[0] = '\0';
	/* The report is whole under either name, so a file system that cannot do this does not matter. */
	(void)fsync(folder->parent_fd);
	return OK;
}

/* --- its files --- */

static result create(const struct folder *folder, const char *name, mode_t mode, int *fd)
{
	*fd = openat(folder->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (*fd < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot make %s/%s", folder->path, name);
	return OK;
}

struct report_file {
	const char *name;
	mode_t mode;
	void (*put)(FILE *file, const struct fail_stop_copy *copy);
};

static void put_json(FILE *file, const struct fail_stop_copy *copy)
{
	json_t *report = fail_stop_json(copy);

	/* Without memory nothing is written, which an empty file shows. */
	errno = ENOMEM;
	if (report && json_dumpf(report, file, JSON_INDENT(1)) == 0)
		(void)fputc('\n', file);
	json_decref(report);
}

/* Small ones first, for a disk that is nearly full; what is needed most before the rest. */
static const struct report_file files[] = {
	{ "summary.txt", FILE_MODE, fail_stop_summary },
	{ "command", SCRIPT_MODE, fail_stop_summary_command },
	{ "digests.txt", FILE_MODE, fail_stop_text_digests },
	{ "registers.txt", FILE_MODE, fail_stop_text_registers },
	{ "devices.txt", FILE_MODE, fail_stop_text_devices },
	{ "exits.txt", FILE_MODE, fail_stop_text_exits },
	{ "tape.txt", FILE_MODE, fail_stop_text_tape },
	{ "report.json", FILE_MODE, put_json },
};

static result write_file(const struct folder *folder, const struct report_file *kind,
			 const struct fail_stop_copy *copy)
{
	int fd;

	TRY(create(folder, kind->name, kind->mode, &fd));
	FILE *file = fdopen(fd, "w");

	if (!file) {
		int error = errno;

		fd_close(&fd);
		return fail_errno(STATUS_FAILED, error, "cannot write %s/%s", folder->path, kind->name);
	}
	kind->put(file, copy);
	bool bad = fflush(file) != 0 || ferror(file) != 0 || ftell(file) == 0;
	int error = errno;

	if (fclose(file) != 0 || bad)
		return fail_errno(STATUS_FAILED, bad ? error : errno, "cannot write %s/%s", folder->path, kind->name);
	return OK;
}

static result write_page(const struct folder *folder, const struct fail_stop_side *side, uint64_t address)
{
	uint8_t content[RAM_PAGE_SIZE];
	uint64_t page;
	char name[64];
	int fd;

	/* The address is what a report says; there need not be such a page. */
	if (!side->ram || !ram_page_of(side->ram, address, &page))
		return OK;
	memcpy(content, ram_page(side->ram, page), sizeof(content));
	(void)snprintf(name, sizeof(name), "pages/0x%012" PRIx64 "-replica%u.bin", address, side->replica);
	TRY(create(folder, name, FILE_MODE, &fd));
	result r = fd_write_all(fd, name, content, sizeof(content));

	fd_close(&fd);
	return in_context(r, "%s", folder->path);
}

static result write_pages(const struct folder *folder, const struct fail_stop_copy *copy)
{
	if (mkdirat(folder->fd, "pages", FOLDER_MODE) < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot make %s/pages", folder->path);
	for (unsigned p = 0; p < copy->page_count; p++)
		for (unsigned i = 0; i < copy->side_count; i++)
			TRY(write_page(folder, &copy->sides[i], copy->pages[p]));
	return OK;
}

static result write_report(struct folder *folder, const struct fail_stop_copy *copy, char *path, size_t size)
{
	TRY(open_parent(folder));
	TRY(make_folder(folder, copy));
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		TRY(write_file(folder, &files[i], copy));
	TRY(write_pages(folder, copy));
	/* One call for all of them: a name without the dot promises that they are on disk. */
	if (syncfs(folder->fd) < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot write %s to disk", folder->path);
	return publish(folder, path, size);
}

result fail_stop_write(const struct fail_stop_facts *facts, char *path, size_t size)
{
	struct folder folder = { .parent = facts->folder, .parent_fd = -1, .fd = -1 };
	struct fail_stop_copy *copy = malloc(sizeof(*copy));
	result r;

	path[0] = '\0';
	if (!copy)
		return fail(STATUS_FAILED, "the machine stopped (%s), and there is no memory for a report", facts->why);
	/* From here on `why` is the copy: the original may be overwritten by a failure of our own. */
	r = fail_stop_copy_take(copy, facts);
	if (!failed(r))
		r = write_report(&folder, copy, path, size);
	fd_close(&folder.fd);
	fd_close(&folder.parent_fd);
	if (failed(r))
		r = fail(r.failure->status, "the machine stopped (%.400s), and its report is incomplete: %s", copy->why,
			 r.failure->message);
	fail_stop_copy_free(copy);
	free(copy);
	return r;
}
