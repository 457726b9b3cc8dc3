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
    ready_at_ = now + options_.ready_limit;
    todo.start_threads = threads_;
  } else if (phase_ != Phase::kEnding) {
    is_failure_ = phase_ == Phase::kWarming && now >= ready_at_;
    todo.end = !is_wanted_ || is_failure_ || (is_unfit() && now >= settled_at_);
    if (todo.end) phase_ = Phase::kEnding;
  }
  return todo;
}

absl::Time SpareKeeper::NextWakeup() const {
  absl::Time next = absl::InfiniteFuture();
  if (!is_wanted_ || phase_ == Phase::kEnding) return next;
  if (phase_ == Phase::kNone) return std::max(settled_at_, retry_at_);
  if (phase_ == Phase::kWarming) next = ready_at_;
  if (is_unfit()) next = std::min(next, settled_at_);
  return next;
}

bool SpareKeeper::TakeFor(int threads, bool is_training, absl::Time now) {
  settled_at_ = now + options_.settle;
  if (is_training) wanted_threads_ = threads;
  if (phase_ != Phase::kReady || threads_ != threads) return false;
  phase_ = Phase::kNone;
  backoff_.Reset();
  return true;
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
