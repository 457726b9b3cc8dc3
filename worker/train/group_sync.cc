#include "worker/train/group_sync.h"

#include <ATen/ops/zeros.h>

#include <cstring>

#include "base/status_macros.h"

namespace ursa {
namespace {

constexpr int64_t kColumns = 3;
constexpr size_t kWordBytes = sizeof(int64_t);

// A tensor of the CPU, by way of the device that the group talks through.
absl::Status BroadcastFromHost(Collective* collective, int root, at::Tensor* tensor) {
  const at::Tensor carried = tensor->to(collective->device());
  URSA_RETURN_IF_ERROR(collective->Broadcast(carried, root));
  *tensor = carried.cpu();
  return absl::OkStatus();
}

}  // namespace

int ChooseLeader(const std::vector<RankStanding>& ranks) {
  int leader = -1;
  for (size_t r = 0; r < ranks.size(); ++r) {
    if (!ranks[r].has_state) continue;
    const RankStanding& rank = ranks[r];
    const RankStanding* best = leader < 0 ? nullptr : &ranks[static_cast<size_t>(leader)];
    if (best == nullptr || rank.step > best->step || (rank.step == best->step && rank.epoch < best->epoch)) {
      leader = static_cast<int>(r);
    }
  }
  return leader;
}

absl::StatusOr<std::vector<RankStanding>> ExchangeStandings(Collective* collective, const RankStanding& own) {
  at::Tensor table = at::zeros({collective->world_size(), kColumns}, at::kLong);
  auto* row = table.mutable_data_ptr<int64_t>() + collective->rank() * kColumns;
  row[0] = own.has_state ? 1 : 0;
  row[1] = own.step;
  row[2] = own.epoch;
  table = table.to(collective->device());
  URSA_RETURN_IF_ERROR(collective->AllReduceSum(table));
  table = table.cpu();
  std::vector<RankStanding> ranks;
  const auto* values = table.const_data_ptr<int64_t>();
  for (int r = 0; r < collective->world_size(); ++r) {
    const int64_t* found = values + r * kColumns;
    ranks.push_back({found[0] != 0, found[1], found[2]});
  }
  return ranks;
}

absl::Status ShareTexts(Collective* collective, int leader, std::vector<std::string>* texts) {
  const bool is_leader = collective->rank() == leader;
  at::Tensor sizes = at::zeros({static_cast<int64_t>(texts->size())}, at::kLong);
  auto* size = sizes.mutable_data_ptr<int64_t>();
  for (size_t i = 0; is_leader && i < texts->size(); ++i) size[i] = static_cast<int64_t>((*texts)[i].size());
  URSA_RETURN_IF_ERROR(BroadcastFromHost(collective, leader, &sizes));
  size = sizes.mutable_data_ptr<int64_t>();
  size_t num_bytes = 0;
  for (size_t i = 0; i < texts->size(); ++i) num_bytes += static_cast<size_t>(size[i]);
  at::Tensor words = at::zeros({static_cast<int64_t>(num_bytes / kWordBytes + 1)}, at::kLong);
  char* bytes = reinterpret_cast<char*>(words.mutable_data_ptr<int64_t>());
  if (is_leader) {
    char* to = bytes;
    for (const std::string& text : *texts) {
      std::memcpy(to, text.data(), text.size());
      to += text.size();
    }
  }
  URSA_RETURN_IF_ERROR(BroadcastFromHost(collective, leader, &words));
  if (is_leader) return absl::OkStatus();
  bytes = reinterpret_cast<char*>(words.mutable_data_ptr<int64_t>());
  for (size_t i = 0; i < texts->size(); ++i) {
    (*texts)[i].assign(bytes, static_cast<size_t>(size[i]));
    bytes += size[i];
  }
  return absl::OkStatus();
}

}  // namespace ursa
