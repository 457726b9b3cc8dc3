#include "tests/simulation/group_ledger.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace ursa::sim {

void GroupLedger::OnGang(const JobKey& key, int64_t epoch, std::vector<int64_t> process_epochs) {
  groups_[{key, epoch}] = {epoch, std::move(process_epochs)};
}

void GroupLedger::OnReform(const JobKey& key, int64_t last_epoch, int64_t epoch, std::vector<int64_t> process_epochs) {
  groups_[{key, epoch}] = {groups_[{key, last_epoch}].first_epoch, std::move(process_epochs)};
}

void GroupLedger::OnFormed(const std::string& task_id, int64_t epoch, const std::vector<int64_t>& process_epochs,
                           int64_t least_step, int64_t step) {
  const JobKey key = *ParseJob(task_id);
  const std::string subject = absl::StrCat(task_id, ": the group of epoch ", epoch);
  const auto group = groups_.find({key, epoch});
  if (group == groups_.end()) return world_.Fail(absl::StrCat(subject, " forms, and is not durable"));
  if (group->second.process_epochs != process_epochs) {
    return world_.Fail(absl::StrCat(subject, " forms of processes of epochs ", absl::StrJoin(process_epochs, " "),
                                    ", not of ", absl::StrJoin(group->second.process_epochs, " ")));
  }
  Gang& gang = GangOf(key, epoch);
  if (gang.epoch >= epoch) return world_.Fail(absl::StrCat(subject, " forms after that of epoch ", gang.epoch));
  if (gang.epoch != 0 && (step < gang.step_of_all || step > gang.step_of_some)) {
    return world_.Fail(absl::StrCat(subject, " goes on from step ", step, ", all ranks of the one before had done ",
                                    gang.step_of_all, ", no rank more than ", gang.step_of_some));
  }
  gang = {epoch, least_step, step};
}

void GroupLedger::OnStateShared(const std::string& task_id, int64_t epoch, int64_t step) {
  Gang& gang = GangOf(*ParseJob(task_id), epoch);
  if (gang.epoch == epoch) gang.step_of_all = step;
}

void GroupLedger::OnStep(const std::string& task_id, int64_t epoch, int64_t step) {
  Gang& gang = GangOf(*ParseJob(task_id), epoch);
  if (gang.epoch != epoch) {
    return world_.Fail(absl::StrCat(task_id, ": the group of epoch ", epoch, " steps beside that of ", gang.epoch));
  }
  if (step != gang.step_of_all + 1) {
    return world_.Fail(absl::StrCat(task_id, ": step ", step, " follows step ", gang.step_of_all));
  }
  gang.step_of_all = gang.step_of_some = step;
}

void GroupLedger::OnStepOfSome(const std::string& task_id, int64_t epoch, int64_t step) {
  Gang& gang = GangOf(*ParseJob(task_id), epoch);
  gang.step_of_some = std::max(gang.step_of_some, step);
}

}  // namespace ursa::sim
