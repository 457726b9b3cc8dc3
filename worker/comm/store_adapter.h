// A RendezvousStore in the form that c10d's process groups want.
#ifndef URSA_WORKER_COMM_STORE_ADAPTER_H_
#define URSA_WORKER_COMM_STORE_ADAPTER_H_

#include <memory>
#include <string>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

#include "worker/comm/rendezvous_store.h"

namespace ursa {

// Forwards every call; errors become exceptions, as c10d expects. Thread-safe.
class StoreAdapter : public c10d::Store {
 public:
  StoreAdapter(std::shared_ptr<RendezvousStore> store, std::chrono::milliseconds timeout)
      : Store(timeout), store_(std::move(store)) {}

  using c10d::Store::set;
  c10::intrusive_ptr<c10d::Store> clone() override;
  void set(const std::string& key, const std::vector<uint8_t>& value) override;
  std::vector<uint8_t> get(const std::string& key) override;
  int64_t add(const std::string& key, int64_t value) override;
  bool deleteKey(const std::string& key) override;
  bool check(const std::vector<std::string>& keys) override;
  int64_t getNumKeys() override;
  void wait(const std::vector<std::string>& keys) override;
  void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) override;

 private:
  std::shared_ptr<RendezvousStore> store_;
};

}  // namespace ursa

#endif  // URSA_WORKER_COMM_STORE_ADAPTER_H_
