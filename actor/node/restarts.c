/*
 * The node's side of a restart: its requests look like an owner's, but for who is told of the lease.
 */
#include "actor/node/restarter.h"

void tell_granted(const lease_request *r, const MantaGrant *g)
{
    if (r->is_revival) (void)MantaRestarter_granted_send(MantaRestarter_ref_of(r->owner), *g);
    else (void)MantaOwner_granted_send(MantaOwner_ref_of(r->owner), *g);
}

void tell_refused(manta_actor owner, uint64_t id, bool is_revival, manta_status status, manta_str text)
{
    if (is_revival) (void)MantaRestarter_refused_send(MantaRestarter_ref_of(owner), id, (int32_t)status, text);
    else (void)MantaOwner_refused_send(MantaOwner_ref_of(owner), id, (int32_t)status, text);
}
