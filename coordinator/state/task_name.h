// How the task of a trial is called on workers and in logs.
#ifndef URSA_COORDINATOR_STATE_TASK_NAME_H_
#define URSA_COORDINATOR_STATE_TASK_NAME_H_

#include <optional>
#include <string>
#include <string_view>

#include "coordinator/state/entities.h"

namespace ursa {

// "t17.2": trial 2 of experiment e17.
std::string TaskName(const TrialId& trial);
// Nothing for another text; numbers from 1, without leading zeros.
std::optional<TrialId> ParseTaskName(std::string_view text);

}  // namespace ursa

#endif  // URSA_COORDINATOR_STATE_TASK_NAME_H_
