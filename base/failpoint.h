// Named points in production code at which a test kills the process, holds it up, or makes a call fail.
//
//   storage/failpoints.h   inline StatusFailpoint kv_before_synced_write("storage.kv.before_synced_write");
//   the code               URSA_RETURN_IF_ERROR(failpoints::kv_before_synced_write.Pass());
//
// They are in every build, so that what is killed is what is shipped. A point that nobody watches costs one relaxed
// load of a byte, and points stand only beside a write, a message or a process: never in a loop over values.
//
// Nothing is watched unless the program was started with the environment variable URSA_FAILPOINTS, which names a folder
// that only its owner may write; main() asks for it by ArmFailpoints(), and it is logged. In the folder:
//
//   armed             what is to happen, read once at the start; a line is PROGRAM POINT ACTION PASS:
//                       ursa-coordinator coordinator.commit.before_write die 3     SIGKILL to itself at the third pass
//                       ursa-task task.rendezvous.before sleep=200ms 1             holds up the thread
//                       ursa-coordinator storage.load.before_ingest fail 1         a StatusFailpoint gives UNKNOWN
//   PROGRAM.points    all points of a program, written at its start: "NAME", or "NAME fail" of a StatusFailpoint
//   trace             appended to by all: "passed PROGRAM POINT" at the first pass in each process, "fired LINE" before
//                     an action. A line that has fired is done: a process started later lets it pass.
#ifndef URSA_BASE_FAILPOINT_H_
#define URSA_BASE_FAILPOINT_H_

#include <atomic>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace ursa {

// One point. A variable of namespace scope in its room's failpoints.h: it enters the program's list before main(), and
// lives for ever. A name, `room.thing.moment`, stands for one point: a second one of that name ends the process.
// Thread-safe.
class Failpoint {
 public:
  explicit Failpoint(const char* name) : Failpoint(name, /*can_fail=*/false) {}
  Failpoint(const Failpoint&) = delete;
  Failpoint& operator=(const Failpoint&) = delete;

  void Pass() {
    if (is_watched_.load(std::memory_order_relaxed)) WatchedPass();
  }

  const char* name() const { return name_; }
  // Whether `fail` may be armed here.
  bool can_fail() const { return can_fail_; }

 protected:
  Failpoint(const char* name, bool can_fail);
  bool is_watched() const { return is_watched_.load(std::memory_order_relaxed); }
  // Counts the pass and does what is armed for it; whether that is to fail.
  bool WatchedPass();

 private:
  friend class FailpointWatch;

  const char* const name_;
  const bool can_fail_;
  Failpoint* const next_;  // of the program's list
  std::atomic<bool> is_watched_{false};
};

// A point whose code can fail here as it can by itself.
class StatusFailpoint : public Failpoint {
 public:
  explicit StatusFailpoint(const char* name) : Failpoint(name, /*can_fail=*/true) {}

  // UNKNOWN, as of a disk or a peer, when it is told to fail.
  absl::Status Pass() { return is_watched() && WatchedPass() ? Failure() : absl::OkStatus(); }

 private:
  absl::Status Failure() const;
};

inline constexpr char kFailpointsVariable[] = "URSA_FAILPOINTS";

// Watches all points if the environment says so; to be called once, at the start of main(). Errors, upon which the
// program must not start: FAILED_PRECONDITION (the variable names no folder, or one that others may write);
// INVALID_ARGUMENT (a line for this program that cannot be carried out); of reading and writing in the folder.
absl::Status ArmFailpoints();

// All points of this program by name.
std::vector<const Failpoint*> AllFailpoints();

}  // namespace ursa

#endif  // URSA_BASE_FAILPOINT_H_
