#include "worker/agent/health/slot_health.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"

namespace ursa {
namespace {

constexpr size_t kReasonBytesMax = 200;  // the coordinator takes 256

std::string Gib(int64_t bytes) { return absl::StrFormat("%.1f GiB", static_cast<double>(bytes) / (1 << 30)); }

std::string Shorten(std::string reason) {
  if (reason.size() > kReasonBytesMax) reason = reason.substr(0, kReasonBytesMax - 3) + "...";
  return reason;
}

}  // namespace

SlotHealth::SlotHealth(const Options& options, int num_slots, std::vector<v1::WorkerSlot> devices, Rng* rng)
    : options_(options),
      num_slots_(num_slots),
      devices_(std::move(devices)),
      backoff_(options.retry, rng),
      self_check_backoff_(options.retry, rng) {
  URSA_CHECK(devices_.empty() || static_cast<int>(devices_.size()) == num_slots) << devices_.size();
}

SlotHealth::Todo SlotHealth::TakeTodo(absl::Time now) {
  Todo todo;
  if (now >= read_at_) {
    if (is_reading_) {
      is_overdue_ = has_read_ = has_news_ = true;
      read_at_ = absl::InfiniteFuture();
    } else {
      todo.read = is_reading_ = true;
      ++num_begun_;
      read_at_ = now + options_.reading_limit;
    }
  }
  if (now >= self_check_at_) {
    if (!is_self_checking_) {
      todo.self_check = is_self_checking_ = true;
      self_check_at_ = now + options_.self_check_limit;
    } else {
      todo.end_self_check = is_ended_ = has_news_ = true;
      self_check_at_ = absl::InfiniteFuture();
    }
  }
  for (auto it = releasing_.begin(); it != releasing_.end();) {
    if (now < it->second.limit) {
      ++it;
      continue;
    }
    released_.push_back(it->first);  // what is left there is now a fault
    it = releasing_.erase(it);
    has_news_ = true;
  }
  todo.released = std::exchange(released_, {});
  todo.has_news = std::exchange(has_news_, false);
  return todo;
}

absl::Time SlotHealth::NextWakeup() const {
  absl::Time next = std::min(read_at_, self_check_at_);
  for (const auto& [slot, release] : releasing_) next = std::min(next, release.limit);
  return released_.empty() ? next : absl::InfinitePast();
}

void SlotHealth::OnReading(MachineReading reading, absl::Time now) {
  reading_ = std::move(reading);
  is_reading_ = is_overdue_ = false;
  has_read_ = has_news_ = true;
  for (auto it = releasing_.begin(); it != releasing_.end();) {
    const auto slot = static_cast<size_t>(it->first);
    const bool is_free = num_begun_ >= it->second.reading && slot < reading_.gpus.size() && reading_.gpus[slot].ok() &&
                         reading_.gpus[slot]->used_bytes <= options_.idle_used_bytes_max;
    if (is_free) released_.push_back(it->first);
    it = is_free ? releasing_.erase(it) : std::next(it);
  }
  if (!releasing_.empty()) {
    read_at_ = now + options_.release_poll;
  } else if (HasFault()) {
    read_at_ = now + backoff_.Next();
  } else {
    backoff_.Reset();
    read_at_ = now + options_.interval;
  }
}

void SlotHealth::OnSelfCheck(const absl::Status& status, absl::Time now) {
  self_check_ = std::exchange(is_ended_, false)
                    ? absl::DeadlineExceededError(
                          absl::StrCat("it did not end within ", absl::FormatDuration(options_.self_check_limit)))
                    : status;
  is_self_checking_ = false;
  has_self_checked_ = has_news_ = true;
  if (self_check_.ok()) self_check_backoff_.Reset();
  self_check_at_ = self_check_.ok() ? absl::InfiniteFuture() : now + self_check_backoff_.Next();
}

void SlotHealth::OnReaped(int32_t slot, absl::Time now) {
  if (taken_.erase(slot) == 0) return;
  has_news_ = true;
  if (devices_.empty()) {
    released_.push_back(slot);
    return;
  }
  // A reading that is under way may have looked at the device before.
  releasing_[slot] = {now + options_.release_limit, num_begun_ + 1};
  if (!is_reading_) read_at_ = now;
}

bool SlotHealth::IsFree(int32_t slot) const { return taken_.count(slot) == 0 && releasing_.count(slot) == 0; }

std::string SlotHealth::MachineFault() const {
  if (is_overdue_) {
    return absl::StrCat("the machine was not read within ", absl::FormatDuration(options_.reading_limit));
  }
  if (has_read_ && reading_.free_disk_bytes < options_.free_disk_bytes_min) {
    return absl::StrCat("the worker's disk has ", Gib(reading_.free_disk_bytes), " free, at least ",
                        Gib(options_.free_disk_bytes_min), " is wanted");
  }
  if (has_self_checked_ && !self_check_.ok()) return absl::StrCat("ursa-task: cannot start, ", self_check_.message());
  return "";
}

std::string SlotHealth::DeviceFault(int32_t slot) const {
  const auto index = static_cast<size_t>(slot);
  if (index >= reading_.gpus.size()) return "";
  if (!reading_.gpus[index].ok()) return std::string(reading_.gpus[index].status().message());
  const GpuReading& gpu = *reading_.gpus[index];
  if (gpu.has_remap_failed) return "the device has no spare row left for one of its memory that is bad";
  if (gpu.is_remap_pending) return "the device has to be reset, to take a bad row of its memory out of use";
  if (gpu.num_memory_errors > 0) {
    return absl::StrCat("the device had ", gpu.num_memory_errors, " uncorrectable memory errors since its last reset");
  }
  if (IsFree(slot) && gpu.used_bytes > options_.idle_used_bytes_max) {
    return absl::StrCat(Gib(gpu.used_bytes), " of the device's memory are in use though no task runs on it, at most ",
                        Gib(options_.idle_used_bytes_max), " is allowed");
  }
  return "";
}

bool SlotHealth::HasFault() const {
  if (!MachineFault().empty()) return true;
  for (int32_t slot = 0; slot < num_slots_; ++slot) {
    if (!DeviceFault(slot).empty()) return true;
  }
  return false;
}

std::vector<v1::WorkerSlot> SlotHealth::States() const {
  std::vector<v1::WorkerSlot> states;
  const std::string machine_fault = MachineFault();
  for (int32_t slot = 0; slot < num_slots_; ++slot) {
    v1::WorkerSlot state;
    if (!devices_.empty()) state = devices_[static_cast<size_t>(slot)];
    state.set_index(slot);
    state.set_reason(Shorten(machine_fault.empty() ? DeviceFault(slot) : machine_fault));
    if (!devices_.empty() || !state.reason().empty()) states.push_back(std::move(state));
  }
  return states;
}

}  // namespace ursa
