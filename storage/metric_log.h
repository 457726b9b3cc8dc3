// Metric points: bulk data beside State, which keeps no more than their counts.
#ifndef URSA_STORAGE_METRIC_LOG_H_
#define URSA_STORAGE_METRIC_LOG_H_

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/keys.h"
#include "storage/kv_store.h"
#include "storage/metric_block.h"

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
//
//   Append --> rows, one a point --when they are many--> blocks of points with levels of summaries (metric_block.h)
//
// A row is newer than the block's point of the same step. A chart reads summaries as coarse as it may, and points only
// where rows lie within blocks.
class MetricLog {
 public:
  struct Options {
    int64_t append_points_max = 100'000;  // in one call
    int64_t read_points_max = 1'000'000;  // in one call, whatever limit is asked for
    // Rows of one metric that are made into blocks together; up to twice as many, so that not all metrics of a trial
    // are due at once.
    int64_t pack_rows = 512;
    int64_t counters_max = 100'000;  // metrics whose rows are counted in memory
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

  struct ChartQuery {
    TrialKey trial;
    std::string name;
    uint64_t begin_step = 0;
    uint64_t last_step = std::numeric_limits<uint64_t>::max();  // inclusive
    int64_t points_max = 1000;                                  // >= 1
  };
  // The points of a metric, summed up to at most `points_max` neighbourhoods of about equal width, rising in step, with
  // none left out; each point by itself if they are few. Reads about as many blocks as points are asked for, however
  // many are stored. INVALID_ARGUMENT: a bad name or number.
  absl::StatusOr<std::vector<MetricSummary>> Chart(const ChartQuery& query) const;

  // The point of the greatest step of each metric, sorted by name.
  absl::StatusOr<std::vector<MetricPoint>> ReadLast(TrialKey trial) const;

  // Metric names of a trial, sorted.
  absl::StatusOr<std::vector<std::string>> ListNames(TrialKey trial) const;

  // Removes the points of all trials of an experiment.
  absl::Status DeleteExperiment(uint64_t experiment);

 private:
  using MetricKeyOf = std::pair<TrialKey, std::string>;

  static absl::StatusOr<std::vector<std::string>> ListNames(const KvReader& view, TrialKey trial);
  // How many rows make a metric due.
  int64_t PackRows(const std::string& name) const;
  // Rows of a metric in the store, counted up to PackRows.
  absl::StatusOr<int64_t> NumRows(TrialKey trial, const std::string& name) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Makes blocks of the rows of a metric and `newer`, in order of arrival.
  absl::Status Pack(TrialKey trial, const std::string& name, std::vector<MetricSample> newer, WriteBatch* batch) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  KvStore* const store_;
  const Options options_;
  // Held while rows and blocks are read to be written anew.
  mutable absl::Mutex mu_;
  std::map<MetricKeyOf, int64_t> num_rows_ ABSL_GUARDED_BY(mu_);  // at least so many; of metrics written lately
};

}  // namespace ursa

#endif  // URSA_STORAGE_METRIC_LOG_H_
