// Lets one of gRPC's threads carry the heartbeats of a large cluster.
#ifndef URSA_COORDINATOR_SERVICES_POLLER_REST_H_
#define URSA_COORDINATOR_SERVICES_POLLER_REST_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/clock.h"

namespace ursa {

// gRPC runs callbacks in two threads or more, and whichever hears of an event first hands the watch over the sockets to
// another: two switches of context for each heartbeat, a quarter of its cost (tools/bench/README.md). One thread is
// enough for heartbeats. So while they come by the thousand in a second and nothing else does, all threads but one
// rest, in the callback of a heartbeat; they are back as soon as anything else comes. Thread-safe.
class PollerRest {
 public:
  struct Options {
    // At most so long at a time: what comes while the thread that is awake is held up waits no longer.
    absl::Duration rest_max = absl::Milliseconds(20);
    // In `rest_max`. Fewer are not worth it; more, 22 500 a second, are not left to one thread.
    int heartbeats_min = 20;
    int heartbeats_max = 450;
    absl::Duration quiet = absl::Milliseconds(100);  // nobody rests so soon after other work
  };
  explicit PollerRest(Clock* clock) : PollerRest(clock, Options()) {}
  PollerRest(Clock* clock, const Options& options) : clock_(*clock), options_(options) {}

  // At the end of a heartbeat's callback, in gRPC's thread, which holds no lock: may rest here.
  void OnHeartbeat();

  // A call begins, or an agent says something else.
  void OnOtherWork();

  size_t num_resting() const;

 private:
  // One more, in the interval of `rest_max` in which `now` lies.
  void Count(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Clock& clock_;
  const Options options_;

  mutable absl::Mutex mu_;
  std::set<std::thread::id> threads_ ABSL_GUARDED_BY(mu_);  // all that have brought a heartbeat
  size_t num_resting_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t num_other_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Time quiet_until_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  absl::Time interval_end_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  int heartbeats_ ABSL_GUARDED_BY(mu_) = 0;        // in this interval
  bool is_worth_it_ ABSL_GUARDED_BY(mu_) = false;  // as many came in the one before
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_SERVICES_POLLER_REST_H_
