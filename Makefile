# make                    builds build/udp-encap-tun
# make unit               builds and runs the unit tests
# make unit-threads       those of what threads share
# make interposers        builds the libraries with which tests make system calls fail
# make bench              builds what the measurements compare with
# make install            into $(DESTDIR)$(PREFIX)
# make WITH_JEMALLOC=no   without jemalloc, for machines whose page size its package does not fit
# make SANITIZE=yes       with AddressSanitizer and UndefinedBehaviorSanitizer, into build/sanitized
# make SANITIZE=thread    with ThreadSanitizer, into build/tsan; for the unit tests, with clang

CC ?= gcc
PREFIX ?= /usr/local
WITH_JEMALLOC ?= yes
SANITIZE ?= no
BUILD ?= build$(if $(filter yes,$(SANITIZE)),/sanitized)$(if $(filter thread,$(SANITIZE)),/tsan)

CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wpedantic -Wformat=2 -Wstrict-prototypes \
	-Wmissing-prototypes -Wold-style-definition -Wvla -Wcast-qual -Wundef
ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -pthread -Iinclude -Isrc $(WARNINGS) $(CFLAGS)
LIBRARIES := -lev -lurcu-qsbr -lurcu-cds -lurcu-common -lmnl -Wl,--as-needed -latomic -Wl,--no-as-needed

ifeq ($(SANITIZE),yes)
# the sanitizer brings an allocator of its own
ALL_CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
else ifeq ($(SANITIZE),thread)
ALL_CFLAGS += -fsanitize=thread -fno-omit-frame-pointer
else ifneq ($(SANITIZE),no)
$(error SANITIZE is yes, thread or no, not '$(SANITIZE)')
else ifeq ($(WITH_JEMALLOC),yes)
LIBRARIES += -ljemalloc
else ifneq ($(WITH_JEMALLOC),no)
$(error WITH_JEMALLOC is yes or no, not '$(WITH_JEMALLOC)')
endif

SOURCES := $(sort $(wildcard src/*.c src/*/*.c))
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
UNIT_TESTS := $(patsubst tests/unit/test_%.c,$(BUILD)/unit/test_%,$(wildcard tests/unit/test_*.c))
# without those that there are not
UNIT_THREADS := $(filter $(UNIT_TESTS),$(patsubst %,$(BUILD)/unit/test_%,\
	connection_store moving_peers provisional address_pool free_list ring notices))
INTERPOSERS := $(patsubst tests/interpose/%.c,$(BUILD)/interpose/%.so,$(wildcard tests/interpose/*.c))
UNIT_SHARED := $(patsubst %.c,$(BUILD)/%.o,$(filter-out tests/unit/test_%.c,$(wildcard tests/unit/*.c)))

.PHONY: all unit unit-build unit-threads interposers bench install clean
all: $(BUILD)/udp-encap-tun

$(BUILD)/udp-encap-tun: $(OBJECTS)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBRARIES)

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/unit/test_%: $(BUILD)/tests/unit/test_%.o $(UNIT_SHARED) $(filter-out $(BUILD)/src/main.o,$(OBJECTS))
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBRARIES)

$(BUILD)/minimal-loop: $(BUILD)/bench/minimal_loop.o $(BUILD)/src/packet/checksum.o
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^

$(BUILD)/bench/limit: $(BUILD)/bench/limit.o $(BUILD)/src/packet/checksum.o
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^

$(BUILD)/bench/flood: $(BUILD)/bench/flood.o
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^

$(BUILD)/bench/round-trips: $(BUILD)/bench/round_trips.o
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^

$(BUILD)/bench/store: \
		$(patsubst %,$(BUILD)/bench/%.o,store connection_store_table mutex_table crowd peers) \
		$(patsubst %.c,$(BUILD)/%.o,$(wildcard src/peers/*.c src/base/*.c))
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBRARIES)

$(BUILD)/bench/transforms: $(BUILD)/bench/transforms.o \
		$(patsubst %.c,$(BUILD)/%.o,$(wildcard src/packet/*.c))
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^

# without sanitizers, which would want to be loaded first
$(BUILD)/interpose/%.so: tests/interpose/%.c Makefile
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(WARNINGS) $(CFLAGS) -shared -fPIC -o $@ $< -ldl

interposers: $(INTERPOSERS)

bench: all $(BUILD)/minimal-loop $(BUILD)/bench/limit $(BUILD)/bench/round-trips $(BUILD)/bench/flood $(BUILD)/bench/store $(BUILD)/bench/transforms

unit-build: $(UNIT_TESTS) $(INTERPOSERS)

unit: $(UNIT_TESTS)
unit-threads: $(UNIT_THREADS)
unit unit-threads:
	@failed=0; for test in $^; do echo "== $$test"; $$test || failed=1; done; exit $$failed

install: $(BUILD)/udp-encap-tun
	install -D -m 755 $(BUILD)/udp-encap-tun $(DESTDIR)$(PREFIX)/sbin/udp-encap-tun
	install -D -m 644 doc/udp-encap-tun.8 $(DESTDIR)$(PREFIX)/share/man/man8/udp-encap-tun.8

clean:
	rm -rf build

.SECONDARY:
-include $(OBJECTS:.o=.d) $(wildcard $(BUILD)/tests/unit/*.d $(BUILD)/bench/*.d)
