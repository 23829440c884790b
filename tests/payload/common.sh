# shellcheck shell=bash disable=SC2154,SC2034
# What the tests on /dev/kvm share. To be sourced after tests/harness.sh.
# TERCET (build/tercet) and PAYLOADS (build/payloads) are what is tested; TIME_SCALE (1) multiplies time limits that a
# slower build needs.
tercet=${TERCET:-build/tercet}
payloads=${PAYLOADS:-build/payloads}
time_scale=${TIME_SCALE:-1}

case $tercet in /*) ;; *) tercet=$harness_root/$tercet ;; esac
case $payloads in /*) ;; *) payloads=$harness_root/$payloads ;; esac

kvm_usable() {
	[ -r /dev/kvm ] && [ -w /dev/kvm ] && "$tercet" doctor >/dev/null 2>&1
}

# wanted_output FILE PAYLOAD MEBIBYTES ARGUMENT...: what the payload has to print, from outside of any virtual machine.
wanted_output() {
	local file=$1 payload=$2 mebibytes=$3
	shift 3
	"$payloads/native/$payload" ram="$mebibytes" "$@" >"$file"
}

# Every process that a case starts carries a mark in its environment, so that what is left of it can be told from
# what others run.
case_mark() {
	printf 'TERCET_TEST_CASE=%s' "${case_dir##*/}"
}

marked_processes() {
	grep -lzxF "$(case_mark)" /proc/[0-9]*/environ 2>/dev/null | cut -d / -f 3
}

# replicas_of PID: the processes of a supervisor's replicas, in the order in which they were started. Its other child is
# the one that starts them.
replicas_of() {
	local child
	for child in $(cat "/proc/$1/task/$1/children"); do
		! grep -aq '^tercet-replica' "/proc/$child/cmdline" || echo "$child"
	done
}

# marked COMMAND... &: becomes the command, with the case's mark and in an empty folder of the case's own.
marked() {
	mkdir -p "$case_dir/cwd"
	exec env -C "$case_dir/cwd" "$(case_mark)" "$@"
}

shared_files() {
	find /tmp /dev/shm -maxdepth 1 -iname '*tercet*' ! -type d 2>/dev/null | sort
}

# nothing_left: no process with the mark (some get a moment to go) and no file where the program might leave one.
nothing_left() {
	[ $harness_active = 1 ] || return 0
	local left tries
	for ((tries = 0; tries < 30; tries++)); do
		left=$(marked_processes)
		[ -z "$left" ] && break
		sleep 0.1
	done
	expect_equal "what still runs" "$left" ""
	[ -d "$case_dir/cwd" ] && expect_equal "what is left in the working folder" "$(ls -A "$case_dir/cwd")" ""
	expect_equal "what is left in /tmp and /dev/shm" \
		"$(comm -13 <(printf '%s\n' "$shared_before") <(shared_files))" ""
}

# expect_prefix FILE WANTED: FILE is as much of WANTED as there is of it.
expect_prefix() {
	[ $harness_active = 1 ] || return 0
	local file wanted
	file=$(harness_file "$1") wanted=$(harness_file "$2")
	cmp -n "$(stat -c %s "$file")" "$file" "$wanted" >/dev/null 2>&1 &&
		[ "$(stat -c %s "$file")" -le "$(stat -c %s "$wanted")" ] && return 0
	fail_case "$1 is not a prefix of $2: $(cmp "$file" "$wanted" 2>&1)"
	return 1
}

shared_before=$(shared_files)
