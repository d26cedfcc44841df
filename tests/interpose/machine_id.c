/* The machine's identity is what the file $MACHINE_ID says; none where that is not there. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int open(const char *path, int flags, ...)
{
	const char *other = getenv("MACHINE_ID");
	mode_t mode = 0;
	va_list arguments;

	va_start(arguments, flags);
	if (flags & (O_CREAT | O_TMPFILE))
		mode = va_arg(arguments, mode_t);
	va_end(arguments);
	if (other != NULL && strcmp(path, "/etc/machine-id") == 0)
		path = other;
	/* the same by the name that is not taken here */
	return open64(path, flags, mode);
}
