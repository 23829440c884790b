#include "lockstep/backends.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/histogram.h"
#include "base/log.h"
#include "devices/host/disk.h"
#include "devices/host/entropy.h"
#include "devices/virtio.h"
#include "lockstep/backend_console.h"
#include "lockstep/backend_net.h"
#include "lockstep/control.h"
#include "lockstep/fetches.h"
#include "lockstep/inbox.h"
#include "lockstep/record_stream.h"

/* A disk with more than this to write makes the guest wait; one with more than this to read takes no more fetches. */
enum { CHANGES_MAX = 4 << 20, READS_MAX = 8 << 20, JOBS_MAX = 1024 };

static const char *const op_names[DISK_OPS] = {
	[DISK_READ] = "reads",
	[DISK_WRITE] = "writes",
	[DISK_FLUSH] = "flushes",
	[DISK_DISCARD] = "discards",
	[DISK_WRITE_ZEROES] = "zeroes",
};

struct backend {
	struct backend_option option;
	struct disk *disk;
	struct backend_net *net;
	struct backend_console *console;
	struct disk_job *answer; /* that is on its way into the inbox, or NULL */
	uint64_t answered;       /* bytes of it that are there */
	size_t reads, changes;   /* under way */
	uint64_t read_bytes, change_bytes;
	size_t void_reads;       /* of the reads, the first so many are nobody's any more */
	uint64_t done[DISK_OPS]; /* jobs */
	uint64_t bytes[DISK_OPS];
	uint64_t failures;
	uint64_t requests;       /* for entropy */
	uint64_t request_bytes;
	struct histogram latency; /* ns, from when a disk was given a job until it was done */
};

/* A channel's stream, put together again. */
struct stream {
	uint8_t header[DEVICE_DISK_HEADER];
	size_t used;             /* of the header */
	struct backend *backend; /* whose data follow */
	struct disk_job *job;    /* that takes them */
	uint64_t filled;
};

struct backends {
	size_t count;
	struct backend device[BOARD_PCI_MAX];
	struct stream disks;
	struct record_stream frames, texts;
	int epoll_fd, bell_fd;
};

/* --- opening --- */

static result open_device(struct backends *backends, struct backend *backend)
{
	switch (backend->option.kind) {
	case BOARD_PCI_DISK:
		return in_context(disk_open(&backend->disk, backend->option.place, backend->option.read_only,
					    backends->bell_fd), "--disk");
	case BOARD_PCI_RNG:
		return OK;
	case BOARD_PCI_NET:
		return backend_net_open(&backend->net, backend->option.place, backends->epoll_fd);
	case BOARD_PCI_CONSOLE:
		return backend_console_open(&backend->console, backend->option.place, backends->epoll_fd,
					    backends->bell_fd);
	}
	return fail(STATUS_USAGE, "there is nothing that could stand behind such a device");
}

static result open_all(struct backends *backends, const struct backends_options *options)
{
	struct epoll_event event = { .events = EPOLLIN };

	backends->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	backends->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	event.data.fd = backends->bell_fd;
	if (backends->epoll_fd < 0 || backends->bell_fd < 0 ||
	    epoll_ctl(backends->epoll_fd, EPOLL_CTL_ADD, backends->bell_fd, &event) < 0)
		return fail_errno(STATUS_FAILED, errno, "cannot wait for devices");
	TRY(record_stream_create(&backends->frames, DEVICE_FRAME_MAX));
	TRY(record_stream_create(&backends->texts, VIRTIO_DATA_MAX));
	invariant(options->count <= BOARD_PCI_MAX);
	for (; backends->count < options->count; backends->count++) {
		struct backend *backend = &backends->device[backends->count];

		backend->option = options->device[backends->count];
		TRY(open_device(backends, backend));
	}
	return OK;
}

result backends_open(struct backends **opened, const struct backends_options *options)
{
	struct backends *backends = calloc(1, sizeof(*backends));
	result r;

	*opened = NULL;
	if (!backends)
		return fail(STATUS_FAILED, "no memory for devices");
	backends->epoll_fd = backends->bell_fd = -1;
	r = open_all(backends, options);
	if (failed(r))
		backends_close(backends);
	else
		*opened = backends;
	return r;
}

