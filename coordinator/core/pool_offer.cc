#include "coordinator/core/pool_offer.h"

#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "coordinator/scheduling/simd_level.h"
#include "experiments/resource_names.h"

namespace ursa {
namespace {

constexpr int32_t kWorkersMax = 10'000;
constexpr int32_t kSlotsMax = 1024;
constexpr int32_t kCoresMax = 4096;

absl::Status ParseCount(const std::string& subject, const char* what, const std::string& text, int32_t max,
                        int32_t* count) {
  if (absl::SimpleAtoi(text, count) && *count >= 1 && *count <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(subject, ": ", what, " are \"", text, "\", may be 1 to ", max));
}

// "cuda:16x4:32:avx2".
absl::StatusOr<ElasticPool> ParseElasticPool(const std::string& subject, const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  const std::vector<std::string> size = absl::StrSplit(parts.size() > 1 ? parts[1] : "", 'x');
  if (parts.size() < 3 || parts.size() > 4 || size.size() != 2) {
    return absl::InvalidArgumentError(
        absl::StrCat(subject, ": is \"", text, "\" (hint: KIND:WORKERSxSLOTS:CORES[:SIMD], cuda:16x4:32:avx2)"));
  }
  ElasticPool pool;
  pool.kind = parts[0];
  if (pool.kind != "cpu" && pool.kind != "cuda") {
    return absl::InvalidArgumentError(absl::StrCat(subject, ": kind is \"", pool.kind, "\", may be cpu or cuda"));
  }
  URSA_RETURN_IF_ERROR(ParseCount(subject, "workers", size[0], kWorkersMax, &pool.workers_max));
  URSA_RETURN_IF_ERROR(ParseCount(subject, "slots of a worker", size[1], kSlotsMax, &pool.worker_slots));
  URSA_RETURN_IF_ERROR(ParseCount(subject, "cores of a worker", parts[2], kCoresMax, &pool.worker_cores));
  if (parts.size() == 4) pool.simd = parts[3];
  if (SimdLevel(pool.simd) < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(subject, ": instruction set is \"", pool.simd, "\", may be x86-64-v2, avx2 or avx512"));
  }
  return pool;
}

}  // namespace

absl::StatusOr<std::map<std::string, ElasticPool>> ParseElasticPools(std::string_view text) {
  std::map<std::string, ElasticPool> pools;
  for (const absl::string_view part : absl::StrSplit(absl::string_view(text.data(), text.size()), ',')) {
    const std::pair<std::string, std::string> named = absl::StrSplit(part, absl::MaxSplits('=', 1));
    URSA_RETURN_IF_ERROR(CheckName("elastic pool", named.first));
    const std::string subject = absl::StrCat("elastic pool \"", named.first, "\"");
    URSA_ASSIGN_OR_RETURN(ElasticPool pool, ParseElasticPool(subject, named.second));
    if (!pools.emplace(named.first, std::move(pool)).second) {
      return absl::InvalidArgumentError(absl::StrCat(subject, ": is given twice"));
    }
  }
  return pools;
}

absl::StatusOr<ResolveContext> DescribePool(const Tx& tx, const CoordinatorOptions& options, const std::string& pool) {
  ResolveContext context;
  if (const auto it = options.elastic_pools.find(pool); it != options.elastic_pools.end()) {
    const ElasticPool& elastic = it->second;
    context.device = elastic.kind;
    context.simd = elastic.simd;
    context.cluster_slots = elastic.workers_max * elastic.worker_slots;
    context.worker_slots = elastic.worker_slots;
    context.worker_cores = elastic.worker_cores;
    return context;
  }
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
