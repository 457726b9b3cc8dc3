// Metric points and logs: bulk data, read from the store.
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "coordinator/core/experiments.h"
#include "coordinator/core/paging.h"
#include "coordinator/state/task_name.h"
#include "storage/log_store.h"
#include "storage/metric_log.h"

namespace ursa {
namespace {

constexpr int kPointsPageSizeDefault = 10'000;
constexpr int kPointsPageSizeMax = 100'000;
constexpr int64_t kPointOverheadBytes = 32;

// "STEP:NAME" of the last point of the page before.
absl::Status ReadPointToken(const std::string& token, MetricLog::Query* query) {
  if (token.empty()) return absl::OkStatus();
  const size_t colon = token.find(':');
  if (colon == std::string::npos || colon == 0) return BadPageToken(token);
  URSA_ASSIGN_OR_RETURN(const int64_t step, NumberToken(token.substr(0, colon)));
  query->after = MetricLog::Query::Position{token.substr(colon + 1), static_cast<uint64_t>(step)};
  return CheckMetricName(query->after->name).ok() ? absl::OkStatus() : BadPageToken(token);
}

}  // namespace

absl::StatusOr<v1::ListMetricPointsResponse> Experiments::ReadMetrics(
    const TrialId& trial, const v1::ListMetricPointsRequest& request) const {
  URSA_ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size(), kPointsPageSizeDefault, kPointsPageSizeMax));
  MetricLog::Query query;
  query.trial = {static_cast<uint64_t>(trial.first), static_cast<uint32_t>(trial.second)};
  query.name = request.metric();
  if (!query.name.empty()) URSA_RETURN_IF_ERROR(CheckMetricName(query.name));
  query.limit = page_size;
  URSA_RETURN_IF_ERROR(ReadPointToken(request.page_token(), &query));
  URSA_ASSIGN_OR_RETURN(const MetricLog::Page page, env_.metrics->Read(query));
  v1::ListMetricPointsResponse response;
  int64_t num_bytes = 0;
  for (size_t i = 0; i < page.points.size(); ++i) {
    const MetricPoint& stored = page.points[i];
    v1::MetricPoint* point = response.add_points();
    point->set_name(stored.name);
    point->set_step(static_cast<int64_t>(stored.step));
    point->set_epoch(static_cast<int32_t>(std::floor(stored.epoch)));
    point->set_value(stored.value);
    num_bytes += static_cast<int64_t>(stored.name.size()) + kPointOverheadBytes;
    const bool is_last = i + 1 == page.points.size();
    if ((is_last && page.more) || (!is_last && num_bytes > env_.options.page_bytes_max)) {
      response.set_next_page_token(absl::StrCat(stored.step, ":", stored.name));
      break;
    }
  }
  return response;
}

absl::StatusOr<v1::ReadLogsResponse> Experiments::ReadLog(int64_t experiment_id, const v1::ReadLogsRequest& request,
                                                          uint64_t* after_arrival, bool* more) const {
  LogStore::Query query;
  query.experiment = static_cast<uint64_t>(experiment_id);
  if (request.has_rank()) {
    if (request.rank() < 0) {
      return absl::InvalidArgumentError(absl::StrCat("rank: ", request.rank(), " is negative"));
    }
    query.rank = static_cast<uint32_t>(request.rank());
  }
  if (const auto trial = ParseTaskName(request.trial_id())) query.trial = static_cast<uint32_t>(trial->second);
  query.after_arrival = *after_arrival;
  query.bytes_max = static_cast<uint64_t>(env_.options.page_bytes_max) / 4;  // short lines grow when sent
  URSA_ASSIGN_OR_RETURN(const LogStore::Page page, env_.logs->Read(query));
  v1::ReadLogsResponse response;
  for (const LogStore::Entry& entry : page.entries) {
    const std::string& bytes = entry.piece.bytes;
    for (size_t begin = 0; begin < bytes.size();) {
      const size_t end = std::min(bytes.find('\n', begin), bytes.size());
      v1::LogLine* line = response.add_lines();
      line->set_rank(static_cast<int32_t>(entry.stream.rank));
      *line->mutable_time() = ToTimestamp(entry.piece.time);
      line->set_trial_id(TaskName({experiment_id, entry.stream.trial.trial}));
      line->set_text(ToValidUtf8(std::string_view(bytes).substr(begin, end - begin)));
      begin = end + 1;
    }
  }
  *after_arrival = std::max(*after_arrival, page.last_arrival);
  *more = page.more;
  response.set_page_token(std::to_string(*after_arrival));
  return response;
}

}  // namespace ursa
