/*
 * One result type for everything that can fail.
 *
 * A `result` cannot be mixed with int or bool, and a caller that drops one does not compile (every
 * function that returns it is declared `must_check`). A failure carries a sentence for the user that
 * says what failed, on what, and what to do, and the exit status that tercet(1) documents for it.
 */
#ifndef TERCET_BASE_RESULT_H
#define TERCET_BASE_RESULT_H

#include <stdbool.h>
#include <stddef.h>

#define must_check __attribute__((warn_unused_result))
#define printf_like(format_index, first_argument) \
	__attribute__((format(printf, format_index, first_argument)))

/* Exit statuses of tercet(1); documented there and in README.md. */
enum status {
	STATUS_OK = 0,          /* the guest powered off, or the command did its work */
	STATUS_FAILED = 1,      /* an error of the host or of tercet itself */
	STATUS_USAGE = 2,       /* the command line cannot be understood */
	STATUS_INPUT = 3,       /* a file that was named is missing, damaged or does not fit */
	STATUS_HOST = 4,        /* the host cannot do what was asked (KVM, nested virtualisation) */
	STATUS_NO_MAJORITY = 5, /* replicas differ and no majority is left: the machine was stopped */
	STATUS_GUEST = 6,       /* the guest crashed, or ended itself with an error */
};

struct failure {
	enum status status;
	char message[1024];
};

/* NULL inside means success. The failure lives until the next `fail` of the same thread. */
typedef struct result {
	const struct failure *failure;
} result;

#define OK ((result){ .failure = NULL })

static inline bool failed(result r)
{
	return r.failure != NULL;
}

/* What `fail` and `fail_errno` are made of; never NULL, which a compiler must know to follow `failed`. */
must_check printf_like(2, 3) __attribute__((returns_nonnull)) const struct failure *
failure_make(enum status status, const char *format, ...);
must_check printf_like(3, 4) __attribute__((returns_nonnull)) const struct failure *
failure_make_errno(enum status status, int error, const char *format, ...);

/* fail(status, format, ...): a failure with a printf-like message (no newline, no full stop at its end). */
#define fail(...) ((result){ .failure = failure_make(__VA_ARGS__) })

/* fail_errno(status, error, format, ...): likewise, with ": " and the text of errno `error` behind it. */
#define fail_errno(...) ((result){ .failure = failure_make_errno(__VA_ARGS__) })

/* Puts "context: " before the message of a failure; success passes unchanged. */
must_check printf_like(2, 3) result in_context(result r, const char *format, ...);

/* Leaves the calling function with the failure of `expression`, if it has one. */
#define TRY(expression)                         \
	do {                                    \
		result try_ = (expression);     \
		if (failed(try_))               \
			return try_;            \
	} while (0)

/* Invariants: on in every build. `condition` must have no side effect. */
#define invariant(condition)                                               \
	do {                                                               \
		if (__builtin_expect(!(condition), 0))                     \
			invariant_failed(#condition, __FILE__, __LINE__);  \
	} while (0)

__attribute__((noreturn)) void invariant_failed(const char *condition, const char *file, int line);

/* Number of elements; does not compile for a pointer. */
#define ARRAY_SIZE(a)                                                              \
	(sizeof(a) / sizeof((a)[0]) +                                              \
	 0 * sizeof(struct {                                                       \
		 int not_an_array : __builtin_types_compatible_p(__typeof__(a),    \
								 __typeof__(&(a)[0])) \
					    ? -1                                   \
					    : 1;                                   \
	 }))

#endif
