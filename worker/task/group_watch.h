// What a rank is told of its group while it runs: to stop, and which group is the newest one.
#ifndef URSA_WORKER_TASK_GROUP_WATCH_H_
#define URSA_WORKER_TASK_GROUP_WATCH_H_

#include <cstdint>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "ursa/worker/v1/task.pb.h"

namespace ursa {

// Thread-safe.
class GroupWatch {
 public:
  void TellStop(const worker::v1::StopDirective& stop);
  void TellReform(const worker::v1::ReformDirective& group);

  bool stopped() const;
  // Told to stop, and that the state is this rank's to keep if the group is lost.
  bool keeps_state() const;
  // Waits for a group that is newer than `epoch`: for as long as it takes, since whoever forms groups also ends
  // processes that it has no use for. Nothing if the task is told to stop.
  std::optional<worker::v1::ReformDirective> AwaitNewer(int64_t epoch) const;

  // The group that this rank is in, while it is.
  void EnterGroup(int64_t epoch);
  void LeaveGroup();
  // Waits until that group is over: a newer one has been formed; or `stop_grace` ago the task was told to stop, and the
  // group has not ended of that, as one does not that has lost a rank. False: it was left first.
  bool AwaitOver(absl::Duration stop_grace) const;

 private:
  mutable absl::Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  bool keeps_state_ ABSL_GUARDED_BY(mu_) = false;
  worker::v1::ReformDirective newest_ ABSL_GUARDED_BY(mu_);
  std::optional<int64_t> entered_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ursa

#endif  // URSA_WORKER_TASK_GROUP_WATCH_H_
