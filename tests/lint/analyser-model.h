/*
 * What clang's analyser cannot know, because it looks at one file at a time: fail() always gives a failure,
 * and in_context() gives one exactly when it was given one. Included before each file by tests/lint/clang-tidy.
 */
#ifndef TERCET_TESTS_LINT_ANALYSER_MODEL_H
#define TERCET_TESTS_LINT_ANALYSER_MODEL_H

#include "base/result.h"

#ifndef ANALYSER_MODEL_OFF /* for base/result.c, which defines them */

__attribute__((unused)) must_check static inline result model_failure(result r)
{
	if (!r.failure)
		__builtin_unreachable();
	return r;
}

__attribute__((unused)) must_check printf_like(2, 3) static inline result
	model_context(result r, const char *format, ...)
{
	(void)format;
	return r;
}

#ifndef fail
#define fail(...) model_failure(fail(__VA_ARGS__))
#endif
#ifndef fail_errno
#define fail_errno(...) model_failure(fail_errno(__VA_ARGS__))
#endif
#define in_context(...) model_context(__VA_ARGS__)

#endif
#endif
