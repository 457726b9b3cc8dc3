#include "coordinator/commit/commit.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>

#include "base/log.h"
#include "base/planted_bug.h"
#include "base/status_macros.h"
#include "coordinator/commit/failpoints.h"
#include "coordinator/commit/stored_records.h"

namespace ursa {
namespace {

// Settling may change what has to be settled; it comes to rest after a few rounds or has a bug.
constexpr int kSettleRoundsMax = 1000;

}  // namespace

void Commit::EndProcess(const absl::Status& status) {
  URSA_LOG(ERROR) << "store: a write failed, the coordinator ends; nothing that was answered is lost: " << status;
  std::_Exit(4);
}

absl::StatusOr<std::unique_ptr<Commit>> Commit::Open(RecordStore* store, Options options) {
  auto commit = std::unique_ptr<Commit>(new Commit(store, std::move(options)));
  absl::MutexLock lock(&commit->mu_);
  StoredRecords records(store);
  while (std::optional<Mutation> mutation = records.Next()) {
    commit->state_.Apply(*std::move(mutation), State::CommitKey());
  }
  URSA_RETURN_IF_ERROR(records.status());
  commit->sequence_ = commit->durable_sequence_ = records.sequence();
  if (!records.modernized().empty()) {
    Group modernized;
    modernized.last_sequence = ++commit->sequence_;
    modernized.batch.Append(records.modernized());
    commit->queue_.push_back(std::move(modernized));
  }
  failpoints::commit_opened.Pass();
  return commit;
}

void Commit::Stop() {
  {
    absl::MutexLock lock(&mu_);
    is_stopping_ = true;
  }
  if (committer_.joinable()) committer_.join();
}

void Commit::Start() {
  committer_ = std::thread([this] { CommitterLoop(); });
}

void Commit::CommitterLoop() {
  while (true) {
    std::vector<Group> groups;
    {
      absl::MutexLock lock(&mu_);
      auto has_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !queue_.empty() || is_stopping_; };
      mu_.Await(absl::Condition(&has_work));
      if (queue_.empty()) return;
      groups = TakeGroups();
    }
    if (!Write(std::move(groups))) return;
  }
}

bool Commit::RunQueued() {
  bool did_something = false;
  while (true) {
    std::vector<Group> groups;
    {
      absl::MutexLock lock(&mu_);
      if (queue_.empty() || has_failed_) return did_something;
      groups = TakeGroups();
    }
    did_something = true;
    if (!Write(std::move(groups))) return true;
  }
}

std::vector<Commit::Group> Commit::TakeGroups() {
  std::vector<Group> groups;
  size_t num_bytes = 0;
  while (!queue_.empty() &&
         (groups.empty() || num_bytes + queue_.front().batch.num_bytes() <= options_.batch_bytes_max)) {
    num_bytes += queue_.front().batch.num_bytes();
    groups.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return groups;
}

bool Commit::Write(std::vector<Group> groups) {
  if (URSA_PLANTED_BUG(tell_before_durable)) RunEffects(&groups);
  if (URSA_PLANTED_BUG(reorder_commit)) std::reverse(groups.begin(), groups.end());
  RecordBatch batch;
  bool has_bulk_writes = false;
  absl::Status status;
  for (Group& group : groups) {
    for (const auto& write : group.bulk_writes) {
      has_bulk_writes = true;
      if (status.ok()) status = write();
    }
    if (URSA_PLANTED_BUG(lose_write) && group.last_sequence % 64 == 0) continue;
    batch.Append(std::move(group.batch));
  }
  if (has_bulk_writes) failpoints::commit_bulk_written.Pass();
  const uint64_t last_sequence = groups.back().last_sequence;
  if (status.ok() && (!batch.empty() || has_bulk_writes)) {
    AddCommitToBatch(last_sequence, &batch);
    failpoints::commit_before_write.Pass();
    status = store_->Commit(batch);
  }
  if (!status.ok()) {
    {
      absl::MutexLock lock(&mu_);
      has_failed_ = true;
    }
    options_.on_failed_write(status);
    return false;
  }
  failpoints::commit_written.Pass();
  {
    absl::MutexLock lock(&mu_);
    durable_sequence_ = last_sequence;
  }
  RunEffects(&groups);
  failpoints::commit_effects_run.Pass();
  return true;
}

void Commit::RunEffects(std::vector<Group>* groups) {
  for (Group& group : *groups) {
    for (const auto& effect : std::exchange(group.effects, {})) {
      effect();
      failpoints::commit_effect_run.Pass();
    }
  }
}

bool Commit::has_queued() const {
  absl::MutexLock lock(&mu_);
  return !queue_.empty();
}

uint64_t Commit::sequence() const {
  absl::MutexLock lock(&mu_);
  return sequence_;
}

uint64_t Commit::durable_sequence() const {
  absl::MutexLock lock(&mu_);
  return durable_sequence_;
}

Commit::Transaction::Transaction(Commit* commit) : commit_(commit) { commit_->mu_.Lock(); }

Commit::Transaction::~Transaction() {
  if (commit_->settle_) {
    for (int round = 0; !changes_.empty() || must_settle_; ++round) {
      URSA_CHECK(round < kSettleRoundsMax) << "settling does not come to rest";
      const Changes changes = std::exchange(changes_, Changes());
      must_settle_ = false;
      commit_->settle_(*this, changes);
    }
  }
  if (has_records_) ++commit_->sequence_;
  group_.last_sequence = commit_->sequence_;
  if (!group_.batch.empty() || !group_.bulk_writes.empty() || !group_.effects.empty()) {
    commit_->queue_.push_back(std::move(group_));
  }
  commit_->mu_.Unlock();
}

void Commit::Transaction::Apply(Mutation mutation) {
  if (mutation.empty()) return;
  has_records_ = true;
  for (const records::AuditEventRecord& row : commit_->state_.ChainAudit(&mutation)) {
    group_.batch.AddEvent(row.sequence(), row);
  }
  AddToBatch(mutation, &group_.batch);
  changes_.Merge(commit_->state_.Apply(std::move(mutation), State::CommitKey()));
}

void Commit::Transaction::AddBulkWrite(std::function<absl::Status()> write) {
  group_.bulk_writes.push_back(std::move(write));
}

void Commit::Transaction::AfterDurable(std::function<void()> effect) { group_.effects.push_back(std::move(effect)); }

}  // namespace ursa
