#include "coordinator/state/task_name.h"

#include "base/ids.h"

namespace ursa {

std::string TaskName(const TrialId& trial) {
  return Id<'t'>(trial.first).ToString() + "." + std::to_string(trial.second);
}

std::optional<TrialId> ParseTaskName(std::string_view text) {
  const size_t dot = text.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const auto experiment = Id<'t'>::Parse(text.substr(0, dot));
  const auto trial = Id<'.'>::Parse(text.substr(dot));
  if (!experiment || !trial) return std::nullopt;
  return TrialId(experiment->number(), trial->number());
}

}  // namespace ursa
