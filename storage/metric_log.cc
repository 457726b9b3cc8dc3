#include "storage/metric_log.h"

#include <algorithm>
#include <memory>
#include <set>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "storage/coding.h"
#include "storage/failpoints.h"

namespace ursa {
namespace {

MetricSample SampleOf(const MetricPoint& point) { return {point.step, point.epoch, point.value, point.time}; }

MetricPoint PointOf(const std::string& name, const MetricSample& sample) {
  return {name, sample.step, sample.epoch, sample.value, sample.time};
}

// The last of each step, rising in step. Later ones in `samples` are newer.
void KeepNewestOfEachStep(std::vector<MetricSample>* samples) {
  std::stable_sort(samples->begin(), samples->end(),
                   [](const MetricSample& a, const MetricSample& b) { return a.step < b.step; });
  size_t num_kept = 0;
  for (size_t i = 0; i < samples->size(); ++i) {
    if (i + 1 < samples->size() && (*samples)[i + 1].step == (*samples)[i].step) continue;
    (*samples)[num_kept++] = (*samples)[i];
  }
  samples->resize(num_kept);
}

// Walks the points of a metric from a step on, rows before blocks where both have one.
class SampleReader {
 public:
  SampleReader(const KvReader& view, TrialKey trial, const std::string& name, uint64_t begin_step)
      : begin_step_(begin_step),
        rows_(view.NewIterator(
            {MetricKey(trial, name, begin_step), PrefixRange(MetricNamePrefix(KeyPrefix::kMetric, trial, name)).end})),
        leaves_(view.NewIterator({MetricBlockKey(trial, name, 0, begin_step >> MetricLevelBits(0)),
                                  MetricLevelRange(trial, name, 0).end})) {}

  // Reads the next point. False at the end.
  absl::StatusOr<bool> Next(MetricSample* sample) {
    URSA_RETURN_IF_ERROR(LoadRow());
    URSA_RETURN_IF_ERROR(LoadLeaf());
    const bool has_packed = packed_index_ < packed_.size();
    if (!row_.has_value() && !has_packed) return false;
    if (row_.has_value() && (!has_packed || row_->step <= packed_[packed_index_].step)) {
      *sample = *row_;
      if (has_packed && packed_[packed_index_].step == row_->step) ++packed_index_;
      row_.reset();
    } else {
      *sample = packed_[packed_index_++];
    }
    return true;
  }

 private:
  absl::Status LoadRow() {
    if (row_.has_value()) return absl::OkStatus();
    if (!rows_->Valid()) return rows_->status();
    URSA_ASSIGN_OR_RETURN(row_, DecodeMetricRow(rows_->key(), rows_->value()));
    rows_->Next();
    return absl::OkStatus();
  }

  absl::Status LoadLeaf() {
    while (packed_index_ == packed_.size() && leaves_->Valid()) {
      URSA_ASSIGN_OR_RETURN(packed_, DecodeMetricLeaf(leaves_->key(), leaves_->value()));
      packed_index_ = 0;
      while (packed_index_ < packed_.size() && packed_[packed_index_].step < begin_step_) ++packed_index_;
      leaves_->Next();
    }
    return leaves_->status();
  }

