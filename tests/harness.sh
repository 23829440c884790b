# shellcheck shell=bash
# A small library for test scripts in bash. To be sourced; a script looks like this:
#
#	root=$(cd "$(dirname "$0")/../.." && pwd)
#	. "$root/tests/harness.sh"
#	harness_begin "$@"
#	if test_case hello; then
#		expect_status 0 build/tercet run --payload build/payloads/hello
#		expect_contains stdout "hello"
#	fi
#	test_case lab-only && skip lab-only "no nested SVM on this host"
#	harness_end
#
# The script gets the arguments --only NAME (one case alone; may be repeated) and --list. It runs from the
# repository's root. Each case has a folder of its own, $case_dir, removed when the case passes and kept when it
# fails. Names of files in expectations are looked up in $case_dir first. The closing line is
# "N passed, N failed, N skipped"; the exit status 0 if none failed, 1 otherwise.
#
# Without a selected case `test_case` is false and every expectation does nothing, so `if` is not needed.

harness_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || exit 1
harness_script=$0
harness_only=()
harness_list=0
harness_case=
harness_active=0
harness_bad=0
harness_passed=0
harness_failed=0
harness_skipped=0
harness_ended=0
# Where the case folders are made.
harness_work=${HARNESS_WORK:-$harness_root/build/check/work}
# Seconds after which expect_status ends its command, with status 124.
expect_limit=${EXPECT_LIMIT:-120}
case_dir=

harness_begin() {
	cd "$harness_root" || exit 1
	while [ $# -gt 0 ]; do
		case $1 in
		--list) harness_list=1 ;;
		--only)
			[ $# -ge 2 ] || { echo "$harness_script: --only needs a case's name" >&2; exit 2; }
			harness_only+=("$2")
			shift
			;;
		*)
			echo "$harness_script: unknown argument '$1' (--only NAME, --list)" >&2
			exit 2
			;;
		esac
		shift
	done
	mkdir -p "$harness_work" || exit 1
	# A script that dies half-way must not look like one that passed.
	trap 'harness_exit $?' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

harness_close_case() {
	[ $harness_active = 1 ] || return 0
	if [ $harness_bad -gt 0 ]; then
		harness_failed=$((harness_failed + 1))
		echo "FAILED $harness_case (its files: $case_dir)"
		echo "       to run it again: $harness_script --only $harness_case"
	else
		harness_passed=$((harness_passed + 1))
		echo "ok   $harness_case"
		rm -rf "$case_dir"
	fi
	harness_active=0
}