void backends_close(struct backends *backends)
{
	if (!backends)
		return;
	for (size_t i = 0; i < BOARD_PCI_MAX; i++) {
		disk_close(backends->device[i].disk);
		disk_job_free(backends->device[i].answer);
		backend_net_close(backends->device[i].net);
		backend_console_close(backends->device[i].console);
	}
	record_stream_destroy(&backends->frames);
	record_stream_destroy(&backends->texts);
	disk_job_free(backends->disks.job);
	fd_close(&backends->bell_fd);
	fd_close(&backends->epoll_fd);
	free(backends);
}

size_t backends_describe(const struct backends *backends, struct board_pci_device pci[BOARD_PCI_MAX])
{
	for (size_t i = 0; i < backends->count; i++) {
		const struct backend *backend = &backends->device[i];

		memset(&pci[i], 0, sizeof(pci[i]));
		pci[i].kind = backend->option.kind;
		pci[i].disk_size = backend->disk ? disk_size(backend->disk) : 0;
		pci[i].read_only = backend->option.read_only;
		memcpy(pci[i].serial, backend->option.serial, sizeof(pci[i].serial));
		memcpy(pci[i].mac, backend->option.mac, sizeof(pci[i].mac));
	}
	return backends->count;
}

int backends_fd(const struct backends *backends)
{
	return backends->epoll_fd;
}

/* --- what was let out --- */

static struct backend *device_of(struct backends *backends, uint32_t device, enum board_pci_kind kind)
{
	if (device >= backends->count || backends->device[device].option.kind != kind)
		return NULL;
	return &backends->device[device];
}

static enum disk_op op_of(const struct device_disk_request *request)
{
	switch (request->op) {
	case DEVICE_DISK_WRITE:
		return DISK_WRITE;
	case DEVICE_DISK_DISCARD:
		return DISK_DISCARD;
	case DEVICE_DISK_WRITE_ZEROES:
		return DISK_WRITE_ZEROES;
	default:
		return DISK_FLUSH;
	}
}

static uint64_t data_of(const struct disk_job *job)
{
	return job->op == DISK_READ || job->op == DISK_WRITE ? job->length : 0;
}

static void give_change(struct stream *stream)
{
	stream->backend->changes++;
	stream->backend->change_bytes += data_of(stream->job);
	disk_give(stream->backend->disk, stream->job);
	stream->job = NULL;
	stream->used = 0;
}

static result begin_change(struct backends *backends, struct stream *stream)
{
	struct bytes_reader reader = bytes_reader_over(stream->header, DEVICE_DISK_HEADER);
	struct device_disk_request request;

	TRY(device_disk_get(&reader, &request));
	stream->backend = device_of(backends, request.device, BOARD_PCI_DISK);
	if (!stream->backend || (request.op == DEVICE_DISK_WRITE && request.length > DISK_JOB_MAX))
		return fail(STATUS_FAILED, "device %" PRIu32 " lets out what is no disk request", request.device);
	stream->job = disk_job_create(op_of(&request), request.offset, request.length);
	if (!stream->job)
		return fail(STATUS_FAILED, "no memory for a disk request");
	stream->job->id = request.id;
	stream->job->unmap = (request.flags & DEVICE_DISK_UNMAP) != 0;
	stream->filled = 0;
	return OK;
}

/* Takes some of the bytes; gives how many. */
static result take_disk_bytes(struct backends *backends, const uint8_t *data, size_t length, size_t *taken)
{
	struct stream *stream = &backends->disks;
	uint64_t wanted = stream->job ? data_of(stream->job) - stream->filled : DEVICE_DISK_HEADER - stream->used;

	*taken = length < wanted ? length : (size_t)wanted;
	if (stream->job) {
		memcpy(stream->job->data + stream->filled, data, *taken);
		stream->filled += *taken;
	} else {
		memcpy(stream->header + stream->used, data, *taken);
		stream->used += *taken;
		if (stream->used < DEVICE_DISK_HEADER)
			return OK;
		TRY(begin_change(backends, stream));
	}
	invariant(stream->job);
	if (stream->filled == data_of(stream->job))
		give_change(stream);
	return OK;
}

