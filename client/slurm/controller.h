// Looks at cluster and Slurm, decides by Plan(), and acts.
#ifndef URSA_CLIENT_SLURM_CONTROLLER_H_
#define URSA_CLIENT_SLURM_CONTROLLER_H_

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "client/lib/client.h"
#include "client/slurm/plan.h"
#include "client/slurm/slurm.h"

namespace ursa::slurm {

// What is said of one pass, and of each of its actions.
struct Event {
  std::string what;    // "submit", "cancel", "drain", "ask to end", "kill"; "note"
  int64_t job = 0;     // 0: none
  std::string worker;  // empty: none
  std::string why;     // and, if it failed, why that
  bool failed = false;
};

// What the coordinator says, as Plan() sees it: what waits in `pool` for slots of `kind`, and the pool's workers of it.
View MakeView(const v1::ListQueueResponse& queue, const std::vector<v1::Worker>& workers, std::vector<Job> jobs,
              const std::string& pool, const std::string& kind);

// Keeps the memory of Plan() from pass to pass. Borrows client, Slurm and clock. Not thread-safe; Pass() blocks.
class Controller {
 public:
  struct Options {
    PlanOptions plan;
    bool dry_run = false;  // decides and says, but does nothing
  };

  Controller(Client* client, Slurm* slurm, Clock* clock, const Options& options, std::function<void(const Event&)> say)
      : client_(client), slurm_(slurm), clock_(clock), options_(options), say_(std::move(say)) {}

  // One look, one decision, its actions. An action that fails is said and is none: the next pass sees what is so.
  // Errors: of asking the coordinator, and of squeue; nothing was done then.
  absl::StatusOr<Decision> Pass();

 private:
  absl::Status Do(const Action& action, Event* event);
  void SayNotes(const std::vector<std::string>& notes);

  Client* const client_;
  Slurm* const slurm_;
  Clock* const clock_;
  const Options options_;
  const std::function<void(const Event&)> say_;
  Memory memory_;
  std::set<std::string> said_notes_;  // of the last pass
};

}  // namespace ursa::slurm

#endif  // URSA_CLIENT_SLURM_CONTROLLER_H_
