#include "worker/agent/health/machine_reader.h"

#include <sys/statvfs.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ursa {

MachineReader::MachineReader(std::function<MachineReading()> read, std::function<void(MachineReading)> done)
    : read_(std::move(read)), done_(std::move(done)), thread_([this] { Run(); }) {}

MachineReader::~MachineReader() {
  {
    absl::MutexLock lock(&mu_);
    closing_ = true;
  }
  thread_.join();
}

void MachineReader::Request() {
  absl::MutexLock lock(&mu_);
  ++num_requests_;
}

void MachineReader::Run() {
  while (true) {
    {
      absl::MutexLock lock(&mu_);
      auto due = [this] { return closing_ || num_requests_ > 0; };
      mu_.Await(absl::Condition(&due));
      if (closing_) return;
      --num_requests_;
    }
    done_(read_());
  }
}

absl::StatusOr<std::unique_ptr<GpuSlots>> GpuSlots::Find(std::unique_ptr<Nvml> nvml, std::optional<int> num_slots,
                                                         const std::optional<std::string>& visible_devices) {
  URSA_ASSIGN_OR_RETURN(const std::vector<GpuInfo> gpus, nvml->List());
  std::vector<int> visible = VisibleGpus(gpus, visible_devices);
  const size_t wanted = static_cast<size_t>(num_slots.value_or(static_cast<int>(visible.size())));
  if (visible.empty() || wanted > visible.size()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "worker: cannot have ", num_slots ? absl::StrCat(*num_slots, " ") : "", "cuda slots, this machine has ",
        gpus.size(), " GPUs",
        visible_devices ? absl::StrCat(", of which CUDA_VISIBLE_DEVICES=", *visible_devices, " shows ", visible.size())
                        : ""));
  }
  visible.resize(wanted);
  std::unique_ptr<GpuSlots> slots(new GpuSlots());
  for (const int index : visible) {
    const GpuInfo& gpu = gpus[static_cast<size_t>(index)];
    v1::WorkerSlot slot;
    slot.set_index(static_cast<int32_t>(slots->devices_.size()));
    slot.set_device(gpu.name);
    slot.set_uuid(gpu.uuid);
    slot.set_memory_bytes(gpu.memory_bytes);
    slots->devices_.push_back(std::move(slot));
  }
  slots->nvml_ = std::move(nvml);
  slots->indexes_ = std::move(visible);
  return slots;
}

std::vector<absl::StatusOr<GpuReading>> GpuSlots::Read() const {
  std::vector<absl::StatusOr<GpuReading>> readings;
  for (const int index : indexes_) readings.push_back(nvml_->Read(index));
  return readings;
}

int64_t FreeDiskBytes(const std::string& folder) {
  struct statvfs stats;
  if (::statvfs(folder.c_str(), &stats) != 0) return 0;
  return static_cast<int64_t>(stats.f_bavail) * static_cast<int64_t>(stats.f_frsize);
}

}  // namespace ursa
