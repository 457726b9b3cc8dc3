#include "worker/comm/thread_collective.h"

#include <ATen/core/grad_mode.h>

#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

namespace ursa {
namespace {

// A round ends when every rank has brought its tensor: the last one computes for all.
class Group {
 public:
  explicit Group(int world_size) : tensors_(static_cast<size_t>(world_size)) {}

  // `root` < 0: the sum goes to all; else tensor `root` does. An undefined tensor takes part as in a barrier.
  absl::Status Meet(int rank, const at::Tensor& tensor, int root) {
    absl::MutexLock lock(&mu_);
    if (num_dead_ > 0) return Dead(rank);
    tensors_[static_cast<size_t>(rank)] = tensor;
    const int64_t round = round_;
    if (++num_present_ == static_cast<int>(tensors_.size())) {
      Complete(root);
      num_present_ = 0;
      ++round_;
      return absl::OkStatus();
    }
    const auto is_over = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return round_ != round || num_dead_ > 0; };
    mu_.Await(absl::Condition(&is_over));
    return round_ != round ? absl::OkStatus() : Dead(rank);
  }

  void Leave() {
    absl::MutexLock lock(&mu_);
    ++num_dead_;
  }
  int world_size() const { return static_cast<int>(tensors_.size()); }

 private:
  static absl::Status Dead(int rank) { return absl::UnavailableError(absl::StrCat("rank ", rank, ": a peer died")); }

  void Complete(int root) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!tensors_[0].defined()) return;
    const at::NoGradGuard no_grad;
    at::Tensor result = tensors_[static_cast<size_t>(root < 0 ? 0 : root)].clone();
    for (size_t i = 1; root < 0 && i < tensors_.size(); ++i) result.add_(tensors_[i]);
    for (at::Tensor& tensor : tensors_) tensor.copy_(result);
  }

  absl::Mutex mu_;
  std::vector<at::Tensor> tensors_;  // guarded by mu_; its size is constant
  int num_present_ ABSL_GUARDED_BY(mu_) = 0;
  int num_dead_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t round_ ABSL_GUARDED_BY(mu_) = 0;
};

class ThreadCollective : public Collective {
 public:
  ThreadCollective(std::shared_ptr<Group> group, int rank) : group_(std::move(group)), rank_(rank) {}
  ~ThreadCollective() override { group_->Leave(); }
  int rank() const override { return rank_; }
  int world_size() const override { return group_->world_size(); }
  absl::Status AllReduceSum(at::Tensor tensor) override { return group_->Meet(rank_, tensor, -1); }
  absl::Status Broadcast(at::Tensor tensor, int root) override { return group_->Meet(rank_, tensor, root); }
  absl::Status Barrier() override { return group_->Meet(rank_, {}, -1); }

 private:
  std::shared_ptr<Group> group_;
  int rank_;
};

}  // namespace

std::vector<std::unique_ptr<Collective>> MakeThreadCollectives(int world_size) {
  auto group = std::make_shared<Group>(world_size);
  std::vector<std::unique_ptr<Collective>> ranks;
  for (int rank = 0; rank < world_size; ++rank) ranks.push_back(std::make_unique<ThreadCollective>(group, rank));
  return ranks;
}

}  // namespace ursa
