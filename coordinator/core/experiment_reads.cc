// Metric points: bulk data, read from the store.
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/core/experiments.h"
#include "coordinator/core/paging.h"
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

}  // namespace ursa
