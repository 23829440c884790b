/* QEMU's command line: what libvirt writes is understood, and what tercet cannot be is said. */
#include "tests/unit/fixture.h"

#include <stdio.h>
#include <string.h>

#include "manage/qemu_options.h"

enum { ARGUMENTS_MAX = 96 };

static struct qemu_options parsed;
static char *arguments[ARGUMENTS_MAX];
static int count;

static void add(const char *argument)
{
	ck_assert_int_lt(count, ARGUMENTS_MAX);
	arguments[count] = strdup(argument);
	ck_assert_ptr_nonnull(arguments[count]);
	count++;
}

/* Words up to a NULL. */
static void add_all(const char *const *words)
{
	for (; *words; words++)
		add(*words);
}

static void forget(void)
{
	qemu_options_free(&parsed);
	while (count > 0)
		free(arguments[--count]);
}

static result parse(void)
{
	return qemu_options_parse(count, arguments, &parsed);
}

/* What libvirt 9.0 of Debian 12 wrote for a domain with a disk, a network card, a log of its serial port, and
 * settings of ours. */
static const char *const recorded[] = {
	"/usr/bin/qemu-system-tercet",
	"-name",
	"guest=ls1,debug-threads=on",
	"-S",
	"-object",
	"secret,id=masterKey0,format=raw,file=/var/lib/libvirt/qemu/domain-1-ls1/master-key.aes",
	"-machine",
	"pc-i440fx-tercet-1.0,usb=off,dump-guest-core=off",
	"-accel",
	"kvm",
	"-cpu",
	"host,migratable=off",
	"-m",
	"256",
	"-overcommit",
	"mem-lock=off",
	"-smp",
	"1,sockets=1,cores=1,threads=1",
	"-uuid",
	"079056ae-2e84-4146-9f6f-e1ecf6bd833b",
	"-display",
	"none",
	"-no-user-config",
	"-nodefaults",
	"-chardev",
	"socket,id=charmonitor,fd=27,server=on,wait=off",
	"-mon",
	"chardev=charmonitor,id=monitor,mode=control",
	"-rtc",
	"base=utc",
	"-no-shutdown",
	"-no-acpi",
	"-boot",
	"strict=on",
	"-kernel",
	"/boot/vmlinuz",
	"-initrd",
	"/boot/initrd.img",
	"-append",
	"console=ttyS0 root=/dev/vda",
	"-fw_cfg",
	"name=opt/tercet/replicas,string=5",
	"-fw_cfg",
	"name=opt/tercet/pin,string=0,,2-3,,6,,7",
	"-usb",
	"-blockdev",
	"{\"driver\":\"file\",\"filename\":\"/"
	"a,b.img\",\"node-name\":\"libvirt-1-storage\",\"auto-read-only\":true,"
	"\"discard\":\"unmap\"}",
	"-blockdev",
	"{\"node-name\":\"libvirt-1-format\",\"read-only\":true,\"driver\":\"raw\",\"file\":\"libvirt-1-"
	"storage\"}",
	"-device",
	"virtio-blk-pci,bus=pci.0,addr=0x5,drive=libvirt-1-format,id=virtio-disk0,bootindex=1,serial=S1",
	"-netdev",
	"tap,fd=29,id=hostnet0,vhost=on,vhostfd=30",
	"-device",
	"virtio-net-pci,netdev=hostnet0,id=net0,mac=52:54:00:11:22:33,bus=pci.0,addr=0x3",
	"-add-fd",
	"set=0,fd=31,opaque=serial0-log",
	"-chardev",
	"pty,id=charserial0,logfile=/dev/fdset/0,logappend=on",
	"-device",
	"{\"driver\":\"isa-serial\",\"chardev\":\"charserial0\",\"id\":\"serial0\",\"index\":0}",
	"-audiodev",
	"{\"id\":\"audio1\",\"driver\":\"none\"}",
	"-device",
	"virtio-balloon-pci,id=balloon0,bus=pci.0,addr=0x6",
	"-object",
	"rng-random,id=objrng0,filename=/dev/urandom",
	"-device",
	"virtio-rng-pci,rng=objrng0,id=rng0,bus=pci.0,addr=0x4",
	"-tercet",
	"vote-interval=20ms,preempt-grace=1ms",
	"-sandbox",
	"on,obsolete=deny",
	"-msg",
	"timestamp=on",
	NULL,
};

