/* A network card's backend, with the test on the other side: frames as they were sent, and nothing that is none. */
#include "tests/unit/guest_memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "devices/host/net.h"

static struct net net;
static int other = -1;


static void fill_frame(uint8_t *frame, size_t length)
{
	for (size_t i = 0; i < length; i++)
		frame[i] = (uint8_t)(i * 5 + length);
}

/* A passt that has answered. */
static void start_stream(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	char place[150];

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/test-net.%d", getpid());
	(void)unlink(address.sun_path);
	ck_assert_int_eq(bind(listener, (const struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	(void)snprintf(place, sizeof(place), "passt=%s", address.sun_path);
	must_succeed(net_open(&net, place));
	other = accept(listener, NULL, NULL);
	ck_assert_int_ge(other, 0);
	fd_close(&listener);
	ck_assert_int_eq(unlink(address.sun_path), 0);
}

/* A tap, which gives and takes whole frames. */
static void start_tap(void)
{
	int ends[2];
	char place[32];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	other = ends[1];
	(void)snprintf(place, sizeof(place), "fd=%d", ends[0]);
	must_succeed(net_open(&net, place));
}

static void stop(void)
{
	net_close(&net);
	fd_close(&other);
}

START_TEST(words)
{
	must_succeed(net_check("tap=tap0"));
	must_succeed(net_check("fd=3"));
	must_succeed(net_check("passt=/run/passt.socket"));
	must_fail(net_check("tap="), STATUS_USAGE, "give tap=NAME");
	must_fail(net_check("tap=a-name-that-is-too-long"), STATUS_USAGE, "give tap=NAME");
	must_fail(net_check("fd=x"), STATUS_USAGE, "give tap=NAME");
	must_fail(net_check("fd=3x"), STATUS_USAGE, "give tap=NAME");
	must_fail(net_check("user"), STATUS_USAGE, "give tap=NAME");
	must_fail(net_open(&net, "fd=999"), STATUS_INPUT, "no open descriptor");
	must_fail(net_open(&net, "passt=/dev/null"), STATUS_INPUT, "no passt answers there");
}
END_TEST

START_TEST(packets)
{
	uint8_t frame[NET_FRAME_MAX + 10], got[NET_FRAME_MAX + 10];

	start_tap();
	ck_assert_uint_eq(net_receive(&net, got), 0);
	for (size_t length = 1; length <= NET_FRAME_MAX; length += 89) {
		fill_frame(frame, length);
		net_send(&net, frame, length);
		ck_assert_int_eq(recv(other, got, sizeof(got), 0), (ssize_t)length);
		ck_assert_mem_eq(got, frame, length);
		ck_assert_int_eq(send(other, frame, length, 0), (ssize_t)length);
		memset(got, 0, sizeof(got));
		ck_assert_uint_eq(net_receive(&net, got), length);
		ck_assert_mem_eq(got, frame, length);
	}
	/* One that is too long is none. */
	ck_assert_int_eq(send(other, frame, NET_FRAME_MAX + 1, 0), NET_FRAME_MAX + 1);
	ck_assert_int_eq(send(other, frame, 60, 0), 60);
	ck_assert_uint_eq(net_receive(&net, got), 60);
	ck_assert_uint_eq(net.dropped, 1);
	fd_close(&other);
	ck_assert_uint_eq(net_receive(&net, got), 0);
	ck_assert_int_eq(net.fd, -1);
	net_send(&net, frame, 60);
	ck_assert_uint_eq(net.dropped, 2);
}
END_TEST

/* However the stream is cut. */
START_TEST(stream_in)
{
	static uint8_t stream[1 << 16];
	uint8_t frame[NET_FRAME_MAX], got[NET_FRAME_MAX];
	size_t used = 0, count = 0, lengths[100];
	static const size_t pieces[] = { 1, 3, 7, 1000, 1 << 16 };

	start_stream();
	for (size_t length = 1; length <= NET_FRAME_MAX; length += 61) {
		/* Between them some that are too long, or nothing at all. */
		size_t bad = count % 3 == 0 ? 0 : 2000 * (count % 3);

		stream[used] = stream[used + 1] = 0;
		stream[used + 2] = (uint8_t)(bad >> 8);
		stream[used + 3] = (uint8_t)bad;
		memset(stream + used + 4, 0xEE, bad);
		used += 4 + bad;
		fill_frame(frame, length);
		stream[used] = stream[used + 1] = 0;
		stream[used + 2] = (uint8_t)(length >> 8);
		stream[used + 3] = (uint8_t)length;
		memcpy(stream + used + 4, frame, length);
		used += 4 + length;
		lengths[count++] = length;
		if (used > sizeof(stream) - 8000)
			break;
	}
	size_t next = 0;

	for (size_t at = 0; at < used; at += pieces[_i]) {
		size_t part = used - at < pieces[_i] ? used - at : pieces[_i];
		size_t length;

		ck_assert_int_eq(send(other, stream + at, part, 0), (ssize_t)part);
		while ((length = net_receive(&net, got)) > 0) {
			ck_assert_uint_eq(length, lengths[next++]);
			fill_frame(frame, length);
			ck_assert_mem_eq(got, frame, length);
		}
	}
	ck_assert_uint_eq(next, count);
	ck_assert_uint_eq(net.dropped, count);
}
END_TEST

START_TEST(stream_out)
{
	enum { WHOLE = 1004 };
	uint8_t frame[1000], got[NET_FRAME_MAX], none[NET_FRAME_MAX];
	unsigned sent = 0, arrived = 0;

	start_stream();
	fill_frame(frame, sizeof(frame));
	/* Nobody reads: it is dropped by and by, but no frame is cut. */
	while (net.dropped == 0) {
		net_send(&net, frame, sizeof(frame));
		sent++;
	}
	for (;;) {
		size_t have = 0;

		while (have < WHOLE) {
			ssize_t part = recv(other, got + have, WHOLE - have, MSG_DONTWAIT);

			if (part <= 0) {
				(void)net_receive(&net, none);
				part = recv(other, got + have, WHOLE - have, MSG_DONTWAIT);
			}
			if (part <= 0)
				break;
			have += (size_t)part;
		}
		if (have == 0)
			break;
		ck_assert_uint_eq(have, WHOLE);
		ck_assert_int_eq(got[2] << 8 | got[3], 1000);
		ck_assert_mem_eq(got + 4, frame, sizeof(frame));
		arrived++;
	}
	ck_assert_uint_eq(arrived, sent - 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("net");
	TCase *tests = tcase_create("backend");

	tcase_add_checked_fixture(tests, NULL, stop);
	tcase_add_test(tests, words);
	tcase_add_test(tests, packets);
	tcase_add_loop_test(tests, stream_in, 0, 5);
	tcase_add_test(tests, stream_out);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
