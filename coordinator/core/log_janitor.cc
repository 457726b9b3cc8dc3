#include "coordinator/core/log_janitor.h"

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "storage/log_store.h"

namespace ursa {
namespace {

constexpr int kTrialsMax = 200;  // looked at in one turn
constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

absl::StatusOr<int64_t> ParseBytes(std::string_view text) {
  if (text == "inf") return kNoLimit;
  int64_t unit = 1;
  for (const auto& [suffix, bytes] : {std::pair<std::string_view, int64_t>{"KiB", int64_t{1} << 10},
                                      {"MiB", int64_t{1} << 20},
                                      {"GiB", int64_t{1} << 30},
                                      {"TiB", int64_t{1} << 40}}) {
    if (text.size() <= suffix.size() || text.substr(text.size() - suffix.size()) != suffix) continue;
    text.remove_suffix(suffix.size());
    unit = bytes;
    break;
  }
  int64_t number = 0;
  if (!absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &number) || number < 0 ||
      number > kNoLimit / unit) {
    return absl::InvalidArgumentError(absl::StrCat("\"", absl::string_view(text.data(), text.size()),
                                                   "\" is no number of bytes (hint: 512MiB, 1GiB, inf)"));
  }
  return number * unit;
}

}  // namespace

absl::StatusOr<LogRetentionOptions> ParseLogRetention(std::string_view text, LogRetentionOptions defaults) {
  const std::vector<std::string> parts = absl::StrSplit(absl::string_view(text.data(), text.size()), ',');
  if (parts.size() > 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("log retention \"", absl::string_view(text.data(), text.size()), "\": must be AGE or AGE,BYTES"));
  }
  LogRetentionOptions options = defaults;
  if (!absl::ParseDuration(parts[0], &options.age_max) || options.age_max <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(
        absl::StrCat("log retention: age \"", parts[0], "\" is no duration over 0 (hint: 720h, inf)"));
  }
  if (parts.size() == 2) {
    const absl::StatusOr<int64_t> bytes = ParseBytes(parts[1]);
    if (!bytes.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("log retention: ", bytes.status().message()));
    }
    options.trial_bytes_max = *bytes;
  }
  return options;
}

void LogJanitor::Tick(Tx&) {
  const absl::Time now = env_.clock->Now();
  if (is_running_) return;
  if (!next_) {
    if (now < round_begins_) return;
    round_begins_ = now + env_.options.log_retention.round_interval;
    next_ = TrialKey();
  }
  is_running_ = true;
  env_.executor->Run([this, begin = *next_] { RunTurn(begin); });
}

void LogJanitor::RunTurn(TrialKey begin) {
  const LogRetentionOptions& options = env_.options.log_retention;
  LogRetention retention;
  retention.keep_since = env_.clock->Now() - options.age_max;
  retention.trial_bytes_max = static_cast<uint64_t>(options.trial_bytes_max);
  const absl::StatusOr<LogStore::Retained> retained = env_.logs->Retain(retention, begin, kTrialsMax);
  if (!retained.ok()) URSA_LOG(WARNING) << "logs: the retention policy could not be applied: " << retained.status();
  if (retained.ok() && retained->num_deleted_bytes > 0) {
    URSA_LOG(INFO) << "logs: " << retained->num_deleted_bytes << " bytes deleted by the retention policy";
  }
  Tx tx(env_.commit);
  is_running_ = false;
  next_ = retained.ok() ? retained->next : std::nullopt;
}

}  // namespace ursa