START_TEST(what_libvirt_writes)
{
	const struct machine_options *machine = &parsed.machine;
	const uint8_t mac[] = { 0x52, 0x54, 0, 0x11, 0x22, 0x33 };

	add_all(recorded);
	result r = parse();

	ck_assert_msg(!failed(r), "%s", failed(r) ? r.failure->message : "");
	ck_assert_int_eq(parsed.role, QEMU_RUN);
	ck_assert_str_eq(machine->name, "ls1");
	ck_assert_int_eq(machine->kind, BOOT_LINUX);
	ck_assert_str_eq(machine->kernel, "/boot/vmlinuz");
	ck_assert_str_eq(machine->initrd, "/boot/initrd.img");
	ck_assert_str_eq(machine->command_line, "console=ttyS0 root=/dev/vda");
	ck_assert_uint_eq(machine->memory, 256u << 20);
	ck_assert_uint_eq(machine->replicas, 5);
	ck_assert_uint_eq(machine->vote_interval, 20000000);
	ck_assert_uint_eq(machine->preempt_grace, 1000000);
	ck_assert(machine->paused && machine->hold && !machine->no_reboot);
	ck_assert_str_eq(machine->console, "pty");
	ck_assert(machine->console_lossy);
	ck_assert_str_eq(machine->console_log, "fd:31");
	ck_assert_int_eq(parsed.monitor.fd, 27);
	ck_assert_str_eq(parsed.monitor.place, "none");
	ck_assert_str_eq(parsed.uuid, "079056ae-2e84-4146-9f6f-e1ecf6bd833b");
	/* On the bus in the order of their addresses. */
	ck_assert_uint_eq(machine->devices.count, 3);
	ck_assert_int_eq(machine->devices.device[0].kind, BOARD_PCI_NET);
	ck_assert_str_eq(machine->devices.device[0].place, "fd=29");
	ck_assert_mem_eq(machine->devices.device[0].mac, mac, sizeof(mac));
	ck_assert_int_eq(machine->devices.device[1].kind, BOARD_PCI_RNG);
	ck_assert_int_eq(machine->devices.device[2].kind, BOARD_PCI_DISK);
	ck_assert_str_eq(machine->devices.device[2].place, "/a,b.img");
	ck_assert(machine->devices.device[2].read_only);
	ck_assert_str_eq(machine->devices.device[2].serial, "S1");
	ck_assert_int_eq(json_integer_value(json_object_get(json_array_get(parsed.disks, 0), "device")), 2);
	forget();
}
END_TEST

START_TEST(the_probe)
{
	static const char *const line[] = {
		"qemu-system-tercet",
		"-S",
		"-no-user-config",
		"-nodefaults",
		"-nographic",
		"-machine",
		"none,accel=kvm:tcg",
		"-qmp",
		"unix:/tmp/a,,b/qmp.monitor,server=on,wait=off",
		"-pidfile",
		"/tmp/qmp.pid",
		"-daemonize",
		NULL,
	};

	add_all(line);
	ck_assert(!failed(parse()));
	ck_assert_int_eq(parsed.role, QEMU_PROBE);
	ck_assert_str_eq(parsed.monitor.place, "/tmp/a,b/qmp.monitor");
	ck_assert_str_eq(parsed.pid_file, "/tmp/qmp.pid");
	ck_assert(parsed.daemonize && parsed.kvm);
	forget();
}
END_TEST

