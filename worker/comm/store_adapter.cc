#include "worker/comm/store_adapter.h"

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace ursa {
namespace {

void ThrowUnlessOk(const absl::Status& status, const char* what, const std::string& key) {
  TORCH_CHECK(status.ok(), "rendezvous: ", what, " \"", key, "\": ", std::string(status.message()));
}

}  // namespace

c10::intrusive_ptr<c10d::Store> StoreAdapter::clone() { return c10::make_intrusive<StoreAdapter>(store_, timeout_); }

void StoreAdapter::set(const std::string& key, const std::vector<uint8_t>& value) {
  ThrowUnlessOk(store_->Set(key, std::string(value.begin(), value.end())), "set", key);
}

std::vector<uint8_t> StoreAdapter::get(const std::string& key) {
  const absl::StatusOr<std::string> value = store_->Get(key, absl::FromChrono(timeout_));
  ThrowUnlessOk(value.status(), "get", key);
  return std::vector<uint8_t>(value->begin(), value->end());
}

int64_t StoreAdapter::add(const std::string& key, int64_t value) {
  const absl::StatusOr<int64_t> sum = store_->Add(key, value);
  ThrowUnlessOk(sum.status(), "add to", key);
  return *sum;
}

bool StoreAdapter::deleteKey(const std::string& key) {
  const absl::StatusOr<bool> existed = store_->Delete(key);
  ThrowUnlessOk(existed.status(), "delete", key);
  return *existed;
}

bool StoreAdapter::check(const std::vector<std::string>& keys) {
  const absl::StatusOr<bool> all = store_->Check(keys);
  ThrowUnlessOk(all.status(), "check", keys.empty() ? "" : keys[0]);
  return *all;
}

int64_t StoreAdapter::getNumKeys() {
  TORCH_CHECK(false, "rendezvous: keys are not counted");
  return 0;
}

void StoreAdapter::wait(const std::vector<std::string>& keys) { wait(keys, timeout_); }

void StoreAdapter::wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) {
  ThrowUnlessOk(store_->Wait(keys, absl::FromChrono(timeout)), "wait for", keys.empty() ? "" : keys[0]);
}

}  // namespace ursa
