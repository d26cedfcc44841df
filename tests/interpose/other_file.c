/* What the program opens by the name $OPENED is the file $OPENED_INSTEAD; none where that is not
 * there. For what a test cannot change: the machine's identity, or a bound that is the kernel's. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int open(const char *path, int flags, ...)
{
	const char *name = getenv("OPENED"), *other = getenv("OPENED_INSTEAD");
	mode_t mode = 0;
	va_list arguments;

	va_start(arguments, flags);
	if (flags & (O_CREAT | O_TMPFILE))
		mode = va_arg(arguments, mode_t);
	va_end(arguments);
	if (name != NULL && other != NULL && strcmp(path, name) == 0)
		path = other;
	/* the same by the name that is not taken here */
	return open64(path, flags, mode);
}
