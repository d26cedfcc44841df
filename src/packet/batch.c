/* The batch of messages; see batch.h. */
#include "packet/batch.h"

void outbound_batch_clear(struct outbound_batch *batch, size_t max_message_segments)
{
	batch->message_count = 0;
	batch->segment_count = 0;
	batch->iov_count = 0;
	batch->max_message_segments = max_message_segments;
	batch->segments[0].first_iov = 0;
}
