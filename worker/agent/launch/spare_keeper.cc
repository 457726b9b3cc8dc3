#include "worker/agent/launch/spare_keeper.h"

#include <algorithm>

namespace ursa {

SpareKeeper::SpareKeeper(const Options& options, Rng* rng)
    : options_(options), backoff_(options.retry, rng), wanted_threads_(options.threads) {}

SpareKeeper::Todo SpareKeeper::TakeTodo(absl::Time now) {
  Todo todo;
  if (phase_ == Phase::kNone) {
    if (!is_wanted_ || now < std::max(settled_at_, retry_at_)) return todo;
    phase_ = Phase::kWarming;
    threads_ = wanted_threads_;
    started_at_ = now;
    todo.start_threads = threads_;
  } else if (phase_ != Phase::kEnding) {
    is_failure_ = phase_ == Phase::kWarming && now >= started_at_ + options_.ready_limit;
    todo.end = !is_wanted_ || is_failure_ || (is_unfit() && now >= settled_at_);
    if (todo.end) phase_ = Phase::kEnding;
  }
  return todo;
}

absl::Time SpareKeeper::NextWakeup() const {
  absl::Time next = absl::InfiniteFuture();
  if (!is_wanted_ || phase_ == Phase::kEnding) return next;
  if (phase_ == Phase::kNone) return std::max(settled_at_, retry_at_);
  if (phase_ == Phase::kWarming) next = started_at_ + options_.ready_limit;
  if (is_unfit()) next = std::min(next, settled_at_);
  return next;
}

SpareKeeper::Spare SpareKeeper::TakeFor(int threads, bool is_training, absl::Time now) {
  settled_at_ = now + options_.settle;
  if (is_training) wanted_threads_ = threads;
  const bool is_ready = phase_ == Phase::kReady;
  const bool is_trusted = is_ready || (phase_ == Phase::kWarming && now < started_at_ + options_.trust_limit);
  if (!is_trusted || threads_ != threads) return Spare::kNone;
  phase_ = Phase::kNone;
  if (is_ready) backoff_.Reset();
  return is_ready ? Spare::kReady : Spare::kWarming;
}

void SpareKeeper::OnReady(absl::Time now) {
  if (phase_ != Phase::kWarming) return;
  phase_ = Phase::kReady;
  ready_at_ = now;
}

void SpareKeeper::OnEnded(absl::Time now) {
  if (phase_ == Phase::kReady && now - ready_at_ >= options_.retry.max) backoff_.Reset();  // what killed it is rare
  if (phase_ != Phase::kEnding || is_failure_) retry_at_ = now + backoff_.Next();
  phase_ = Phase::kNone;
}

}  // namespace ursa
