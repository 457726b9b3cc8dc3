// Where a rank is in its training, written by those who train and read by whoever tells the agent.
#ifndef URSA_WORKER_COMM_POSITION_BOARD_H_
#define URSA_WORKER_COMM_POSITION_BOARD_H_

#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "worker/comm/collective.h"

namespace ursa {

// Thread-safe. Texts are literals: they are kept by pointer.
class PositionBoard {
 public:
  struct Position {
    int64_t step = 0;            // optimizer steps done
    int64_t collectives = 0;     // entered so far
    bool in_collective = false;  // and the last one is not left
    const char* doing = "";      // what it does, as in "it waits for a batch"; in a collective, which one
    absl::Duration duration;     // so long already
  };

  // Borrows `clock`.
  explicit PositionBoard(Clock* clock) : clock_(clock), since_(clock->Now()) {}

  void SetStep(int64_t step);
  // What the training thread does from now on.
  void Enter(const char* doing);
  // The one thread that is in a collective now; the training thread may do something beside it.
  void EnterCollective(const char* collective);
  void LeaveCollective();
  // A new group counts anew.
  void ResetCollectives();

  Position Get() const;

 private:
  Clock* const clock_;
  mutable absl::Mutex mu_;
  int64_t step_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t collectives_ ABSL_GUARDED_BY(mu_) = 0;
  const char* doing_ ABSL_GUARDED_BY(mu_) = "starts";
  const char* collective_ ABSL_GUARDED_BY(mu_) = nullptr;  // while it is in one
  absl::Time since_ ABSL_GUARDED_BY(mu_);
};

// `collective`, with each of its calls written on `board`. Borrows both.
std::unique_ptr<Collective> WatchCollective(Collective* collective, PositionBoard* board);

}  // namespace ursa

#endif  // URSA_WORKER_COMM_POSITION_BOARD_H_
