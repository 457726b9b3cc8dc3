#include "coordinator/core/failure_policy.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/core/environment.h"
#include "coordinator/state/task_name.h"

namespace ursa {
namespace {

using Finished = worker::v1::TaskFinished;

constexpr size_t kReasonBytesMax = 256;

}  // namespace

int32_t FailedRank(const records::Gang& gang) {
  for (int32_t r = 0; r < gang.ranks_size(); ++r) {
    const Finished::Cause cause = gang.ranks(r).cause();
    if (cause != Finished::CAUSE_UNSPECIFIED && cause != Finished::CAUSE_PEER_LOST) return r;
  }
  return gang.failure_rank();
}

Remedy RemedyFor(const records::Gang& gang) {
  if (gang.user_error()) return Remedy::kEnd;
  const int32_t failed = FailedRank(gang);
  switch (failed < gang.ranks_size() ? gang.ranks(failed).cause() : Finished::CAUSE_UNSPECIFIED) {
    case Finished::CAUSE_NOT_FINITE:
    case Finished::CAUSE_BAD_DATA:
      return Remedy::kEnd;
    case Finished::CAUSE_OUT_OF_MEMORY:
    case Finished::CAUSE_HARDWARE:
      return Remedy::kMove;
    default:
      break;
  }
  if (gang.uncounted()) return Remedy::kAgain;
  return gang.worker_lost() ? Remedy::kMove : Remedy::kRestart;
}

std::string AddStrike(const StrikeOptions& options, const TrialId& trial, Finished::Cause cause,
                      const std::string& reason, absl::Time now, records::WorkerRecord* worker) {
  google::protobuf::RepeatedPtrField<records::WorkerRecord::Strike> kept;
  for (records::WorkerRecord::Strike& strike : *worker->mutable_strikes()) {
    if (now - FromTimestamp(strike.time()) < options.window) *kept.Add() = std::move(strike);
  }
  records::WorkerRecord::Strike* added = kept.Add();
  *added->mutable_time() = ToTimestamp(now);
  added->set_experiment_id(trial.first);
  added->set_trial(trial.second);
  added->set_reason(reason.substr(0, kReasonBytesMax));
  std::set<TrialId> trials;
  for (const records::WorkerRecord::Strike& strike : kept) trials.insert({strike.experiment_id(), strike.trial()});
  while (kept.size() > options.num_strikes) kept.erase(kept.begin());
  const bool is_full = kept.size() == options.num_strikes && static_cast<int>(trials.size()) >= options.num_trials;
  worker->mutable_strikes()->Swap(&kept);
  if (cause == Finished::CAUSE_HARDWARE) return absl::StrCat("hardware error: ", reason.substr(0, kReasonBytesMax));
  if (!is_full) return "";
  return absl::StrCat(options.num_strikes, " failures of ", trials.size(), " trials within ",
                      absl::FormatDuration(options.window), ", the last of ", TaskName(trial), ": ",
                      reason.substr(0, kReasonBytesMax));
}

}  // namespace ursa