/* Takes some of the bytes of a channel of records; gives how many. */
static result take_record_bytes(struct backends *backends, enum output_channel channel, const uint8_t *data,
				size_t length, size_t *taken)
{
	const bool frames = channel == OUTPUT_NET;
	const enum board_pci_kind kind = frames ? BOARD_PCI_NET : BOARD_PCI_CONSOLE;
	struct record record;
	struct backend *backend;

	TRY(record_stream_take(frames ? &backends->frames : &backends->texts, data, length, taken, &record));
	if (record.length == 0)
		return OK;
	backend = device_of(backends, record.device, kind);
	if (!backend)
		return fail(STATUS_FAILED, "device %" PRIu32 " lets out what its kind does not have", record.device);
	if (frames)
		backend_net_send(backend->net, record.data, record.length);
	else
		backend_console_put(backend->console, record.data, record.length);
	return OK;
}

result backends_output(struct backends *backends, enum output_channel channel, const void *data, size_t length)
{
	const uint8_t *bytes = data;

	if (channel != OUTPUT_DISK && channel != OUTPUT_NET && channel != OUTPUT_VCONSOLE)
		return fail(STATUS_FAILED, "there is output of channel %u, which no device has", (unsigned)channel);
	while (length > 0) {
		size_t taken;

		if (channel == OUTPUT_DISK)
			TRY(take_disk_bytes(backends, bytes, length, &taken));
		else
			TRY(take_record_bytes(backends, channel, bytes, length, &taken));
		bytes += taken;
		length -= taken;
	}
	return OK;
}

bool backends_behind(const struct backends *backends)
{
	for (size_t i = 0; i < backends->count; i++)
		if (backends->device[i].change_bytes > CHANGES_MAX || backends->device[i].changes > JOBS_MAX ||
		    (backends->device[i].console && backend_console_behind(backends->device[i].console)))
			return true;
	return false;
}

bool backends_busy(const struct backends *backends)
{
	for (size_t i = 0; i < backends->count; i++)
		if (backends->device[i].changes > 0 ||
		    (backends->device[i].console && backend_console_busy(backends->device[i].console)))
			return true;
	return false;
}

/* --- fetches --- */

/* A fetch's leadership and check travel with its job. */
static uint64_t context_of(uint32_t epoch, uint32_t check)
{
	return (uint64_t)epoch << 32 | check;
}

static void fetch_disk(struct backends *backends, const struct fetch_slot *slot)
{
	const struct device_fetch *fetch = &slot->fetch;
	struct backend *backend = device_of(backends, fetch->device, BOARD_PCI_DISK);
	struct disk_job *job = NULL;

	if (backend && fetch->length > 0 && fetch->length <= DISK_JOB_MAX)
		job = disk_job_create(DISK_READ, fetch->offset, fetch->length);
	if (!job) {
		log_warning("device %" PRIu32 " asks for what cannot be read", fetch->device);
		return;
	}
	job->id = fetch->id;
	job->context = context_of(slot->epoch, fetches_check(fetch));
	backend->reads++;
	backend->read_bytes += fetch->length;
	disk_give(backend->disk, job);
}

static bool fetch_entropy(struct backends *backends, const struct backends_client *client,
			  const struct fetch_slot *slot)
{
	const struct device_fetch *fetch = &slot->fetch;
	struct backend *backend = device_of(backends, fetch->device, BOARD_PCI_RNG);
	struct device_input input = {
		.device = fetch->device, .kind = INPUT_ENTROPY, .epoch = slot->epoch, .id = fetch->id,
		.total = fetch->length, .length = fetch->length,
	};

	if (!backend || fetch->length == 0 || fetch->length > DEVICE_INPUT_MAX)
		return false;
	backend->requests++;
	backend->request_bytes += fetch->length;
	if (failed(entropy_read(input.data, input.length))) {
		backend->failures++;
		input.total = input.length = 0;
		input.status = EIO;
	}
	/* There is room: see may_fetch. */
	return inbox_put(client->page, client->kept, &input, fetches_check(fetch));
}

