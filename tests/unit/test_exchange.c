/* The exchange: what it opens it closes, sockets on their way too. */
#include "exchange/exchange.h"

#include "random_traffic.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

static unsigned open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(directory);
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count;
}

static struct socket_record two_sockets(void)
{
	return (struct socket_record){eventfd(0, 0), eventfd(0, 0)};
}

static void what_is_opened_is_closed(void **state)
{
	unsigned before = open_descriptors();
	struct exchange exchange = {.channel_count = 0};

	(void)state;
	exchange_close(&exchange);
	assert_int_equal(exchange_open(&exchange, 3), 0);
	assert_int_equal(exchange.channel_count, 3);
	assert_true(open_descriptors() > before);
	exchange_close(&exchange);
	assert_int_equal(open_descriptors(), before);
	assert_int_equal(exchange_open(&exchange, 1), 0);
	exchange_close(&exchange);
	assert_int_equal(open_descriptors(), before);
}

static void a_worker_gets_its_sockets(void **state)
{
	struct exchange exchange = {.channel_count = 0};
	struct socket_record sockets = two_sockets();
	const struct socket_record *record;
	struct ring *ring;

	(void)state;
	assert_int_equal(exchange_open(&exchange, 2), 0);
	ring = &exchange.channels[1].to_worker;
	assert_null(ring_front(ring));
	assert_true(channel_give_sockets(&exchange.channels[1], &sockets));
	ring_answer(ring);
	record = ring_front(ring);
	assert_non_null(record);
	assert_int_equal(record->socket, sockets.socket);
	assert_int_equal(record->path_mtu_socket, sockets.path_mtu_socket);
	ring_pop(ring);
	assert_null(ring_front(ring));
	assert_null(ring_front(&exchange.channels[0].to_worker));
	exchange_close(&exchange);
	/* they are the worker's */
	assert_int_equal(close(sockets.socket), 0);
	assert_int_equal(close(sockets.path_mtu_socket), 0);
}

static void sockets_that_nobody_took_are_closed(void **state)
{
	unsigned before = open_descriptors(), given = 0;
	struct exchange exchange = {.channel_count = 0};
	struct socket_record sockets = two_sockets();

	(void)state;
	assert_int_equal(exchange_open(&exchange, 1), 0);
	while (channel_give_sockets(&exchange.channels[0], &sockets)) {
		assert_in_range(++given, 1, 100);
		sockets = two_sockets();
	}
	assert_in_range(given, 1, 100);
	/* what was not taken over is the caller's */
	close(sockets.socket);
	close(sockets.path_mtu_socket);
	exchange_close(&exchange);
	assert_int_equal(open_descriptors(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_opened_is_closed),
		cmocka_unit_test(a_worker_gets_its_sockets),
		cmocka_unit_test(sockets_that_nobody_took_are_closed),
	};

	return report_seed(cmocka_run_group_tests_name("exchange", tests, NULL, NULL));
}
