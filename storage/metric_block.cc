#include "storage/metric_block.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "storage/coding.h"
#include "storage/keys.h"

namespace ursa {
namespace {

constexpr uint64_t kLeafMask = (uint64_t{1} << MetricLevelBits(0)) - 1;

absl::Status Damaged(std::string_view what, TrialKey trial, uint64_t number) {
  return absl::DataLossError(absl::StrCat(absl::string_view(what.data(), what.size()), " ", number, " of e",
                                          trial.experiment, " trial ", trial.trial, ": its stored form is damaged"));
}

absl::Status DamagedBlock(std::string_view key) {
  const auto parts = ParseMetricBlockKey(key);
  if (!parts.has_value()) return absl::DataLossError("metric block: its key is damaged");
  return Damaged(absl::StrCat("metric block of level ", parts->level), parts->trial, parts->index);
}

double Lesser(double a, double b) { return b < a ? b : a; }
double Greater(double a, double b) { return b > a ? b : a; }

}  // namespace

MetricSummary MetricSummary::Of(const MetricSample& sample) {
  MetricSummary summary;
  summary.count = 1;
  summary.num_nan = sample.value != sample.value ? 1 : 0;
  summary.first_step = summary.last_step = sample.step;
  summary.min = summary.mean = summary.max = sample.value;
  summary.last_epoch = sample.epoch;
  return summary;
}

void MetricSummary::Merge(const MetricSummary& other) {
  if (other.count == 0) return;
  if (count == 0) {
    *this = other;
    return;
  }
  const uint64_t own = count - num_nan;
  const uint64_t others = other.count - other.num_nan;
  if (own == 0) {
    min = other.min;
    mean = other.mean;
    max = other.max;
  } else if (others > 0) {
    const double share = static_cast<double>(others) / static_cast<double>(own + others);
    mean = mean * (1 - share) + other.mean * share;
    min = Lesser(min, other.min);
    max = Greater(max, other.max);
  }
  if (other.last_step > last_step) last_epoch = other.last_epoch;
  first_step = std::min(first_step, other.first_step);
  last_step = std::max(last_step, other.last_step);
  count += other.count;
  num_nan += other.num_nan;
}

MetricSummary Total(const MetricLevelBlock& block) {
  MetricSummary total;
  for (const MetricSummary& child : block) total.Merge(child);
  return total;
}

// row := format:u8 value:f64 epoch:f64 time:u64 (microseconds since 1970); the step is in the key
std::string EncodeMetricRow(const MetricSample& sample) {
  std::string value;
  AppendU8(&value, kValueFormat);
  AppendDouble(&value, sample.value);
  AppendDouble(&value, sample.epoch);
  AppendU64(&value, static_cast<uint64_t>(absl::ToUnixMicros(sample.time)));
  return value;
}

absl::StatusOr<MetricSample> DecodeMetricRow(std::string_view key, std::string_view value) {
  const std::optional<MetricKeyParts> parts = ParseMetricKey(key);
  if (!parts.has_value()) return absl::DataLossError("metric point: its key is damaged");
  Decoder decoder(value);
  const uint8_t format = decoder.U8();
  MetricSample sample;
  sample.step = parts->step;
  sample.value = decoder.Double();
  sample.epoch = decoder.Double();
  sample.time = absl::FromUnixMicros(static_cast<int64_t>(decoder.U64()));
  if (format != kValueFormat || !decoder.Done()) return Damaged("metric point at step", parts->trial, parts->step);
  return sample;
}

// leaf := format:u8 (offset:u32 value:f64 epoch:f64 time:u64)*     offset: of the step in the block, rising
std::string EncodeMetricLeaf(const std::vector<MetricSample>& samples) {
  std::string value;
  value.reserve(1 + 28 * samples.size());
  AppendU8(&value, kValueFormat);
  for (const MetricSample& sample : samples) {
    AppendU32(&value, static_cast<uint32_t>(sample.step & kLeafMask));
    AppendDouble(&value, sample.value);
    AppendDouble(&value, sample.epoch);
    AppendU64(&value, static_cast<uint64_t>(absl::ToUnixMicros(sample.time)));
  }
  return value;
}

absl::StatusOr<std::vector<MetricSample>> DecodeMetricLeaf(std::string_view key, std::string_view value) {
  const std::optional<MetricBlockKeyParts> parts = ParseMetricBlockKey(key);
  if (!parts.has_value() || parts->level != 0) return DamagedBlock(key);
  const uint64_t begin = parts->index << MetricLevelBits(0);
  Decoder decoder(value);
  bool is_whole = decoder.U8() == kValueFormat && value.size() % 28 == 1 && value.size() > 1;
  std::vector<MetricSample> samples(value.size() / 28);
  for (size_t i = 0; i < samples.size(); ++i) {
    MetricSample& sample = samples[i];
    const uint32_t offset = decoder.U32();
    sample.step = begin + offset;
    sample.value = decoder.Double();
    sample.epoch = decoder.Double();
    sample.time = absl::FromUnixMicros(static_cast<int64_t>(decoder.U64()));
    is_whole = is_whole && offset <= kLeafMask && (i == 0 || samples[i - 1].step < sample.step);
  }
  if (!is_whole || !decoder.Done()) return DamagedBlock(key);
  return samples;
}

// level := format:u8 children:u32 (bit i: child i is there) summary*
// summary := count:u64 num_nan:u64 first_step:u64 last_step:u64 min:f64 mean:f64 max:f64 last_epoch:f64
std::string EncodeMetricLevel(const MetricLevelBlock& block) {
  uint32_t children = 0;
  for (size_t i = 0; i < block.size(); ++i) children |= block[i].count > 0 ? 1u << i : 0;
  std::string value;
  AppendU8(&value, kValueFormat);
  AppendU32(&value, children);
  for (const MetricSummary& summary : block) {
    if (summary.count == 0) continue;
    for (const uint64_t field : {summary.count, summary.num_nan, summary.first_step, summary.last_step}) {
      AppendU64(&value, field);
    }
    for (const double field : {summary.min, summary.mean, summary.max, summary.last_epoch}) AppendDouble(&value, field);
  }
  return value;
}

absl::StatusOr<MetricLevelBlock> DecodeMetricLevel(std::string_view key, std::string_view value) {
  Decoder decoder(value);
  const uint8_t format = decoder.U8();
  const uint32_t children = decoder.U32();
  MetricLevelBlock block;
  for (size_t i = 0; i < block.size(); ++i) {
    if ((children >> i & 1) == 0) continue;
    MetricSummary& summary = block[i];
    for (uint64_t* field : {&summary.count, &summary.num_nan, &summary.first_step, &summary.last_step}) {
      *field = decoder.U64();
    }
    for (double* field : {&summary.min, &summary.mean, &summary.max, &summary.last_epoch}) *field = decoder.Double();
  }
  if (format != kValueFormat || children >> kMetricFanOut != 0 || !decoder.Done()) return DamagedBlock(key);
  return block;
}

}  // namespace ursa
