#include "coordinator/core/worker_slots.h"

#include <algorithm>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace ursa {
namespace {

constexpr size_t kSlotStatesBytesMax = 256 << 10;  // of one worker
constexpr size_t kReasonsNamedMax = 3;

}  // namespace

absl::Status CheckSlotStates(const SlotStates& states, int32_t num_slots) {
  int32_t last = -1;
  size_t num_bytes = 0;
  for (const v1::WorkerSlot& state : states) {
    if (state.index() <= last || state.index() >= num_slots) {
      return absl::InvalidArgumentError(absl::StrCat("slots: slot ", state.index(), " after ", last, ", of ", num_slots,
                                                     "; each is named once, in order"));
    }
    last = state.index();
    num_bytes += state.ByteSizeLong();
    if (num_bytes > kSlotStatesBytesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("slots: more than ", kSlotStatesBytesMax, " bytes are said of them"));
    }
    for (const std::string* text : {&state.device(), &state.uuid(), &state.reason()}) {
      if (text->size() <= kHelloTextBytesMax) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("slots: a text has ", text->size(), " bytes, at most ", kHelloTextBytesMax, " are allowed"));
    }
  }
  return absl::OkStatus();
}

bool HasSameStates(const SlotStates& a, const SlotStates& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const v1::WorkerSlot& x, const v1::WorkerSlot& y) {
    return x.SerializeAsString() == y.SerializeAsString();
  });
}

bool IsOffered(const records::WorkerRecord& worker, int32_t slot) {
  if (slot < 0 || slot >= worker.slots()) return false;
  return std::none_of(worker.slot_states().begin(), worker.slot_states().end(),
                      [slot](const v1::WorkerSlot& state) { return state.index() == slot && !state.reason().empty(); });
}

std::string WithheldText(const records::WorkerRecord& worker) {
  int num_withheld = 0;
  std::map<std::string, std::vector<int32_t>> slots_of;
  for (const v1::WorkerSlot& state : worker.slot_states()) {
    if (state.reason().empty()) continue;
    slots_of[state.reason()].push_back(state.index());
    ++num_withheld;
  }
  if (num_withheld == 0) return "";
  std::string reasons;
  size_t num_named = 0;
  for (const auto& [reason, slots] : slots_of) {
    if (++num_named > kReasonsNamedMax) break;
    const bool is_all = static_cast<int32_t>(slots.size()) == worker.slots();
    const std::string which = absl::StrCat(slots.size() == 1 ? "slot " : "slots ", absl::StrJoin(slots, ", "), ": ");
    absl::StrAppend(&reasons, reasons.empty() ? "" : "; ", is_all ? "" : which, reason);
  }
  return absl::StrCat(num_withheld, " of ", worker.slots(), worker.slots() == 1 ? " slot" : " slots",
                      num_withheld == 1 ? " is" : " are", " not offered: ", reasons);
}

}  // namespace ursa
