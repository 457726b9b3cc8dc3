// Where the ranks of a gang meet: a small key-value store for each epoch of a task, as c10d::Store.
#ifndef URSA_COORDINATOR_CORE_RENDEZVOUS_H_
#define URSA_COORDINATOR_CORE_RENDEZVOUS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/core/environment.h"
#include "ursa/worker/v1/task.pb.h"

namespace ursa {

// In memory: an epoch whose ranks were meeting when the coordinator died has to begin anew. Guarded by the
// coordinator's lock: every method takes a transaction.
class Rendezvous {
 public:
  // Takes the answer of an operation, under the lock; called once.
  using Answer = std::function<void(Tx& tx, const absl::StatusOr<worker::v1::StoreResponse>& response)>;

  explicit Rendezvous(const Environment* env) : env_(*env) {}

  // GET and WAIT answer when all their keys are there, with `timed_out` after timeout_millis (none if it is 0); all
  // others answer at once. `call` names the call: one that is sent again after a broken stream takes effect once.
  // Errors: RESOURCE_EXHAUSTED (too many keys, a value too large), INVALID_ARGUMENT, ABORTED (the epoch is stale).
  using CallName = std::pair<int64_t, int64_t>;  // worker and its call id
  void Run(Tx& tx, const TrialId& trial, int64_t epoch, CallName call, const worker::v1::StoreRequest& request,
           Answer answer);

  bool Has(const TrialId& trial, int64_t epoch) const { return stores_.count({trial, epoch}) > 0; }
  // Makes an empty store, for an epoch that starts now.
  void Add(const TrialId& trial, int64_t epoch) { stores_.try_emplace({trial, epoch}); }
  // Forgets those epochs of `trials` for which `is_current` is false; who waits there gets ABORTED.
  void DropUnless(Tx& tx, const std::set<TrialId>& trials,
                  const std::function<bool(const TrialId& trial, int64_t epoch)>& is_current);

  // Answers those who have waited for too long.
  void Tick(Tx& tx);

 private:
  struct Waiter {
    std::vector<std::string> keys;
    bool wants_value = false;
    absl::Time deadline;
    Answer answer;
  };
  struct Store {
    std::map<std::string, std::string> values;
    std::vector<Waiter> waiters;
    std::map<CallName, worker::v1::StoreResponse> answers;  // to calls that must not be repeated
  };

  absl::StatusOr<worker::v1::StoreResponse> RunNow(const worker::v1::StoreRequest& request, Store* store) const;
  absl::Status Set(const std::string& key, std::string value, Store* store) const;
  static void Wake(Tx& tx, Store* store);

  const Environment& env_;
  std::map<std::pair<TrialId, int64_t>, Store> stores_;  // by (trial, epoch)
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_RENDEZVOUS_H_
