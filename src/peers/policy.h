/* What a policy is, for the files of this room. */
#ifndef UDP_ENCAP_TUN_POLICY_H
#define UDP_ENCAP_TUN_POLICY_H

#include "peers/admission.h"
#include "peers/routing.h"

/**
 * The two decisions. What is the same for every policy was done before: there is a tunnel address,
 * the packet is not too big, and the result says yes, without entry.
 */
struct policy_operations {
	void (*admit)(struct peers *peers, const struct arrival *arrival, uint32_t now,
		      struct admission *admission);
	void (*route)(struct peers *peers, const struct departure *departure, uint32_t now,
		      struct routing *routing);
};

extern const struct policy_operations open_server_policy;
extern const struct policy_operations endpoint_policy;
extern const struct policy_operations solicited_endpoint_policy;

#endif
