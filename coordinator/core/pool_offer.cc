#include "coordinator/core/pool_offer.h"

#include <limits>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/scheduling/simd_level.h"

namespace ursa {

absl::StatusOr<ResolveContext> DescribePool(const Tx& tx, const std::string& pool) {
  ResolveContext context;
  context.device = "cpu";
  std::vector<const records::WorkerRecord*> workers;
  std::set<std::string> other_pools;
  for (const auto& [id, worker] : tx.state().All<records::WorkerRecord>()) {
    if (worker.lost()) continue;
    const std::string name = worker.pool().empty() ? kDefaultPool : worker.pool();
    if (name != pool) {
      other_pools.insert(name);
      continue;
    }
    workers.push_back(&worker);
    if (worker.kind() == "cuda") context.device = "cuda";
  }
  if (workers.empty() && !other_pools.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("resources.pool: pool \"", pool, "\" has no worker (hint: of ",
                                                      absl::StrJoin(other_pools, ", "), ")"));
  }
  int32_t simd_level = std::numeric_limits<int32_t>::max();
  context.simd = "x86-64-v2";
  for (const records::WorkerRecord* worker : workers) {
    if (worker->kind() != context.device) continue;
    const bool is_first = context.cluster_slots == 0;
    context.cluster_slots += worker->slots();
    if (is_first || worker->cores() * context.worker_slots < context.worker_cores * worker->slots()) {
      context.worker_slots = worker->slots();
      context.worker_cores = worker->cores();
    }
    if (SimdLevel(worker->simd()) < simd_level) {
      simd_level = SimdLevel(worker->simd());
      context.simd = worker->simd();
    }
  }
  return context;
}

}  // namespace ursa