static bool may_fetch(const struct backends *backends, const struct backends_client *client)
{
	if (atomic_load(&client->page->inbox_written) + INBOX_ENTRY_MAX - client->kept > CONTROL_INBOX_SIZE)
		return false;
	for (size_t i = 0; i < backends->count; i++)
		if (backends->device[i].read_bytes > READS_MAX || backends->device[i].reads > JOBS_MAX)
			return false;
	return true;
}

static bool take_fetches(struct backends *backends, const struct backends_client *client)
{
	uint64_t before = atomic_load(&client->page->fetches_taken[client->index]);
	uint64_t taken = before;
	bool news = false, again = false, there = true;

	while (there && may_fetch(backends, client)) {
		struct fetch_slot slot;
		result r = fetches_take(client->control, &taken, &slot, &there);

		if (failed(r)) {
			log_warning("replica %u: %s; they are made again", client->index, r.failure->message);
			again = true;
		} else if (there && slot.epoch == client->epoch) {
			if (slot.fetch.kind == FETCH_DISK)
				fetch_disk(backends, &slot);
			else if (slot.fetch.kind == FETCH_ENTROPY)
				news |= fetch_entropy(backends, client, &slot);
		}
	}
	/* Where it was nearly full, some may not have found room. */
	if (again || taken - before > FETCHES / 2) {
		atomic_fetch_add(&client->page->fetch_again, 1);
		atomic_fetch_add(&client->page->attention[client->index], 1);
		news = true;
	}
	if (taken != before)
		atomic_store_explicit(&client->page->fetches_taken[client->index], taken, memory_order_release);
	return news;
}

/* --- answers --- */

static void book_done(struct backend *backend, const struct disk_job *job)
{
	backend->done[job->op]++;
	backend->bytes[job->op] += data_of(job);
	backend->failures += job->status != 0;
	histogram_add(&backend->latency, job->done_ns - job->given_ns);
	if (job->op == DISK_READ) {
		backend->reads--;
		backend->read_bytes -= data_of(job);
	} else {
		backend->changes--;
		backend->change_bytes -= data_of(job);
	}
}

static bool is_void(struct backend *backend, const struct disk_job *job, uint32_t epoch)
{
	if (job->op != DISK_READ)
		return false;
	if (backend->void_reads > 0) {
		backend->void_reads--;
		return true;
	}
	return job->context >> 32 != epoch;
}

/* The next answer that somebody waits for, if there is one. */
static bool next_answer(struct backend *backend, uint32_t epoch)
{
	while (!backend->answer && backend->disk && (backend->answer = disk_take(backend->disk)) != NULL) {
		book_done(backend, backend->answer);
		backend->answered = 0;
		if (is_void(backend, backend->answer, epoch)) {
			disk_job_free(backend->answer);
			backend->answer = NULL;
		}
	}
	return backend->answer != NULL;
}

static void fill_input(const struct backend *backend, struct device_input *input)
{
	const struct disk_job *job = backend->answer;
	uint64_t left = job->length - backend->answered;

	input->id = job->id;
	input->status = (uint32_t)job->status;
	if (job->op != DISK_READ) {
		input->kind = INPUT_DISK_DONE;
		return;
	}
	input->kind = INPUT_DISK_READ;
	input->epoch = (uint32_t)(job->context >> 32);
	input->offset = backend->answered;
	input->total = (uint32_t)job->length;
	if (job->status != 0)
		return;
	input->length = left < DEVICE_INPUT_MAX ? (uint32_t)left : DEVICE_INPUT_MAX;
	memcpy(input->data, job->data + backend->answered, input->length);
}

