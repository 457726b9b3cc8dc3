// The ranks' rendezvous over the task's socket: the coordinator keeps the keys, by task and fencing epoch.
#ifndef URSA_WORKER_TASK_AGENT_RENDEZVOUS_STORE_H_
#define URSA_WORKER_TASK_AGENT_RENDEZVOUS_STORE_H_

#include <string>
#include <vector>

#include "worker/agent_client/agent_client.h"
#include "worker/comm/rendezvous_store.h"

namespace ursa {

// Borrows `agent`; `epoch` is the group's. Thread-safe.
class AgentRendezvousStore : public RendezvousStore {
 public:
  AgentRendezvousStore(AgentClient* agent, int64_t epoch) : agent_(agent), epoch_(epoch) {}

  absl::Status Set(const std::string& key, const std::string& value) override;
  absl::StatusOr<std::string> Get(const std::string& key, absl::Duration timeout) override;
  absl::StatusOr<int64_t> Add(const std::string& key, int64_t delta) override;
  absl::StatusOr<bool> Check(const std::vector<std::string>& keys) override;
  absl::Status Wait(const std::vector<std::string>& keys, absl::Duration timeout) override;
  absl::StatusOr<bool> Delete(const std::string& key) override;

 private:
  absl::StatusOr<worker::v1::StoreResponse> Call(worker::v1::StoreRequest request) const;

  AgentClient* const agent_;
  const int64_t epoch_;
};

}  // namespace ursa

#endif  // URSA_WORKER_TASK_AGENT_RENDEZVOUS_STORE_H_
