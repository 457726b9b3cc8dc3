// Where a crash of the agent, or something that fails under it, is interesting (base/failpoint.h).
#ifndef URSA_WORKER_AGENT_FAILPOINTS_H_
#define URSA_WORKER_AGENT_FAILPOINTS_H_

#include "base/failpoint.h"

namespace ursa::failpoints {

inline Failpoint agent_hello_sent("agent.session.hello_sent");
inline Failpoint agent_events_sent("agent.session.events_sent");
inline Failpoint agent_ack_received("agent.session.ack_received");
inline Failpoint agent_before_worker_id("agent.session.before_worker_id");  // given, not yet kept
inline Failpoint agent_worker_id_kept("agent.session.worker_id_kept");

inline StatusFailpoint agent_before_spawn("agent.task.before_spawn");
inline Failpoint agent_spawned("agent.task.spawned");
inline Failpoint agent_reaped("agent.task.reaped");

inline StatusFailpoint cache_before_adopt("agent.cache.before_adopt");  // a whole blob, under no name of its own
inline Failpoint cache_adopted("agent.cache.adopted");
inline StatusFailpoint upload_before("agent.upload.before");
inline Failpoint upload_done("agent.upload.done");  // stored, the event that names it is not sent

}  // namespace ursa::failpoints

#endif  // URSA_WORKER_AGENT_FAILPOINTS_H_
