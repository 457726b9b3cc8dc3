// Which of a worker's slots may be offered: what its checks say.
#ifndef URSA_WORKER_AGENT_HEALTH_SLOT_HEALTH_H_
#define URSA_WORKER_AGENT_HEALTH_SLOT_HEALTH_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/backoff.h"
#include "base/rng.h"
#include "ursa/v1/cluster.pb.h"
#include "worker/agent/health/nvml.h"

namespace ursa {

// What was found out of the machine in one go.
struct MachineReading {
  int64_t free_disk_bytes = 0;                   // where the worker keeps its state
  std::vector<absl::StatusOr<GpuReading>> gpus;  // by slot; empty: the slots have no devices
};

// The checks as a pure state machine: no I/O, no clock, no threads; times and readings come in. A slot is withheld
// while there is a reason:
//   the disk is nearly full                          of all slots
//   ursa-task does not start                         of all slots
//   its device cannot be read, or has memory errors
//   memory of its device is in use, and no task of ours has it: a task that ended has left something behind, or
//   somebody else works there
// What has failed is checked again, at growing intervals; what is well, now and then. A task that runs on a slot goes
// on there, whatever is found.
//
//   slot of a device:  free --1--> taken --2--> releasing --3--> free
//   1 OnStarted  2 OnReaped: its process has ended  3 a reading that began after that shows its memory free; or
//   release_limit is over: then it is withheld. A slot without a device is free when its process has been reaped.
class SlotHealth {
 public:
  struct Options {
    absl::Duration interval = absl::Seconds(30);  // between readings while all is well
    Backoff::Options retry{absl::Seconds(1), absl::Seconds(60), 2};
    absl::Duration reading_limit = absl::Seconds(10);     // for the answer of a reading
    absl::Duration self_check_limit = absl::Seconds(30);  // for ursa-task to start and end
    absl::Duration release_limit = absl::Seconds(10);     // for a device to give memory back
    absl::Duration release_poll = absl::Milliseconds(100);
    int64_t free_disk_bytes_min = int64_t{512} << 20;
    int64_t idle_used_bytes_max = int64_t{1} << 30;  // of a device without a task: some drivers count their own
  };

  // `devices`: of each slot index, device, uuid and memory; no more than `num_slots`, or none. `rng` is borrowed.
  SlotHealth(const Options& options, int num_slots, std::vector<v1::WorkerSlot> devices, Rng* rng);

  // To be done, each answered once: Read by OnReading, SelfCheck by OnSelfCheck. A self-check whose time is over is to
  // be ended: it is answered all the same.
  struct Todo {
    bool read = false;
    bool self_check = false;
    bool end_self_check = false;
    std::vector<int32_t> released;  // slots that are free again, or given up
    bool has_news = false;          // States() may have changed since the last time
  };
  // To be called after every change, and at NextWakeup().
  Todo TakeTodo(absl::Time now);
  absl::Time NextWakeup() const;

  void OnReading(MachineReading reading, absl::Time now);
  void OnSelfCheck(const absl::Status& status, absl::Time now);

  void OnStarted(int32_t slot) { taken_.insert(slot), has_news_ = true; }
  // Its process has been reaped; `released` will tell.
  void OnReaped(int32_t slot, absl::Time now);

  // Whether each check has been answered once, or its time is over.
  bool is_checked() const { return has_read_ && has_self_checked_; }
  // The slots of which there is something to say: a device, a reason.
  std::vector<v1::WorkerSlot> States() const;

 private:
  struct Release {
    absl::Time limit;
    int64_t reading = 0;  // the first one that tells of it
  };

  std::string MachineFault() const;
  std::string DeviceFault(int32_t slot) const;
  bool HasFault() const;
  bool IsFree(int32_t slot) const;

  const Options options_;
  const int num_slots_;
  const std::vector<v1::WorkerSlot> devices_;
  Backoff backoff_;
  Backoff self_check_backoff_;

  MachineReading reading_;   // the newest
  bool is_overdue_ = false;  // the one under way
  bool has_read_ = false;
  int64_t num_begun_ = 0;  // readings
  bool is_reading_ = false;
  absl::Time read_at_ = absl::InfinitePast();  // or, while reading, when it is overdue
  absl::Status self_check_;
  bool has_self_checked_ = false;
  bool is_self_checking_ = false;
  bool is_ended_ = false;                            // the self-check under way was told to end
  absl::Time self_check_at_ = absl::InfinitePast();  // likewise

  std::set<int32_t> taken_;
  std::map<int32_t, Release> releasing_;
  std::vector<int32_t> released_;  // to be told
  bool has_news_ = true;
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_HEALTH_SLOT_HEALTH_H_
