// Virtual time, one thread, one seed: the event queue on which everything in a simulation happens.
#ifndef URSA_TESTS_SIMULATION_WORLD_H_
#define URSA_TESTS_SIMULATION_WORLD_H_

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/rng.h"

namespace ursa::sim {

// What is done to the cluster. Each is counted when it takes effect, not when it is planned.
enum class Fault {
  kMessageLost,       // a stream's message that never arrived
  kMessageAgain,      // events or a call that the coordinator had received before
  kMessageReordered,  // of an older stream, after one of a newer stream of the same worker
  kMessageLate,       // later than a lease
  kStreamBroken,
  kConnectRefused,  // the coordinator was down
  kCallLost,        // a unary call that never arrived
  kReplyLost,       // a unary call that took effect, its answer lost
  kCallAgain,       // a unary call that arrived although its caller had given up
  kPartition,       // of one worker from the coordinator
  kAgentKilled,
  kAgentPaused,
  kMachineReplaced,  // the agent comes back without its id
  kClockSkewed,      // of one worker
  kTaskFailed,       // a rank that crashes, is out of memory, or reports a failure
  kTaskHung,
  kGroupBroken,  // ranks lose each other, and none of them dies
  kStopIgnored,
  kStartFailed,
  kBlobEvicted,  // from a worker's cache
  kCoordinatorKilled,
  kCoordinatorPaused,
  kDiedInCommit,    // between the commit's write and its effects, or in the middle of these
  kWriteFailed,     // an error of the disk, which changed nothing
  kWriteTorn,       // an error of the disk, after the write had reached it
  kWriteRefused,    // the disk was full
  kWriteForgotten,  // a write that was not synced, lost in a crash
  kDiskFull,
  kDiskSlow,
  kClockJumped,  // of the coordinator's machine, at a restart
  kCount,
};

const char* NameOf(Fault fault);

using FaultCounts = std::array<int64_t, static_cast<size_t>(Fault::kCount)>;

// Events in order of (time, number); equal seeds give equal runs, which the trace hash shows. Not thread-safe.
class World {
 public:
  explicit World(uint64_t seed);
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  absl::Time now() const { return now_; }
  absl::Duration elapsed() const { return now_ - kStart; }

  // Choices. Every one in a simulation is drawn from here.
  Rng* rng() { return &rng_; }
  bool Chance(double probability) { return probability > 0 && rng_.Uniform() < probability; }
  int64_t Below(int64_t bound) { return static_cast<int64_t>(rng_.Below(static_cast<uint64_t>(bound))); }
  // Uniform in [least, most].
  int64_t Between(int64_t least, int64_t most) { return least + Below(most - least + 1); }
  absl::Duration Between(absl::Duration least, absl::Duration most);
  // Exponentially distributed.
  absl::Duration After(absl::Duration mean);

  // Runs `event` at `time`, or now if that has passed; after all that were added for the same time before.
  void At(absl::Time time, std::function<void()> event);
  void In(absl::Duration delay, std::function<void()> event) { At(now_ + delay, std::move(event)); }
  // Runs the next event. False if there is none.
  bool Step();
  int64_t num_events() const { return num_events_; }

  // One line of the trace: what happened, with numbers that say to whom. `what` is a literal.
  void Trace(const char* what, int64_t a = 0, int64_t b = 0, int64_t c = 0);
  uint64_t trace_hash() const { return trace_hash_; }
  // The last lines, oldest first.
  std::string LastTrace(size_t num_lines) const;
  // Prints every line to standard error from that time on.
  void PrintTraceFrom(absl::Time time) { print_from_ = time; }

  void Count(Fault fault, int64_t times = 1);
  const FaultCounts& faults() const { return faults_; }

  // An invariant does not hold. The first reason is kept; the run is to be ended.
  void Fail(std::string why);
  bool failed() const { return !failure_.empty(); }
  const std::string& failure() const { return failure_; }
  absl::Time failed_at() const { return failed_at_; }

 private:
  static const absl::Time kStart;

  struct Entry {
    absl::Time time;
    int64_t number;
    size_t slot;  // of events_
  };
  struct Later {
    bool operator()(const Entry& a, const Entry& b) const {
      return a.time != b.time ? a.time > b.time : a.number > b.number;
    }
  };
  struct Line {
    absl::Time time;
    const char* what;
    int64_t a, b, c;
  };
  static std::string ToString(const Line& line);

  SeededRng rng_;
  absl::Time now_ = kStart;
  std::vector<Entry> heap_;
  std::vector<std::function<void()>> events_;
  std::vector<size_t> free_slots_;
  int64_t num_added_ = 0;
  int64_t num_events_ = 0;

  uint64_t trace_hash_ = 0;
  std::vector<Line> lines_;  // a ring
  size_t num_lines_ = 0;
  absl::Time print_from_ = absl::InfiniteFuture();

  FaultCounts faults_ = {};
  std::string failure_;
  absl::Time failed_at_;
};

// The clock of a machine: the world's time, seen through an offset and a rate.
class MachineClock : public Clock {
 public:
  explicit MachineClock(const World* world) : world_(*world), base_(world->now()) {}

  absl::Time Now() override { return FromWorld(world_.now()); }
  // Nothing in a simulation may wait.
  void SleepUntil(absl::Time wakeup_time) override;
  bool AwaitWithDeadline(absl::Mutex* mu, const absl::Condition& condition, absl::Time deadline) override;

  // From now on it runs at `rate` of true time.
  void SetRate(double rate);
  // Between two processes alone: each carries on the wall's time of its start by itself.
  void Jump(absl::Duration jump) { offset_ += jump; }
  absl::Time FromWorld(absl::Time time) const {
    return rate_ == 1 ? time + offset_ : time + offset_ + (time - base_) * (rate_ - 1);
  }
  // The first world's time at which Now() >= `time`.
  absl::Time ToWorld(absl::Time time) const;

 private:
  const World& world_;
  absl::Time base_;
  absl::Duration offset_;
  double rate_ = 1;
};

}  // namespace ursa::sim

#endif  // URSA_TESTS_SIMULATION_WORLD_H_