# test_case NAME: begins a case and closes the one before. False when the case is not selected.
test_case() {
	harness_close_case
	harness_case=$1
	local wanted
	if [ $harness_list = 1 ]; then
		echo "$1"
		return 1
	fi
	if [ ${#harness_only[@]} -gt 0 ]; then
		for wanted in "${harness_only[@]}"; do
			[ "$wanted" = "$1" ] && break
		done
		[ "$wanted" = "$1" ] || return 1
	fi
	case_dir=$(mktemp -d "$harness_work/${1//[^A-Za-z0-9_.-]/_}.XXXXXX") || exit 1
	harness_bad=0
	harness_active=1
}

# skip NAME REASON: the case at hand is not run, for this reason.
skip() {
	[ $harness_active = 1 ] || return 0
	harness_skipped=$((harness_skipped + 1))
	harness_active=0
	rm -rf "$case_dir"
	echo "skip $1: $2"
}

# fail_case MESSAGE: the case at hand failed. Later expectations are still looked at.
fail_case() {
	[ $harness_active = 1 ] || return 0
	harness_bad=$((harness_bad + 1))
	printf '     %s: %s\n' "$harness_case" "$1"
}

harness_file() {
	if [ -e "$case_dir/$1" ]; then
		printf '%s' "$case_dir/$1"
	else
		printf '%s' "$1"
	fi
}

harness_show() { # the end of a file, indented
	tail -n 15 "$1" 2>/dev/null | sed 's/^/       | /'
}

# expect_status STATUS COMMAND...: runs the command with its output in $case_dir/stdout and stderr, and its
# standard input from $case_dir/stdin if there is one. False when the status differs.
expect_status() {
	[ $harness_active = 1 ] || return 0
	local wanted=$1 input=/dev/null status
	shift
	[ -e "$case_dir/stdin" ] && input=$case_dir/stdin
	printf '%q ' "$@" >"$case_dir/command"
	timeout -k 10 "$expect_limit" "$@" <"$input" >"$case_dir/stdout" 2>"$case_dir/stderr"
	status=$?
	[ $status -eq "$wanted" ] && return 0
	fail_case "exit status $status, not $wanted: $(cat "$case_dir/command")"
	[ $status -eq 124 ] && echo "       (ended after $expect_limit s)"
	harness_show "$case_dir/stderr"
	return 1
}

# expect_contains FILE TEXT, expect_lacks FILE TEXT: fixed strings, within one line.
expect_contains() {
	[ $harness_active = 1 ] || return 0
	local file
	file=$(harness_file "$1")
	[ -r "$file" ] && grep -aqF -e "$2" "$file" && return 0
	fail_case "$1 does not contain '$2'; it ends with:"
	harness_show "$file"
	return 1
}

expect_lacks() {
	[ $harness_active = 1 ] || return 0
	local file
	file=$(harness_file "$1")
	if [ ! -r "$file" ]; then
		fail_case "$1 cannot be read"
		return 1
	fi
	grep -aqF -e "$2" "$file" || return 0
	fail_case "$1 contains '$2'"
	return 1
}

# expect_same FILE FILE: equal byte for byte.
expect_same() {
	[ $harness_active = 1 ] || return 0
	local difference
	difference=$(cmp "$(harness_file "$1")" "$(harness_file "$2")" 2>&1) && return 0
	fail_case "$1 and $2 differ: $difference"
	return 1
}

# expect_equal WHAT GOT WANTED: two strings.
expect_equal() {
	[ $harness_active = 1 ] || return 0
	[ "$2" = "$3" ] && return 0
	fail_case "$1 is '$2', not '$3'"
	return 1
}

# expect_json FILE EXPRESSION: a Python expression over `j`, the parsed file, is true.
expect_json() {
	[ $harness_active = 1 ] || return 0
	local file got
	file=$(harness_file "$1")
	got=$(python3 -c '
import json, sys
j = json.load(open(sys.argv[1]))
print("yes" if eval(sys.argv[2]) else "no")' "$file" "$2" 2>&1)
	[ "$got" = yes ] && return 0
	fail_case "$1: not true: $2$([ "$got" = no ] || printf ' (%s)' "$(tail -n 1 <<<"$got")")"
	return 1
}

harness_exit() {
	local status=$1
	if [ $harness_ended = 0 ] && [ $harness_list = 0 ]; then
		# Not through harness_end: whatever case was running did not end well.
		if [ $harness_active = 1 ]; then
			fail_case "the script ended within this case, with status $status"
			harness_close_case
		else
			harness_failed=$((harness_failed + 1))
			echo "FAILED the script ended early, with status $status"
		fi
		echo "$harness_passed passed, $harness_failed failed, $harness_skipped skipped"
		trap - EXIT
		exit 1
	fi
}

# Closes the last case, prints the closing line and exits.
harness_end() {
	harness_close_case
	harness_ended=1
	[ $harness_list = 1 ] && exit 0
	if [ ${#harness_only[@]} -gt 0 ] && [ $((harness_passed + harness_failed + harness_skipped)) -eq 0 ]; then
		echo "$harness_script: no case is called '${harness_only[*]}'" >&2
		exit 2
	fi
	echo "$harness_passed passed, $harness_failed failed, $harness_skipped skipped"
	[ $harness_failed -eq 0 ]
	exit
}
