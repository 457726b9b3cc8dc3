#include "tests/crash/subject.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/crash/process.h"

namespace ursa::crash {
namespace {

constexpr absl::Duration kWorkerWait = absl::Milliseconds(60);

}  // namespace

void Tally::Add(const Tally& other) {
  num_acknowledged += other.num_acknowledged;
  num_unknown += other.num_unknown;
  num_found_done += other.num_found_done;
  num_found_undone += other.num_found_undone;
  num_repeated += other.num_repeated;
}

std::string AuditKey(const std::string& action, const std::string& resource) { return action + " " + resource; }

absl::StatusOr<bool> Subject::SendCounted(const Send& send, Api* api) {
  const absl::Status status = send(api);
  if (status.ok()) {
    ++tally_.num_acknowledged;
    return true;
  }
  if (absl::IsFailedPrecondition(status)) {
    LetPass(kWorkerWait);
    return false;
  }
  if (!MayHaveHappened(status)) return Finding(status.ToString());
  ++tally_.num_unknown;
  return status;
}

absl::Status ChangingSubject::Step(Api* api, Rng* rng) {
  pending_ = Plan(rng);
  const absl::Status status = pending_->send(api);
  if (status.ok()) {
    ++tally_.num_acknowledged;
    Happened();
  } else if (MayHaveHappened(status)) {
    ++tally_.num_unknown;
  } else {
    return Finding(absl::StrCat(pending_->what, ": ", status.ToString()));
  }
  return status;
}

absl::Status ChangingSubject::Settle(bool has_happened, Api* api, Rng* rng) {
  ++(has_happened ? tally_.num_found_done : tally_.num_found_undone);
  if (rng->Below(2) == 0) {
    const absl::Status status = pending_->send(api);
    if (!status.ok()) return MayHaveHappened(status) ? status : Finding(absl::StrCat("again: ", status.ToString()));
    has_happened = true;
  }
  if (has_happened) {
    Happened();
  } else {
    pending_.reset();
  }
  return absl::OkStatus();
}

void ChangingSubject::Happened() {
  const Change change = *std::move(pending_);
  pending_.reset();
  change.happened();
}

}  // namespace ursa::crash
