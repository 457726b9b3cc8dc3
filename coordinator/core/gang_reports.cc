// What ranks report of their training: metric points, logs, checkpoints.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/log.h"
#include "coordinator/core/checkpoints.h"
#include "coordinator/core/gangs.h"
#include "coordinator/state/task_name.h"
#include "storage/log_store.h"
#include "storage/metric_log.h"

namespace ursa {
namespace {

constexpr int kEventPointsMax = 10'000;
constexpr int kRowMetricsMax = 256;
constexpr size_t kLogChunkBytesMax = size_t{1} << 20;

TrialKey StoreKeyOf(const TrialId& id) { return {static_cast<uint64_t>(id.first), static_cast<uint32_t>(id.second)}; }

}  // namespace

void Gangs::OnMetrics(Tx& tx, const records::TrialRecord& found, const worker::v1::MetricPoints& metrics) {
  std::vector<MetricPoint> points;
  v1::EpochRow row;
  row.set_epoch(std::max(0, metrics.epoch()));
  const absl::Time now = env_.clock->Now();
  for (const auto& point : metrics.points()) {
    if (!CheckMetricName(point.name()).ok() || point.step() < 0 || static_cast<int>(points.size()) == kEventPointsMax) {
      ++num_refused_;
      continue;
    }
    points.push_back(
        {point.name(), static_cast<uint64_t>(point.step()), static_cast<double>(point.epoch()), point.value(), now});
    row.set_step(std::max<int64_t>(row.step(), point.step()));
    if (row.metrics_size() < kRowMetricsMax) (*row.mutable_metrics())[point.name()] = point.value();
  }
  if (points.empty()) return;
  const TrialId id(found.experiment_id(), found.number());
  tx.AddBulkWrite([log = env_.metrics, id, points = std::move(points)] {
    return log->Append(StoreKeyOf(id), points, Durability::kBuffered);
  });
  if (!metrics.validation()) return;
  records::TrialRecord trial = found;
  *trial.mutable_metrics() = row.metrics();
  records::EpochRecord epoch;
  epoch.set_experiment_id(id.first);
  epoch.set_trial(id.second);
  *epoch.mutable_row() = std::move(row);
  tx.Apply(std::move(Mutation().Put(std::move(trial)).Put(std::move(epoch))));
}

void Gangs::OnLog(Tx& tx, const TrialId& id, int64_t epoch, int32_t rank, const worker::v1::LogChunk& log) {
  const bool is_both = log.num_left_out_bytes() > 0 && !log.data().empty();
  if (log.data().size() > kLogChunkBytesMax || log.offset() < 0 || log.num_left_out_bytes() < 0 || is_both) {
    ++num_refused_;
    return;
  }
  LogPiece piece;
  piece.attempt = static_cast<uint32_t>(epoch);
  piece.offset = static_cast<uint64_t>(log.offset());
  piece.time = log.has_time() ? FromTimestamp(log.time()) : env_.clock->Now();
  piece.bytes = log.data();
  piece.num_left_out_bytes = static_cast<uint64_t>(log.num_left_out_bytes());
  const LogStreamKey stream{StoreKeyOf(id), static_cast<uint32_t>(rank)};
  tx.AddBulkWrite([logs = env_.logs, stream, piece = std::move(piece)] {
    return logs->Append(stream, {piece}, Durability::kBuffered);
  });
}

void Gangs::OnCheckpoint(Tx& tx, int32_t rank, const worker::v1::CheckpointSaved& saved,
                         const std::set<std::string>& missing_blobs, records::TrialRecord* trial) {
  const std::string at = absl::StrCat("checkpoint at step ", saved.step(), ": ");
  for (const std::string* hash : {&saved.model_blob(), &saved.optimizer_blob()}) {
    if (!IsDigestHex(*hash) || missing_blobs.count(*hash)) {
      return Fail(trial, rank, absl::StrCat(at, "its blob ", hash->substr(0, 64), " is not stored"));
    }
  }
  if (saved.step() < 0 || saved.step() < trial->gang().from_step()) {
    return Fail(trial, rank,
                absl::StrCat(at, "it is before step ", trial->gang().from_step(), ", where the task began"));
  }
  records::CheckpointRecord checkpoint;
  checkpoint.set_id(TakeNumber(tx, "checkpoint"));
  checkpoint.set_step(saved.step());
  checkpoint.set_epoch(saved.epoch());
  checkpoint.set_model_blob(saved.model_blob());
  checkpoint.set_optimizer_blob(saved.optimizer_blob());
  checkpoint.set_size_bytes(saved.size_bytes());
  for (const auto& [name, value] : saved.metrics()) {
    if (checkpoint.metrics_size() < kRowMetricsMax) (*checkpoint.mutable_metrics())[name] = value;
  }
  const auto& experiment = *tx.state().Find<records::ExperimentRecord>(trial->experiment_id());
  AddCheckpoint(std::move(checkpoint), experiment.spec().checkpoint(), env_.options.checkpoints_max, trial);
  *trial->mutable_gang()->mutable_checkpoint_time() = ToTimestamp(env_.clock->Now());
  if (saved.last()) trial->set_trained_to_step(std::max<int64_t>(1, saved.step()));
  URSA_LOG(INFO) << "task=" << TaskName({trial->experiment_id(), trial->number()})
                 << " checkpoint step=" << saved.step();
}

}  // namespace ursa
