/*
 * What clang's analyser does not know of base/result.h: that fail() always gives a failure (it does not look at
 * returns_nonnull), and that in_context(), which lies in another file, gives one exactly when it was given one.
 * Included before each file by tests/lint/clang-tidy.
 */
#ifndef TERCET_TESTS_LINT_ANALYSER_MODEL_H
#define TERCET_TESTS_LINT_ANALYSER_MODEL_H

#include "base/result.h"

#ifndef ANALYSER_MODEL_OFF /* for base/result.c, which defines them */

__attribute__((unused)) must_check static inline result model_failure(const struct failure *failure)
{
	if (!failure)
		__builtin_unreachable();
	return (result){ .failure = failure };
}

__attribute__((unused)) must_check printf_like(2, 3) static inline result
	model_context(result r, const char *format, ...)
{
	(void)format;
	return r;
}

#undef fail
#undef fail_errno
#define fail(...) model_failure(failure_make(__VA_ARGS__))
#define fail_errno(...) model_failure(failure_make_errno(__VA_ARGS__))
#define in_context(...) model_context(__VA_ARGS__)

#endif
#endif
