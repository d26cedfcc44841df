/*
 * Sends datagrams of one kind at a fixed rate for a fixed time, from one socket, one by one (no
 * segmentation offload, so the receiver cannot take them for one message).
 *
 *     flood ADDRESS PORT control|malformed PER-SECOND SECONDS
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, SIZE = 40, MAX_RATE = 1000000, MAX_SECONDS = 600 };

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static unsigned long number(const char *text, unsigned long most)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text == '\0' || *end != '\0' || value == 0 || value > most)
		errx(2, "a number from 1 to %lu is needed, not '%s'", most, text);
	return value;
}

static int connected_socket(const char *address, const char *port)
{
	struct sockaddr_in name = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	name.sin_port = htons((uint16_t)number(port, 65535));
	if (inet_pton(AF_INET, address, &name.sin_addr) != 1)
		errx(2, "an IPv4 address is needed, not '%s'", address);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&name, sizeof(name)) < 0)
		err(1, "cannot connect a socket");
	return fd;
}

/* Rule W3 with a header that is right and a type that nobody knows, or rule W4: an offset beyond
 * the end. */
static void make_payload(uint8_t *payload, const char *kind)
{
	const uint8_t control[20] = {0x55, 0x45, 1, 255, [15] = SIZE};

	memset(payload, 0, SIZE);
	if (strcmp(kind, "control") == 0)
		memcpy(payload, control, sizeof(control));
	else if (strcmp(kind, "malformed") == 0)
		payload[12] = 0xf0;
	else
		errx(2, "the kind is control or malformed, not '%s'", kind);
}

static uint64_t flood(int fd, struct iovec *payload, uint64_t rate, uint64_t seconds)
{
	struct mmsghdr messages[BATCH];
	uint64_t start = now(), sent = 0, total = rate * seconds;

	memset(messages, 0, sizeof(messages));
	for (size_t i = 0; i < BATCH; i++) {
		messages[i].msg_hdr.msg_iov = payload;
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	while (sent < total && now() - start < (seconds + 1) * 1000000000u) {
		uint64_t due = (now() - start) * rate / 1000000000u;
		uint64_t count = due > sent ? due - sent : 0;
		int done;

		if (count < BATCH / 4) {
			usleep(100);
			continue;
		}
		done = sendmmsg(fd, messages, count < BATCH ? (unsigned)count : BATCH, 0);
		if (done < 0 && errno != ECONNREFUSED && errno != ENOBUFS && errno != EINTR)
			err(1, "cannot send");
		sent += done > 0 ? (uint64_t)done : 0;
	}
	return sent;
}

int main(int argc, char **argv)
{
	uint8_t bytes[SIZE];
	struct iovec payload = {bytes, sizeof(bytes)};

	if (argc != 6)
		errx(2, "usage: flood ADDRESS PORT control|malformed PER-SECOND SECONDS");
	make_payload(bytes, argv[3]);
	printf("%llu sent\n",
	       (unsigned long long)flood(connected_socket(argv[1], argv[2]), &payload,
					 number(argv[4], MAX_RATE), number(argv[5], MAX_SECONDS)));
	return 0;
}
