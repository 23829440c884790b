#include "manage/places.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

#define SYSTEM_FOLDER "/run/tercet"
#define SOCKET_SUFFIX ".sock"

enum { FOLDERS = 2 };

/* The folders in the order in which they are tried; false where this user has none. */
static bool folder_of(unsigned index, struct place *folder)
{
	const char *own = getenv("XDG_RUNTIME_DIR");

	if (index == 0) {
		(void)snprintf(folder->path, sizeof(folder->path), "%s", SYSTEM_FOLDER);
		return true;
	}
	/* The specification has relative paths ignored. */
	if (!own || own[0] != '/')
		return false;
	int length = snprintf(folder->path, sizeof(folder->path), "%s/tercet", own);

	return length > 0 && (size_t)length < sizeof(folder->path);
}

static bool socket_in(const struct place *folder, const char *file, const char *suffix, struct place *socket)
{
	int length = snprintf(socket->path, sizeof(socket->path), "%s/%s%s", folder->path, file, suffix);

	return length > 0 && (size_t)length < sizeof(socket->path);
}

result places_check_name(const char *what, const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t length = strlen(name);

	if (length == 0 || length > PLACES_NAME_MAX || strspn(name, allowed) != length)
		return fail(STATUS_USAGE, "%s %s: a name has 1 to %d letters, digits, dots, _ and -", what, name,
			    PLACES_NAME_MAX);
	return OK;
}

result places_take_path(const char *what, const char *path, struct place *socket)
{
	if (path[0] == '\0')
		return fail(STATUS_USAGE, "%s: the path of a socket is empty", what);
	if (strlen(path) >= sizeof(socket->path))
		return fail(STATUS_USAGE, "%s %s: the path of a socket has at most %zu bytes", what, path,
			    sizeof(socket->path) - 1);
	memcpy(socket->path, path, strlen(path) + 1);
	return OK;
}

static result make_folder(const char *path)
{
	struct stat information;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return fail_errno(STATUS_FAILED, errno, "cannot make %s", path);
	if (lstat(path, &information) < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot examine %s", path);
	if (!S_ISDIR(information.st_mode) || information.st_uid != geteuid() || (information.st_mode & 022) != 0)
		return fail(STATUS_FAILED, "%s is no folder that is this user's alone to write", path);
	return OK;
}

result places_of_new(const char *name, struct place *socket)
{
	result r = fail(STATUS_FAILED, "there is no folder for sockets (XDG_RUNTIME_DIR is not set)");

	for (unsigned i = geteuid() == 0 ? 0 : 1; i < FOLDERS; i++) {
		struct place folder;

		if (!folder_of(i, &folder))
			continue;
		r = make_folder(folder.path);
		if (failed(r))
			continue;
		if (socket_in(&folder, name, SOCKET_SUFFIX, socket))
			return OK;
		r = fail(STATUS_FAILED, "%s/%s" SOCKET_SUFFIX " is too long for a socket's path", folder.path, name);
	}
	return r;
}

void places_address(const struct place *place, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	(void)snprintf(address->sun_path, sizeof(address->sun_path), "%s", place->path);
}

int places_connect(const struct place *place)
{
	struct sockaddr_un address;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	places_address(place, &address);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		int error = errno;

		fd_close(&fd);
		errno = error;
		return -1;
	}
	return fd;
}

static int is_socket_name(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);
	size_t suffix = strlen(SOCKET_SUFFIX);

	return length > suffix && strcmp(entry->d_name + length - suffix, SOCKET_SUFFIX) == 0;
}

static bool somebody_listens(const struct place *socket)
{
	int fd = places_connect(socket);
	bool busy = fd < 0 && errno == EAGAIN;

	if (fd < 0)
		return busy;
	fd_close(&fd);
	return true;
}

/* Adds the machine behind a socket's file; false without memory. */
static bool add_running(json_t *list, const struct place *folder, const char *file)
{
	const int length = (int)(strlen(file) - strlen(SOCKET_SUFFIX));
	char name[PLACES_NAME_MAX + 1];
	struct place socket;

	if (length > PLACES_NAME_MAX || !socket_in(folder, file, "", &socket) || !somebody_listens(&socket))
		return true;
	(void)snprintf(name, sizeof(name), "%.*s", length, file);
	if (failed(places_check_name("socket", name)))
		return true;
	return json_array_append_new(list, json_pack("{s:s, s:s}", "name", name, "path", socket.path)) == 0;
}

json_t *places_running(void)
{
	json_t *list = json_array();
	bool good = list != NULL;

	for (unsigned i = 0; i < FOLDERS; i++) {
		struct dirent **entries;
		struct place folder;
		int count = folder_of(i, &folder) ? scandir(folder.path, &entries, is_socket_name, alphasort) : -1;

		for (int entry = 0; entry < count; entry++) {
			good = good && add_running(list, &folder, entries[entry]->d_name);
			free(entries[entry]);
		}
		if (count >= 0)
			free(entries);
	}
	if (good)
		return list;
	json_decref(list);
	return NULL;
}

/* The names of those that run, for a message. */
static void name_running(char *text, size_t size)
{
	json_t *list = places_running();
	size_t index, used = 0;
	json_t *machine;

	(void)snprintf(text, size, "none runs that this user may see");
	json_array_foreach(list, index, machine) {
		int length = snprintf(text + used, size - used, "%s%s", index == 0 ? "these run: " : ", ",
				      json_string_value(json_object_get(machine, "name")));

		used += length > 0 ? (size_t)length : 0;
		if (used >= size)
			break;
	}
	json_decref(list);
}

result places_of_running(const char *vm, struct place *socket)
{
	char running[512];
	struct stat information;

	if (strchr(vm, '/'))
		return places_take_path("the machine's socket", vm, socket);
	TRY(places_check_name("machine", vm));
	for (unsigned i = 0; i < FOLDERS; i++) {
		struct place folder;

		/* One left behind in the first folder must not hide one that is alive in the second. */
		if (folder_of(i, &folder) && socket_in(&folder, vm, SOCKET_SUFFIX, socket) &&
		    lstat(socket->path, &information) == 0 &&
		    (somebody_listens(socket) || errno != ECONNREFUSED))
			return OK;
	}
	name_running(running, sizeof(running));
	return fail(STATUS_INPUT, "no machine is called %s; %s", vm, running);
}
