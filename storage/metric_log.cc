#include "storage/metric_log.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "storage/coding.h"
#include "storage/failpoints.h"

namespace ursa {
namespace {

// point := format:u8 value:f64 epoch:f64 time:u64 (microseconds since 1970)
std::string Encode(const MetricPoint& point) {
  std::string value;
  AppendU8(&value, kValueFormat);
  AppendDouble(&value, point.value);
  AppendDouble(&value, point.epoch);
  AppendU64(&value, static_cast<uint64_t>(absl::ToUnixMicros(point.time)));
  return value;
}

absl::StatusOr<MetricPoint> Decode(std::string_view key, std::string_view stored) {
  const std::optional<MetricKeyParts> parts = ParseMetricKey(key);
  Decoder decoder(stored);
  const uint8_t format = decoder.U8();
  MetricPoint point;
  point.value = decoder.Double();
  point.epoch = decoder.Double();
  point.time = absl::FromUnixMicros(static_cast<int64_t>(decoder.U64()));
  if (!parts.has_value()) return absl::DataLossError("metric point: its key is damaged");
  if (format != kValueFormat || !decoder.Done()) {
    return absl::DataLossError(absl::StrCat("metric point of e", parts->trial.experiment, " at step ", parts->step,
                                            ": its stored form is damaged"));
  }
  point.name = std::string(parts->name);
  point.step = parts->step;
  return point;
}

// The first key after all points of a metric.
std::string AfterMetric(TrialKey trial, std::string_view name) {
  return PrefixRange(MetricNamePrefix(trial, name)).end;
}

}  // namespace

absl::Status MetricLog::Append(TrialKey trial, const std::vector<MetricPoint>& points, Durability durability) {
  if (static_cast<int64_t>(points.size()) > options_.append_points_max) {
    return absl::ResourceExhaustedError(absl::StrCat("metrics of e", trial.experiment, ": at most ",
                                                     options_.append_points_max, " points a call, got ",
                                                     points.size()));
  }
  WriteBatch batch;
  for (const MetricPoint& point : points) {
    URSA_RETURN_IF_ERROR(CheckMetricName(point.name));
    batch.Put(MetricKey(trial, point.name, point.step), Encode(point));
  }
  if (batch.empty()) return absl::OkStatus();
  URSA_RETURN_IF_ERROR(failpoints::metrics_before_append.Pass());
  URSA_RETURN_IF_ERROR(store_->Write(batch, durability));
  failpoints::metrics_appended.Pass();
  return absl::OkStatus();
}

absl::StatusOr<MetricLog::Page> MetricLog::Read(const Query& query) const {
  if (query.limit < 1) return absl::InvalidArgumentError(absl::StrCat("metrics: limit must be >= 1, is ", query.limit));
  const int64_t limit = std::min(query.limit, options_.read_points_max);
  const bool all_names = query.name.empty();
  KeyRange range = PrefixRange(MetricTrialPrefix(query.trial));
  if (!all_names) {
    URSA_RETURN_IF_ERROR(CheckMetricName(query.name));
    range = {MetricKey(query.trial, query.name, query.begin_step), AfterMetric(query.trial, query.name)};
  }
  if (query.after.has_value()) {
    const std::string& name = all_names ? query.after->name : query.name;
    URSA_RETURN_IF_ERROR(CheckMetricName(name));
    range.begin = std::max(range.begin, MetricKey(query.trial, name, query.after->step) + '\0');
  }
  Page page;
  const std::unique_ptr<KvIterator> iterator = store_->NewIterator(range);
  while (iterator->Valid()) {
    URSA_ASSIGN_OR_RETURN(MetricPoint point, Decode(iterator->key(), iterator->value()));
    if (point.step < query.begin_step) {
      iterator->Seek(MetricKey(query.trial, point.name, query.begin_step));
    } else if (point.step > query.last_step) {
      iterator->Seek(AfterMetric(query.trial, point.name));
    } else if (static_cast<int64_t>(page.points.size()) == limit) {
      page.more = true;
      break;
    } else {
      page.points.push_back(std::move(point));
      iterator->Next();
    }
  }
  URSA_RETURN_IF_ERROR(iterator->status());
  return page;
}

absl::StatusOr<std::vector<std::string>> MetricLog::ListNames(const KvReader& view, TrialKey trial) {
  std::vector<std::string> names;
  const std::unique_ptr<KvIterator> iterator = view.NewIterator(PrefixRange(MetricTrialPrefix(trial)));
  while (iterator->Valid()) {
    const std::optional<MetricKeyParts> parts = ParseMetricKey(iterator->key());
    if (!parts.has_value()) return absl::DataLossError("metric point: its key is damaged");
    names.emplace_back(parts->name);
    iterator->Seek(AfterMetric(trial, names.back()));
  }
  URSA_RETURN_IF_ERROR(iterator->status());
  return names;
}

absl::StatusOr<std::vector<std::string>> MetricLog::ListNames(TrialKey trial) const {
  return ListNames(*store_, trial);
}

absl::StatusOr<std::vector<MetricPoint>> MetricLog::ReadLast(TrialKey trial) const {
  // One view, or a point deleted between the two steps would look like damage.
  const std::unique_ptr<KvReader> view = store_->Snapshot();
  URSA_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListNames(*view, trial));
  std::vector<std::string> keys;
  for (const std::string& name : names) {
    URSA_ASSIGN_OR_RETURN(const std::optional<std::string> key,
                          view->LastKey(PrefixRange(MetricNamePrefix(trial, name))));
    if (!key.has_value()) return absl::InternalError(absl::StrCat("metric ", name, ": has a name but no point"));
    keys.push_back(*key);
  }
  URSA_ASSIGN_OR_RETURN(const auto values, view->MultiGet(keys));
  std::vector<MetricPoint> points;
  for (size_t i = 0; i < keys.size(); ++i) {
    URSA_ASSIGN_OR_RETURN(MetricPoint point, Decode(keys[i], values[i].value_or("")));
    points.push_back(std::move(point));
  }
  return points;
}

absl::Status MetricLog::DeleteExperiment(uint64_t experiment) {
  const KeyRange range = ExperimentRange(KeyPrefix::kMetric, experiment);
  WriteBatch batch;
  batch.DeleteRange(range.begin, range.end);
  return store_->Write(batch, Durability::kSynced);
}

}  // namespace ursa
