/* /proc/sys/net/ipv4/udp_mem is what the file $UDP_MEM says; the kernel shows its own in no network
 * namespace but the first one, and setting it would change the machine. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int open(const char *path, int flags, ...)
{
	const char *other = getenv("UDP_MEM");
	mode_t mode = 0;
	va_list arguments;

	va_start(arguments, flags);
	if (flags & (O_CREAT | O_TMPFILE))
		mode = va_arg(arguments, mode_t);
	va_end(arguments);
	if (other != NULL && strcmp(path, "/proc/sys/net/ipv4/udp_mem") == 0)
		path = other;
	/* the same by the name that is not taken here */
	return open64(path, flags, mode);
}