/* The least that makes a machine, and one thing more. */
static void expect(const char *option, const char *value, const char *message)
{
	static const char *const least[] = { "qemu-system-tercet", "-kernel", "/k", NULL };

	add_all(least);
	add(option);
	if (value)
		add(value);
	result r = parse();

	if (message) {
		ck_assert_msg(failed(r), "%s %s is taken", option, value ? value : "");
		ck_assert_msg(strstr(r.failure->message, message) != NULL, "%s %s: \"%s\" has no \"%s\"",
			      option, value ? value : "", r.failure->message, message);
		ck_assert_int_eq(r.failure->status, STATUS_USAGE);
	} else {
		ck_assert_msg(!failed(r), "%s %s: %s", option, value ? value : "",
			      failed(r) ? r.failure->message : "");
	}
	forget();
}

START_TEST(bad_words)
{
	static const char *const bad[][3] = {
		{ "-frob", NULL, "-frob: this option of QEMU's is not supported" },
		{ "frob", NULL, "frob: this option" },
		{ "-m", NULL, "-m needs a value" },
		{ "-m", "1T1", "give a size" },
		{ "-m", "8", "-m 8" },
		{ "-m", "256,maxmem=512M", "\"maxmem\" is not supported" },
		{ "-smp", "2,sockets=2", "one virtual CPU" },
		{ "-smp", "1,maxcpus=4", "one virtual CPU" },
		{ "-machine", "q35", "there is no such machine" },
		{ "-machine", "pc,usb=on", "\"usb\" can only be off" },
		{ "-machine", "pc,memory-backend=pc.ram", "\"memory-backend\" is not supported" },
		{ "-accel", "tcg", "tercet needs KVM" },
		{ "-cpu", "EPYC", "processor model of its own" },
		{ "-rtc", "base=localtime", "shows UTC" },
		{ "-incoming", "defer", "cannot be migrated" },
		{ "-vnc", "127.0.0.1:0", "no display" },
		{ "-daemonize", NULL, "only with -machine none" },
		{ "-object", "memory-backend-memfd,id=m0,size=1", "no such thing" },
		{ "-object", "rng-random,id=r0,filename=/dev/hwrng", "/dev/urandom" },
		{ "-object", "rng-random", "it has no id" },
		{ "-device", "e1000,id=net0", "there is no such device" },
		{ "-device", "virtio-blk-pci,id=d0", "it has no drive" },
		{ "-device", "virtio-blk-pci,id=d0,drive=x", "there is no file below it" },
		{ "-device", "virtio-rng-pci,bus=pci.1", "there is no bus \"pci.1\"" },
		{ "-device", "virtio-rng-pci,addr=0x20", "the address \"0x20\"" },
		{ "-device", "virtio-rng-pci,addr=0", "the address \"0\"" },
		{ "-device", "virtio-rng-pci,addr=3.1", "the address \"3.1\"" },
		{ "-device", "virtio-rng-pci,rng=o", "there is no -object o" },
		{ "-device", "virtio-rng-pci,max-bytes=10", "<rate>" },
		{ "-device", "virtio-rng-pci,disable-modern=on", "\"disable-modern\" can only be off" },
		{ "-device", "virtio-rng-pci,frob=1", "\"frob\" is not supported" },
		{ "-device", "virtio-net-pci,netdev=n", "there is no -netdev n" },
		{ "-device", "isa-serial,chardev=c", "there is no chardev \"c\"" },
		{ "-device", "{\"driver\":\"virtio-rng-pci\"", "this is not JSON" },
		{ "-device", "{\"driver\":5}", "\"driver\" must be a text" },
		{ "-chardev", "pty", "give its kind and its id" },
		{ "-chardev", "pty,id=a,frob=1", "\"frob\" is not supported" },
		{ "-chardev", "pty,id=a,id=b", "\"id\" is given twice" },
		{ "-chardev", "pty,=a", "a value without a name" },
		{ "-mon", "chardev=c,mode=control", "there is no chardev \"c\"" },
		{ "-mon", "chardev=c,mode=readline", "\"mode\" can only be control" },
		{ "-fw_cfg", "name=opt/other,string=1", "has no fw_cfg device" },
		{ "-fw_cfg", "name=opt/tercet/replicas,string=4", "--replicas 4" },
		{ "-fw_cfg", "name=opt/tercet/frob,string=4", "there are replicas, vote-interval, " },
		{ "-fw_cfg", "name=opt/tercet/replicas,file=/x", "\"file\" is not supported" },
		{ "-fw_cfg", "name=opt/tercet/replicas", "string=VALUE" },
		{ "-tercet", "kernel=/x", "is no setting" },
		{ "-tercet", "vote-interval=1h", "--vote-interval 1h" },
		{ "-add-fd", "set=0", "set=NUMBER,fd=NUMBER" },
		{ "-qmp", "tcp:1.2.3.4:5", "unix:PATH" },
		{ "-tercet", "payload=yes", "payload yes: give on or off" },
		{ "-serial", "stdio", "-device isa-serial" },
		{ "-kernel", "/other", "one --kernel" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		expect(bad[i][0], bad[i][1], bad[i][2]);
}
END_TEST

START_TEST(good_words)
{
	static const char *const good[][2] = {
		{ "-m", "size=262144k" },
		{ "--no-reboot", NULL },
		{ "-machine", "tercet-1.0,accel=kvm" },
		{ "-machine", "type=tercet" },
		{ "-device", "virtio-rng-pci-non-transitional,addr=1f.0" },
		{ "-device", "piix3-usb-uhci,id=usb,bus=pci.0,addr=0x1.0x2" },
		{ "-tercet", "pin=0,,2,stats=/tmp/s.json,sandbox=off" },
		{ "-name", "a" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		expect(good[i][0], good[i][1], NULL);
}
END_TEST

/* Whole lines. */
static void expect_line(const char *const *line, const char *message)
{
	add_all(line);
	result r = parse();

	ck_assert(failed(r));
	ck_assert_msg(strstr(r.failure->message, message) != NULL, "\"%s\" has no \"%s\"", r.failure->message,
		      message);
	forget();
}

START_TEST(bad_wholes)
{
	static const char *const no_kernel[] = { "q", "-m", "256", NULL };
	static const char *const qcow[] = {
		"q",
		"-kernel",
		"/k",
		"-blockdev",
		"driver=qcow2,node-name=f,file=s",
		"-blockdev",
		"driver=file,node-name=s,filename=/x",
		"-device",
		"virtio-blk-pci,drive=f",
		NULL,
	};
	static const char *const loop[] = {
		"q",
		"-kernel",
		"/k",
		"-blockdev",
		"driver=raw,node-name=f,file=f",
		"-device",
		"virtio-blk-pci,drive=f",
		NULL,
	};
	static const char *const user[] = {
		"q", "-kernel", "/k", "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n", NULL,
	};
	static const char *const same_place[] = {
		"q",  "-kernel", "/k", "-device", "virtio-rng-pci,addr=3", "-device", "virtio-rng-pci,addr=0x3",
		NULL,
	};
	static const char *const too_many[] = {
		"q",
		"-kernel",
		"/k",
		"-device",
		"virtio-rng-pci",
		"-device",
		"virtio-rng-pci",
		"-device",
		"virtio-rng-pci",
		"-device",
		"virtio-rng-pci",
		"-device",
		"virtio-rng-pci",
		"-device",
		"virtio-rng-pci",
		"-device",
		"virtio-rng-pci",
		"-device",
		"virtio-rng-pci",
		"-device",
		"virtio-rng-pci",
		NULL,
	};
	static const char *const two_ports[] = {
		"q",
		"-kernel",
		"/k",
		"-chardev",
		"pty,id=a",
		"-device",
		"isa-serial,chardev=a",
		"-device",
		"isa-serial,chardev=a",
		NULL,
	};
	static const char *const no_set[] = {
		"q",
		"-kernel",
		"/k",
		"-chardev",
		"pty,id=a,logfile=/dev/fdset/7",
		"-device",
		"isa-serial,chardev=a",
		NULL,
	};
	static const char *const connects[] = {
		"q",  "-kernel", "/k", "-chardev", "socket,id=a,path=/x", "-device", "isa-serial,chardev=a",
		NULL,
	};
	static const char *const monitor_on_pty[] = {
		"q", "-kernel", "/k", "-chardev", "pty,id=a", "-mon", "chardev=a,mode=control", NULL,
	};

	expect_line(no_kernel, "there is no -kernel");
	expect_line(qcow, "\"qcow2\" is not supported");
	expect_line(loop, "there is no file below it");
	expect_line(user, "-netdev user: this is not supported");
	expect_line(same_place, "two devices have the address 0x3");
	expect_line(too_many, "at most 8 devices, not 9");
	expect_line(two_ports, "there is one serial port");
	expect_line(no_set, "there is no -add-fd for it");
	expect_line(connects, "the serial port listens");
	expect_line(monitor_on_pty, "must be a socket");
}
END_TEST

/* Where the serial port goes. */
START_TEST(serial_ports)
{
	static const char *const chardevs[][2] = {
		{ "null,id=c", "null" },
		{ "stdio,id=c,signal=off", "stdio" },
		{ "file,id=c,path=/var/log/a,,b", "file:/var/log/a,b" },
		{ "file,id=c,path=/var/log/a,append=on", "append:/var/log/a" },
		{ "file,id=c,path=/dev/fdset/3", "fd:33" },
		{ "socket,id=c,path=/run/s,server=on,wait=off", "unix:/run/s" },
		{ "socket,id=c,path=/run/s,server,nowait", "unix:/run/s" },
		{ "socket,id=c,fd=35,server=on,wait=off", "unix-fd:35" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(chardevs); i++) {
		const char *const line[] = {
			"q",
			"-kernel",
			"/k",
			"-add-fd",
			"set=3,fd=33",
			"-chardev",
			chardevs[i][0],
			"-device",
			"isa-serial,chardev=c",
			NULL,
		};

		add_all(line);
		result r = parse();

		ck_assert_msg(!failed(r), "%s: %s", chardevs[i][0], failed(r) ? r.failure->message : "");
		ck_assert_str_eq(parsed.machine.console, chardevs[i][1]);
		forget();
	}
}
END_TEST

/* A passt that libvirt started; and a name that tercet cannot use as it is. */
START_TEST(names_and_nets)
{
	static const char *const line[] = {
		"q",
		"-kernel",
		"/k",
		"-name",
		"guest=a b/c,,d",
		"-netdev",
		"stream,id=n,addr.type=unix,addr.path=/run/p.socket,server=off",
		"-device",
		"virtio-net-pci,netdev=n",
		NULL,
	};

	add_all(line);
	result r = parse();

	ck_assert_msg(!failed(r), "%s", failed(r) ? r.failure->message : "");
	ck_assert_str_eq(parsed.machine.name, "a_b_c_d");
	ck_assert_str_eq(parsed.machine.devices.device[0].place, "passt=/run/p.socket");
	/* Its own, and nobody's in particular. */
	ck_assert_uint_eq(parsed.machine.devices.device[0].mac[0] & 3, 2);
	forget();
}
END_TEST

/* Order is of no meaning. */
START_TEST(a_payload)
{
	static const char *const line[] = {
		"q", "-fw_cfg", "name=opt/tercet/payload,string=on", "-kernel", "/p", NULL,
	};
	static const char *const initrd[] = {
		"q", "-tercet", "payload=on", "-kernel", "/p", "-initrd", "/i", NULL,
	};

	add_all(line);
	ck_assert(!failed(parse()));
	ck_assert_int_eq(parsed.machine.kind, BOOT_PAYLOAD);
	ck_assert_str_eq(parsed.machine.kernel, "/p");
	forget();
	expect_line(initrd, "a payload takes no initrd");
	expect("-tercet", "payload=off", NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("qemu_options");
	TCase *tests = tcase_create("command line");

	tcase_add_test(tests, what_libvirt_writes);
	tcase_add_test(tests, the_probe);
	tcase_add_test(tests, bad_words);
	tcase_add_test(tests, good_words);
	tcase_add_test(tests, bad_wholes);
	tcase_add_test(tests, serial_ports);
	tcase_add_test(tests, names_and_nets);
	tcase_add_test(tests, a_payload);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
