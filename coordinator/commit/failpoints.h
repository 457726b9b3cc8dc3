// Where a crash between a decision and its effects is interesting (base/failpoint.h).
#ifndef URSA_COORDINATOR_COMMIT_FAILPOINTS_H_
#define URSA_COORDINATOR_COMMIT_FAILPOINTS_H_

#include "base/failpoint.h"

namespace ursa::failpoints {

inline Failpoint commit_opened("coordinator.commit.opened");  // State is made from its records
inline Failpoint commit_bulk_written(
    "coordinator.commit.bulk_written");  // metric points and logs, without their records
inline Failpoint commit_before_write("coordinator.commit.before_write");
inline Failpoint commit_written("coordinator.commit.written");  // durable, and nobody has been told
inline Failpoint commit_effect_run("coordinator.commit.effect_run");
inline Failpoint commit_effects_run("coordinator.commit.effects_run");  // of a whole batch

}  // namespace ursa::failpoints

#endif  // URSA_COORDINATOR_COMMIT_FAILPOINTS_H_