  const uint64_t begin_step_;
  const std::unique_ptr<KvIterator> rows_;
  const std::unique_ptr<KvIterator> leaves_;
  std::optional<MetricSample> row_;  // the next one
  std::vector<MetricSample> packed_;
  size_t packed_index_ = 0;
};

// The names under one prefix.
template <typename Parse>
absl::Status AddNames(const KvReader& view, KeyPrefix prefix, TrialKey trial, Parse parse,
                      std::set<std::string>* names) {
  const std::unique_ptr<KvIterator> iterator = view.NewIterator(PrefixRange(MetricTrialPrefix(prefix, trial)));
  while (iterator->Valid()) {
    const auto parts = parse(iterator->key());
    if (!parts.has_value()) return absl::DataLossError("metric point: its key is damaged");
    const auto [name, is_new] = names->emplace(parts->name);
    iterator->Seek(PrefixRange(MetricNamePrefix(prefix, trial, *name)).end);
  }
  return iterator->status();
}

// The point of the greatest step.
absl::StatusOr<std::optional<MetricSample>> LastSample(const KvReader& view, TrialKey trial, const std::string& name) {
  std::optional<MetricSample> last;
  URSA_ASSIGN_OR_RETURN(const auto leaf_key, view.LastKey(MetricLevelRange(trial, name, 0)));
  if (leaf_key.has_value()) {
    URSA_ASSIGN_OR_RETURN(const auto value, view.Get(*leaf_key));
    URSA_ASSIGN_OR_RETURN(const auto samples, DecodeMetricLeaf(*leaf_key, value.value_or("")));
    last = samples.back();
  }
  URSA_ASSIGN_OR_RETURN(const auto row_key,
                        view.LastKey(PrefixRange(MetricNamePrefix(KeyPrefix::kMetric, trial, name))));
  if (row_key.has_value()) {
    URSA_ASSIGN_OR_RETURN(const auto value, view.Get(*row_key));
    URSA_ASSIGN_OR_RETURN(const MetricSample row, DecodeMetricRow(*row_key, value.value_or("")));
    if (!last.has_value() || row.step >= last->step) last = row;
  }
  return last;
}

// Adds `samples`, rising in step, to the leaves. Returns the leaves' summaries by index.
absl::StatusOr<std::vector<std::pair<uint64_t, MetricSummary>>> PutLeaves(const KvReader& view, TrialKey trial,
                                                                          const std::string& name,
                                                                          const std::vector<MetricSample>& samples,
                                                                          WriteBatch* batch) {
  std::vector<std::pair<uint64_t, MetricSummary>> changed;
  for (size_t begin = 0; begin < samples.size();) {
    const uint64_t index = samples[begin].step >> MetricLevelBits(0);
    size_t end = begin;
    while (end < samples.size() && samples[end].step >> MetricLevelBits(0) == index) ++end;
    std::string key = MetricBlockKey(trial, name, 0, index);
    std::vector<MetricSample> merged;
    URSA_ASSIGN_OR_RETURN(const auto value, view.Get(key));
    if (value.has_value()) {
      URSA_ASSIGN_OR_RETURN(merged, DecodeMetricLeaf(key, *value));
    }
    merged.insert(merged.end(), samples.begin() + static_cast<ptrdiff_t>(begin),
                  samples.begin() + static_cast<ptrdiff_t>(end));
    KeepNewestOfEachStep(&merged);
    MetricSummary summary;
    for (const MetricSample& sample : merged) summary.Merge(MetricSummary::Of(sample));
    changed.emplace_back(index, summary);
    batch->Put(std::move(key), EncodeMetricLeaf(merged));
    begin = end;
  }
  return changed;
}

// Brings the levels above the leaves up to date.
absl::Status PutLevels(const KvReader& view, TrialKey trial, const std::string& name,
                       std::vector<std::pair<uint64_t, MetricSummary>> changed, WriteBatch* batch) {
  for (int level = 1; level <= kMetricTopLevel; ++level) {
    std::vector<std::pair<uint64_t, MetricSummary>> parents;
    for (size_t i = 0; i < changed.size();) {
      const uint64_t index = changed[i].first / kMetricFanOut;
      std::string key = MetricBlockKey(trial, name, static_cast<uint8_t>(level), index);
      MetricLevelBlock block;
      URSA_ASSIGN_OR_RETURN(const auto value, view.Get(key));
      if (value.has_value()) {
        URSA_ASSIGN_OR_RETURN(block, DecodeMetricLevel(key, *value));
      }
      for (; i < changed.size() && changed[i].first / kMetricFanOut == index; ++i) {
        block[changed[i].first % kMetricFanOut] = changed[i].second;
      }
      parents.emplace_back(index, Total(block));
      batch->Put(std::move(key), EncodeMetricLevel(block));
    }
    changed = std::move(parents);
  }
  return absl::OkStatus();
}

}  // namespace

int64_t MetricLog::PackRows(const std::string& name) const {
  return options_.pack_rows + static_cast<int64_t>(Crc32c(name)) % options_.pack_rows;
}

absl::StatusOr<int64_t> MetricLog::NumRows(TrialKey trial, const std::string& name) const {
  const auto known = num_rows_.find({trial, name});
  if (known != num_rows_.end()) return known->second;
  int64_t num_rows = 0;
  const int64_t enough = PackRows(name);
  const std::unique_ptr<KvIterator> iterator =
      store_->NewIterator(PrefixRange(MetricNamePrefix(KeyPrefix::kMetric, trial, name)));
  for (; iterator->Valid() && num_rows < enough; iterator->Next()) ++num_rows;
  URSA_RETURN_IF_ERROR(iterator->status());
  return num_rows;
}

absl::Status MetricLog::Pack(TrialKey trial, const std::string& name, std::vector<MetricSample> newer,
                             WriteBatch* batch) const {
  std::vector<MetricSample> samples;
  std::string first_key, last_key;
  const std::unique_ptr<KvIterator> iterator =
      store_->NewIterator(PrefixRange(MetricNamePrefix(KeyPrefix::kMetric, trial, name)));
  for (; iterator->Valid(); iterator->Next()) {
    last_key = std::string(iterator->key());
    if (first_key.empty()) first_key = last_key;
    URSA_ASSIGN_OR_RETURN(const MetricSample sample, DecodeMetricRow(last_key, iterator->value()));
    samples.push_back(sample);
  }
  URSA_RETURN_IF_ERROR(iterator->status());
  if (!first_key.empty()) batch->DeleteRange(first_key, last_key + '\0');
  samples.insert(samples.end(), newer.begin(), newer.end());
  KeepNewestOfEachStep(&samples);
  URSA_ASSIGN_OR_RETURN(auto changed, PutLeaves(*store_, trial, name, samples, batch));
  return PutLevels(*store_, trial, name, std::move(changed), batch);
}

absl::Status MetricLog::Append(TrialKey trial, const std::vector<MetricPoint>& points, Durability durability) {
  if (static_cast<int64_t>(points.size()) > options_.append_points_max) {
    return absl::ResourceExhaustedError(absl::StrCat("metrics of e", trial.experiment, ": at most ",
                                                     options_.append_points_max, " points a call, got ",
                                                     points.size()));
  }
  std::map<std::string, std::vector<MetricSample>> by_name;
  for (const MetricPoint& point : points) {
    URSA_RETURN_IF_ERROR(CheckMetricName(point.name));
    by_name[point.name].push_back(SampleOf(point));
  }
  if (by_name.empty()) return absl::OkStatus();
  absl::MutexLock lock(&mu_);
  WriteBatch batch;
  std::map<MetricKeyOf, int64_t> num_rows;
  for (auto& [name, samples] : by_name) {
    URSA_ASSIGN_OR_RETURN(int64_t rows, NumRows(trial, name));
    rows += static_cast<int64_t>(samples.size());
    if (rows >= PackRows(name)) {
      rows = 0;
      URSA_RETURN_IF_ERROR(Pack(trial, name, std::move(samples), &batch));
    } else {
      for (const MetricSample& sample : samples)
        batch.Put(MetricKey(trial, name, sample.step), EncodeMetricRow(sample));
    }
    num_rows[{trial, name}] = rows;
  }
  URSA_RETURN_IF_ERROR(failpoints::metrics_before_append.Pass());
  URSA_RETURN_IF_ERROR(store_->Write(batch, durability));
  failpoints::metrics_appended.Pass();
  if (static_cast<int64_t>(num_rows_.size()) > options_.counters_max) num_rows_.clear();  // they are counted anew
  for (auto& [metric, rows] : num_rows) num_rows_[metric] = rows;
  return absl::OkStatus();
}

absl::StatusOr<MetricLog::Page> MetricLog::Read(const Query& query) const {
  if (query.limit < 1) return absl::InvalidArgumentError(absl::StrCat("metrics: limit must be >= 1, is ", query.limit));
  const size_t limit = static_cast<size_t>(std::min(query.limit, options_.read_points_max));
  const std::unique_ptr<KvReader> view = store_->Snapshot();
  std::vector<std::string> names = {query.name};
  if (query.name.empty()) {
    URSA_ASSIGN_OR_RETURN(names, ListNames(*view, query.trial));
  } else {
    URSA_RETURN_IF_ERROR(CheckMetricName(query.name));
  }
  if (query.after.has_value()) URSA_RETURN_IF_ERROR(CheckMetricName(query.after->name));
  Page page;
  for (const std::string& name : names) {
    uint64_t begin_step = query.begin_step;
    if (query.after.has_value() && (!query.name.empty() || name <= query.after->name)) {
      if (name < query.after->name && query.name.empty()) continue;
      if (query.after->step == std::numeric_limits<uint64_t>::max()) continue;
      begin_step = std::max(begin_step, query.after->step + 1);
    }
    SampleReader reader(*view, query.trial, name, begin_step);
    MetricSample sample;
    while (true) {
      URSA_ASSIGN_OR_RETURN(const bool is_there, reader.Next(&sample));
      if (!is_there || sample.step > query.last_step) break;
      if (page.points.size() == limit) {
        page.more = true;
        return page;
      }
      page.points.push_back(PointOf(name, sample));
    }
  }
  return page;
}

absl::StatusOr<std::vector<std::string>> MetricLog::ListNames(const KvReader& view, TrialKey trial) {
  std::set<std::string> names;
  URSA_RETURN_IF_ERROR(AddNames(view, KeyPrefix::kMetric, trial, &ParseMetricKey, &names));
  URSA_RETURN_IF_ERROR(AddNames(view, KeyPrefix::kMetricBlock, trial, &ParseMetricBlockKey, &names));
  return std::vector<std::string>(names.begin(), names.end());
}

absl::StatusOr<std::vector<std::string>> MetricLog::ListNames(TrialKey trial) const {
  return ListNames(*store_->Snapshot(), trial);
}

absl::StatusOr<std::vector<MetricPoint>> MetricLog::ReadLast(TrialKey trial) const {
  // One view, or a point deleted between the two steps would look like damage.
  const std::unique_ptr<KvReader> view = store_->Snapshot();
  URSA_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListNames(*view, trial));
  std::vector<MetricPoint> points;
  for (const std::string& name : names) {
    URSA_ASSIGN_OR_RETURN(const std::optional<MetricSample> last, LastSample(*view, trial, name));
    if (!last.has_value()) return absl::InternalError(absl::StrCat("metric ", name, ": has a name but no point"));
    points.push_back(PointOf(name, *last));
  }
  return points;
}

absl::Status MetricLog::DeleteExperiment(uint64_t experiment) {
  WriteBatch batch;
  for (const KeyPrefix prefix : {KeyPrefix::kMetric, KeyPrefix::kMetricBlock}) {
    const KeyRange range = ExperimentRange(prefix, experiment);
    batch.DeleteRange(range.begin, range.end);
  }
  absl::MutexLock lock(&mu_);
  URSA_RETURN_IF_ERROR(store_->Write(batch, Durability::kSynced));
  num_rows_.clear();
  return absl::OkStatus();
}

}  // namespace ursa
