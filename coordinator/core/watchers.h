// Who wants to know when an experiment changes: streams that watch one or follow its logs.
#ifndef URSA_COORDINATOR_CORE_WATCHERS_H_
#define URSA_COORDINATOR_CORE_WATCHERS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>

#include "coordinator/core/environment.h"

namespace ursa {

// Guarded by the coordinator's lock: every method takes a transaction.
class Watchers {
 public:
  // `changed` is called, not under the lock, each time the experiment or its log has changed and that is durable; it
  // must be quick, and may still be called once after Remove. Returns an id.
  int64_t Add(Tx&, int64_t experiment_id, std::function<void()> changed) {
    watchers_[experiment_id].emplace(++last_id_, std::move(changed));
    return last_id_;
  }
  void Remove(Tx&, int64_t experiment_id, int64_t watcher_id) {
    const auto it = watchers_.find(experiment_id);
    if (it == watchers_.end()) return;
    it->second.erase(watcher_id);
    if (it->second.empty()) watchers_.erase(it);
  }
  // Tells those who watch one of the experiments, after this transaction is durable.
  void Notify(Tx& tx, const std::set<int64_t>& experiment_ids) const {
    for (const int64_t id : experiment_ids) {
      const auto it = watchers_.find(id);
      if (it == watchers_.end()) continue;
      for (const auto& [watcher_id, changed] : it->second) tx.AfterDurable(changed);
    }
  }

 private:
  std::map<int64_t, std::map<int64_t, std::function<void()>>> watchers_;
  int64_t last_id_ = 0;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_WATCHERS_H_
