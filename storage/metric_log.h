// Metric points: bulk data beside State, which keeps no more than their counts.
#ifndef URSA_STORAGE_METRIC_LOG_H_
#define URSA_STORAGE_METRIC_LOG_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/keys.h"
#include "storage/kv_store.h"

namespace ursa {

struct MetricPoint {
  std::string name;   // 1 to 128 bytes without 0x00, for example "valid_loss"
  uint64_t step = 0;  // optimizer steps through all phases
  double epoch = 0;   // epochs through all phases, with fraction
  double value = 0;   // kept to the bit, NaN and infinities too
  absl::Time time;    // to the microsecond
};

// Points keyed by (trial, name, step); a point of the same key replaces the one before, so what is replayed after a
// restart is there once. Borrows its store. Thread-safe.
class MetricLog {
 public:
  struct Options {
    int64_t append_points_max = 100'000;  // in one call
    int64_t read_points_max = 1'000'000;  // in one call, whatever limit is asked for
  };

  // `store` has passed CheckStoreFormat and outlives this.
  MetricLog(KvStore* store, const Options& options) : store_(store), options_(options) {}

  // All points or none. INVALID_ARGUMENT: a bad name; RESOURCE_EXHAUSTED: more than append_points_max, or the disk is
  // full.
  absl::Status Append(TrialKey trial, const std::vector<MetricPoint>& points, Durability durability);

  struct Query {
    TrialKey trial;
    std::string name;  // empty: all names, sorted by (name, step)
    uint64_t begin_step = 0;
    uint64_t last_step = std::numeric_limits<uint64_t>::max();  // inclusive
    int64_t limit = 100'000;                                    // points at most, of the whole answer; >= 1
    // Goes on after the last point of the answer before. With a `name` given only the step counts.
    struct Position {
      std::string name;
      uint64_t step = 0;
    };
    std::optional<Position> after;
  };
  struct Page {
    std::vector<MetricPoint> points;
    bool more = false;  // the limit ended it
  };
  // INVALID_ARGUMENT: a bad name or limit.
  absl::StatusOr<Page> Read(const Query& query) const;

  // The point of the greatest step of each metric, sorted by name.
  absl::StatusOr<std::vector<MetricPoint>> ReadLast(TrialKey trial) const;

  // Metric names of a trial, sorted.
  absl::StatusOr<std::vector<std::string>> ListNames(TrialKey trial) const;

  // Removes the points of all trials of an experiment.
  absl::Status DeleteExperiment(uint64_t experiment);

 private:
  static absl::StatusOr<std::vector<std::string>> ListNames(const KvReader& view, TrialKey trial);

  KvStore* const store_;
  const Options options_;
};

}  // namespace ursa

#endif  // URSA_STORAGE_METRIC_LOG_H_
