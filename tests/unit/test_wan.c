/* The bound device: another one means new sockets, for all workers or for none. */
#include "control/wan.h"

#include "base/rcu.h"
#include "base/socket_address.h"
#include "random_traffic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { WORKERS = 2, NEVER_AN_IFINDEX = 999999 };

struct scene {
	event_loop *loop;
	struct exchange exchange;
	struct expiry expiry;      /* without sockets */
	struct kernel_drops drops; /* likewise */
	struct wan wan;
	unsigned looks;
	unsigned told; /* of first sockets */
};

static struct scene scene;

static void count_look(void *state)
{
	(void)state;
	scene.looks++;
	event_loop_stop(scene.loop);
}

/* A port that nobody has now. */
static uint16_t free_port(void)
{
	const struct transport_address any = {ip_address_from_ipv4(htonl(INADDR_ANY)), 0};
	struct socket_address name;
	socklen_t length = socket_address_make(&name, &any);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, &name.any, length), 0);
	assert_int_equal(getsockname(fd, &name.any, &length), 0);
	close(fd);
	return ntohs(name.ipv4.sin_port);
}

static void count_told(void *state, int socket)
{
	(void)state;
	assert_true(socket >= 0);
	scene.told++;
}

/* The workers' sockets were bound to a device of another ifindex than the one that is there. */
static int begin(void **state)
{
	const struct wan_settings settings = {
		.sockets = {.device = "lo", .port = free_port()},
		.exchange = &scene.exchange,
		.expiry = &scene.expiry,
		.drops = &scene.drops,
		.ifindex = NEVER_AN_IFINDEX,
	};

	(void)state;
	memset(&scene, 0, sizeof(scene));
	rcu_thread_register();
	scene.loop = event_loop_create();
	if (scene.loop == NULL || exchange_open(&scene.exchange, WORKERS) < 0)
		return -1;
	wan_start(&scene.wan, scene.loop, &settings, count_look, NULL);
	return 0;
}

static int end(void **state)
{
	(void)state;
	wan_close(&scene.wan);
	exchange_close(&scene.exchange);
	event_loop_destroy(scene.loop);
	rcu_thread_unregister();
	return 0;
}

static uint32_t look(void)
{
	struct trouble trouble = {0};
	uint32_t mtu = wan_look(&scene.wan, &trouble);

	assert_null(trouble.what);
	return mtu;
}

static struct ring *ring_of(size_t worker)
{
	return &scene.exchange.channels[worker].to_worker;
}

static void all_workers_get_sockets(void **state)
{
	(void)state;
	assert_int_not_equal(look(), 0);
	for (size_t i = 0; i < WORKERS; i++)
		assert_int_equal(ring_waiting(ring_of(i)), 1);
	/* once */
	assert_int_not_equal(look(), 0);
	assert_int_equal(ring_waiting(ring_of(0)), 1);
	assert_false(event_timer_is_started(&scene.wan.retry));
}

/* A worker that took nothing yet keeps the others from theirs: on one port all join or none. */
static void a_full_ring_is_tried_again(void **state)
{
	const struct socket_record nothing = {-1, -1};
	struct ring *full = ring_of(WORKERS - 1);

	(void)state;
	while (channel_give_sockets(&scene.exchange.channels[WORKERS - 1], &nothing))
		;
	assert_int_not_equal(look(), 0);
	assert_int_equal(ring_waiting(ring_of(0)), 0);
	/* another word of a change in the meantime is no reason to try */
	while (ring_front(full) != NULL)
		ring_pop(full);
	assert_int_not_equal(look(), 0);
	assert_int_equal(ring_waiting(ring_of(0)), 0);
	/* the timer is */
	assert_true(event_loop_run(scene.loop));
	assert_int_equal(scene.looks, 1);
	assert_int_not_equal(look(), 0);
	for (size_t i = 0; i < WORKERS; i++)
		assert_int_equal(ring_waiting(ring_of(i)), 1);
}

/* As a worker does, and closes them. */
static void take_sockets(struct ring *ring)
{
	const struct socket_record *record = ring_front(ring);

	assert_non_null(record);
	close(record->socket);
	close(record->path_mtu_socket);
	ring_pop(ring);
}

/* The first sockets of a device that was awaited are told of, later ones are not. */
static void an_awaited_device_comes(void **state)
{
	(void)state;
	scene.wan.is_awaited = true;
	scene.wan.settings.has_sockets = count_told;
	for (unsigned turn = 0; turn < 2; turn++) {
		assert_int_not_equal(look(), 0);
		assert_int_equal(scene.told, 1);
		for (size_t i = 0; i < WORKERS; i++)
			take_sockets(ring_of(i));
		scene.wan.ifindex = NEVER_AN_IFINDEX;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_workers_get_sockets, begin, end),
		cmocka_unit_test_setup_teardown(an_awaited_device_comes, begin, end),
		cmocka_unit_test_setup_teardown(a_full_ring_is_tried_again, begin, end),
	};

	return report_seed(cmocka_run_group_tests_name("bound device", tests, NULL, NULL));
}
