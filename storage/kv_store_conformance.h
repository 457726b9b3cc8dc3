// What every KvStore must do: instantiated for the real one and the fake.
#ifndef URSA_STORAGE_KV_STORE_CONFORMANCE_H_
#define URSA_STORAGE_KV_STORE_CONFORMANCE_H_

#include <functional>
#include <memory>

#include "gtest/gtest.h"
#include "storage/kv_store.h"

namespace ursa {

// Makes one empty store and can open it again.
class KvStoreHarness {
 public:
  virtual ~KvStoreHarness() = default;
  virtual KvStore* store() = 0;
  // Closes and opens the store as after an orderly end of the process. Iterators and snapshots are gone by then.
  virtual void Reopen() = 0;
};

using KvStoreHarnessFactory = std::function<std::unique_ptr<KvStoreHarness>()>;

class KvStoreConformanceTest : public ::testing::TestWithParam<KvStoreHarnessFactory> {
 protected:
  void SetUp() override { harness_ = GetParam()(); }
  KvStore& store() { return *harness_->store(); }

  std::unique_ptr<KvStoreHarness> harness_;
};

}  // namespace ursa

#endif  // URSA_STORAGE_KV_STORE_CONFORMANCE_H_
