/* Whether UDP segmentation works; see segmentation.h for the theory of operation. */
#include "io/segmentation.h"

#include "base/clock.h"

static bool is_recent(uint32_t time, uint32_t now)
{
	return seconds_since(time, now) < GSO_RETRY_SECONDS;
}

void segmentation_try_again_in_time(struct segmentation *segmentation, uint32_t now)
{
	if (!segmentation->is_given_up || is_recent(segmentation->given_up_at, now))
		return;
	segmentation->is_given_up = false;
	segmentation->is_on_trial = true;
}

bool segmentation_has_failed_lately(const struct segmentation *segmentation,
				    const struct transport_address *destination, uint32_t now)
{
	for (unsigned i = 0; i < segmentation->failed_count; i++) {
		const struct gso_failure *failed = &segmentation->failed[i];

		if (transport_address_equal(&failed->destination, destination))
			return is_recent(failed->at, now);
	}
	return false;
}

/* Whether so many others have failed lately that it is the device. Remembers this one. */
static bool is_last_straw(struct segmentation *segmentation,
			  const struct transport_address *destination, uint32_t now)
{
	unsigned others = 0;

	for (unsigned i = 0; i < segmentation->failed_count; i++) {
		const struct gso_failure *failed = &segmentation->failed[i];

		if (is_recent(failed->at, now) &&
		    !transport_address_equal(&failed->destination, destination))
			segmentation->failed[others++] = *failed;
	}
	segmentation->failed_count = others;
	if (others == GSO_FAILED_PEERS - 1)
		return true;
	segmentation->failed[segmentation->failed_count++] = (struct gso_failure){*destination,
										  now};
	return false;
}

/* One that works for a moment whenever it is tried again was told of before. */
static bool is_worth_telling(const struct segmentation *segmentation, uint32_t now)
{
	return !segmentation->is_on_trial &&
	       (segmentation->worked_at == 0 || !is_recent(segmentation->worked_at, now));
}

bool segmentation_failed(struct segmentation *segmentation,
			 const struct transport_address *destination, uint32_t now)
{
	bool is_told;

	if (segmentation->is_given_up)
		return false;
	if (!is_last_straw(segmentation, destination, now) && !segmentation->is_on_trial)
		return false;
	is_told = is_worth_telling(segmentation, now);
	segmentation->is_given_up = true;
	segmentation->is_on_trial = false;
	segmentation->given_up_at = now;
	segmentation->failed_count = 0;
	return is_told;
}