/* Brings a piece of the answer at hand; false: there is no room. */
static bool bring_piece(struct backend *backend, uint32_t device, const struct backends_client *client)
{
	const struct disk_job *job = backend->answer;
	uint64_t asked = job->op == DISK_READ ? (uint32_t)job->context : 0;
	struct device_input input;

	memset(&input, 0, offsetof(struct device_input, data));
	input.device = device;
	fill_input(backend, &input);
	if (!inbox_put(client->page, client->kept, &input, asked))
		return false;
	backend->answered += input.length;
	if (input.length == 0 || backend->answered == job->length) {
		disk_job_free(backend->answer);
		backend->answer = NULL;
	}
	return true;
}

static bool bring_answers(struct backends *backends, const struct backends_client *client)
{
	bool news = false;

	for (size_t i = 0; i < backends->count; i++) {
		struct backend *backend = &backends->device[i];

		/* One that was begun for a leader before is nobody's now. */
		if (backend->answer && backend->answer->op == DISK_READ &&
		    backend->answer->context >> 32 != client->epoch) {
			disk_job_free(backend->answer);
			backend->answer = NULL;
		}
		while (next_answer(backend, client->epoch)) {
			if (!bring_piece(backend, (uint32_t)i, client))
				return news;
			news = true;
		}
	}
	return news;
}

bool backends_exchange(struct backends *backends, const struct backends_client *client)
{
	uint64_t count;
	bool news = false;

	if (backends->count == 0)
		return false;
	(void)!read(backends->bell_fd, &count, sizeof(count));
	news |= take_fetches(backends, client);
	news |= bring_answers(backends, client);
	for (uint32_t i = 0; i < backends->count; i++) {
		if (backends->device[i].net)
			news |= backend_net_bring(backends->device[i].net, i, client->page, client->kept);
		if (backends->device[i].console)
			news |= backend_console_bring(backends->device[i].console, i, client->page, client->kept);
	}
	return news;
}

void backends_restart(struct backends *backends)
{
	for (size_t i = 0; i < backends->count; i++) {
		struct backend *backend = &backends->device[i];

		invariant(backend->changes == 0);
		backend->void_reads = backend->reads;
		disk_job_free(backend->answer);
		backend->answer = NULL;
	}
}

/* --- statistics --- */

static void put(json_t *object, const char *name, uint64_t value)
{
	(void)json_object_set_new(object, name, json_integer((json_int_t)value));
}

static json_t *disk_statistics(const struct backend *backend)
{
	json_t *object = json_object();
	json_t *latency = json_object();

	(void)json_object_set_new(object, "kind", json_string("disk"));
	put(object, "size", disk_size(backend->disk));
	for (unsigned i = 0; i < DISK_OPS; i++)
		put(object, op_names[i], backend->done[i]);
	put(object, "bytes_read", backend->bytes[DISK_READ]);
	put(object, "bytes_written", backend->bytes[DISK_WRITE]);
	put(object, "failures", backend->failures);
	put(latency, "p50", histogram_quantile(&backend->latency, 500));
	put(latency, "p99", histogram_quantile(&backend->latency, 990));
	put(latency, "max", backend->latency.max);
	(void)json_object_set_new(object, "host_latency", latency);
	return object;
}

static json_t *other_statistics(const struct backend *backend)
{
	json_t *object = json_object();

	(void)json_object_set_new(object, "kind", json_string("rng"));
	put(object, "requests", backend->requests);
	put(object, "bytes", backend->request_bytes);
	put(object, "failures", backend->failures);
	return object;
}

static json_t *statistics_of(const struct backend *backend)
{
	if (backend->disk)
		return disk_statistics(backend);
	if (backend->console)
		return backend_console_statistics(backend->console);
	return backend->net ? backend_net_statistics(backend->net) : other_statistics(backend);
}

json_t *backends_statistics(const struct backends *backends)
{
	json_t *list = json_array();

	for (size_t i = 0; i < backends->count; i++)
		(void)json_array_append_new(list, statistics_of(&backends->device[i]));
	return list;
}
