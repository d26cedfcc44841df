/* Records; see records.h. */
#include "exchange/records.h"

void control_record_fill(struct control_record *record, const uint8_t *payload, size_t length,
			 const struct transport_address *source,
			 const struct ip_address *own_address, uint16_t own_port, uint16_t worker,
			 uint64_t nanoseconds)
{
	record->nanoseconds = nanoseconds;
	record->length = (uint32_t)length;
	record->worker = worker;
	record->own_port = own_port;
	record->source = *source;
	record->own_address = *own_address;
	memcpy(record->bytes, payload, control_record_available(record));
}
