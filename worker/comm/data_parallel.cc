#include "worker/comm/data_parallel.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <map>
#include <torch/csrc/distributed/c10d/reducer.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/failure_cause.h"
#include "base/status_macros.h"
#include "worker/comm/collective_backend.h"
#include "worker/nn/torch_error.h"

namespace ursa {
namespace {

// The last layers' bucket is small, so that its message leaves early; the others as torch's DistributedDataParallel.
constexpr int64_t kFirstBucketBytes = 1 << 20;
constexpr int64_t kBucketBytes = 25 << 20;

// Tensors of one type that travel together.
struct Message {
  std::vector<at::Tensor> members;
  int64_t numel = 0;
};

std::vector<Message> MessagesOf(const std::vector<at::Tensor>& tensors) {
  std::map<at::ScalarType, std::vector<Message>> by_type;
  for (const at::Tensor& tensor : tensors) {
    if (tensor.numel() == 0) continue;
    std::vector<Message>& messages = by_type[tensor.scalar_type()];
    const auto item_bytes = static_cast<int64_t>(tensor.element_size());
    if (messages.empty() || (messages.back().numel + tensor.numel()) * item_bytes > kBucketBytes) {
      messages.emplace_back();
    }
    messages.back().members.push_back(tensor);
    messages.back().numel += tensor.numel();
  }
  std::vector<Message> all;
  for (auto& [type, messages] : by_type) std::move(messages.begin(), messages.end(), std::back_inserter(all));
  return all;
}

at::Tensor Flatten(const Message& message) {
  std::vector<at::Tensor> rows;
  for (const at::Tensor& member : message.members) rows.push_back(member.detach().reshape({-1}));
  return at::cat(rows);
}

}  // namespace

class DataParallel::Impl {
 public:
  Impl(Collective* collective, std::vector<at::Tensor> trainable) {
    const std::vector<bool> is_sparse(trainable.size(), false);
    auto [buckets, limits] =
        c10d::compute_bucket_assignment_by_size(trainable, {kFirstBucketBytes, kBucketBytes}, is_sparse);
    std::reverse(buckets.begin(), buckets.end());
    std::reverse(limits.begin(), limits.end());
    const c10::DeviceType device = trainable[0].device().type();
    reducer_ = std::make_unique<c10d::Reducer>(
        std::move(trainable), std::move(buckets), MakeProcessGroup(collective, device), is_sparse, kBucketBytes,
        /*find_unused_parameters=*/false, /*gradient_as_bucket_view=*/true,
        /*param_names=*/std::unordered_map<size_t, std::string>(), kFirstBucketBytes,
        /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false,
        std::vector<int64_t>(limits.begin(), limits.end()));
    // By itself the reducer multiplies by 1 / ranks in its first step and divides by ranks in the later ones, which is
    // not the same to the last bit unless there are 1, 2, 4 ... ranks: a resumed run would go another way.
    reducer_->register_builtin_comm_hook(c10d::BuiltinCommHookType::ALLREDUCE);
  }
  ~Impl() {
    try {
      reducer_.reset();
    } catch (const std::exception&) {
      // Its destructor may throw after a failed reduction, whose error has been returned.
    }
  }
  c10d::Reducer& reducer() { return *reducer_; }

 private:
  std::unique_ptr<c10d::Reducer> reducer_;
};

DataParallel::DataParallel(Collective* collective, std::vector<at::Tensor> trainable) : collective_(collective) {
  if (collective_->world_size() > 1 && !trainable.empty()) {
    impl_ = std::make_unique<Impl>(collective_, std::move(trainable));
  }
}

DataParallel::~DataParallel() = default;

void DataParallel::PrepareForward() {
  if (impl_ != nullptr) impl_->reducer().prepare_for_forward();
}

absl::Status DataParallel::Backward(const at::Tensor& loss) {
  if (impl_ == nullptr) {
    loss.backward();
    return absl::OkStatus();
  }
  try {
    impl_->reducer().prepare_for_backward({loss});
    loss.backward();
    return absl::OkStatus();
  } catch (const std::exception& e) {
    // Either this rank's own trouble, which the exception tells, or that of the reduction under way.
    return WithCause(
        TorchErrorStatus(absl::StrCat("backward of rank ", collective_->rank(), " of ", collective_->world_size()), e,
                         absl::StatusCode::kUnavailable),
        FailureCause::kPeerLost);
  }
}

absl::Status BroadcastCoalesced(Collective* collective, int root, const std::vector<at::Tensor>& tensors, bool takes) {
  if (collective->world_size() == 1) return absl::OkStatus();
  const at::NoGradGuard no_grad;
  const bool is_root = collective->rank() == root;
  std::vector<std::pair<Message, at::Tensor>> received;
  for (Message& message : MessagesOf(tensors)) {
    const at::TensorOptions options = at::TensorOptions(message.members[0].scalar_type()).device(collective->device());
    const at::Tensor flat = is_root ? Flatten(message) : at::empty({message.numel}, options);
    URSA_RETURN_IF_ERROR(collective->Broadcast(flat, root));
    if (!is_root && takes) received.emplace_back(std::move(message), flat);
  }
  for (auto& [message, flat] : received) {
    int64_t offset = 0;
    for (at::Tensor& member : message.members) {
      member.detach().copy_(flat.narrow(0, offset, member.numel()).view(member.sizes()));
      offset += member.numel();
    }
  }
  return absl::OkStatus();
}

}  // namespace ursa
