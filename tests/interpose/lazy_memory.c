/* There is no memory to be mapped lazily (MAP_NORESERVE) while the file $LAZY_MEMORY_FAULT is
 * there. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
	const char *path = (flags & MAP_NORESERVE) ? getenv("LAZY_MEMORY_FAULT") : NULL;
	int saved = errno;

	if (path != NULL && access(path, F_OK) == 0) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	errno = saved;
	/* the same by the name that is not taken here */
	return mmap64(address, size, protection, flags, fd, offset);
}
