// Rendezvous stores for tests and benches: of the threads of one process, and of the processes of one machine.
#ifndef URSA_WORKER_COMM_LOCAL_RENDEZVOUS_H_
#define URSA_WORKER_COMM_LOCAL_RENDEZVOUS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/comm/rendezvous_store.h"

namespace ursa {

class MemoryRendezvousStore : public RendezvousStore {
 public:
  absl::Status Set(const std::string& key, const std::string& value) override;
  absl::StatusOr<std::string> Get(const std::string& key, absl::Duration timeout) override;
  absl::StatusOr<int64_t> Add(const std::string& key, int64_t delta) override;
  absl::StatusOr<bool> Check(const std::vector<std::string>& keys) override;
  absl::Status Wait(const std::vector<std::string>& keys, absl::Duration timeout) override;
  absl::StatusOr<bool> Delete(const std::string& key) override;

 private:
  absl::Mutex mu_;
  std::map<std::string, std::string> values_ ABSL_GUARDED_BY(mu_);
};

// One file a key in a folder, which must exist and be empty at first.
class FileRendezvousStore : public RendezvousStore {
 public:
  explicit FileRendezvousStore(std::string folder) : folder_(std::move(folder)) {}
  absl::Status Set(const std::string& key, const std::string& value) override;
  absl::StatusOr<std::string> Get(const std::string& key, absl::Duration timeout) override;
  absl::StatusOr<int64_t> Add(const std::string& key, int64_t delta) override;
  absl::StatusOr<bool> Check(const std::vector<std::string>& keys) override;
  absl::Status Wait(const std::vector<std::string>& keys, absl::Duration timeout) override;
  absl::StatusOr<bool> Delete(const std::string& key) override;

 private:
  std::string PathOf(const std::string& key) const;
  const std::string folder_;
};

}  // namespace ursa

#endif  // URSA_WORKER_COMM_LOCAL_RENDEZVOUS_H_
