// Metric points: bulk data, read from the store.
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/core/experiments.h"
#include "coordinator/core/paging.h"
#include "storage/metric_log.h"

namespace ursa {
namespace {

constexpr int kPointsPageSizeDefault = 10'000;
constexpr int kPointsPageSizeMax = 100'000;
constexpr int kChartPointsMax = 10'000;
constexpr int64_t kPointOverheadBytes = 32;
constexpr int64_t kSpreadBytes = 40;
// In front of the last metric of a page of charts, which is never cut.
constexpr char kChartToken[] = "chart:";

// "STEP:NAME" of the last point of the page before.
absl::Status ReadPointToken(const std::string& token, MetricLog::Query* query) {
  if (token.empty()) return absl::OkStatus();
  const size_t colon = token.find(':');
  if (colon == std::string::npos || colon == 0) return BadPageToken(token);
  URSA_ASSIGN_OR_RETURN(const int64_t step, NumberToken(token.substr(0, colon)));
  query->after = MetricLog::Query::Position{token.substr(colon + 1), static_cast<uint64_t>(step)};
  return CheckMetricName(query->after->name).ok() ? absl::OkStatus() : BadPageToken(token);
}

// An epoch as users count them.
int32_t WholeEpoch(double epoch) { return static_cast<int32_t>(std::floor(epoch)); }

absl::Status CheckRange(const v1::ListMetricPointsRequest& request) {
  if (request.max_points() < 0 || request.max_points() > kChartPointsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_points: must be 0 to ", kChartPointsMax, ", is ", request.max_points()));
  }
  if (request.begin_step() < 0 || (request.has_last_step() && request.last_step() < request.begin_step())) {
    return absl::InvalidArgumentError(absl::StrCat("steps ", request.begin_step(), " to ", request.last_step(),
                                                   ": must be 0 <= begin_step <= last_step"));
  }
  return absl::OkStatus();
}

// Points of a chart as the API has them.
void AddChart(const std::string& name, const std::vector<MetricSummary>& chart,
              v1::ListMetricPointsResponse* response) {
  for (const MetricSummary& summary : chart) {
    v1::MetricPoint* point = response->add_points();
    point->set_name(name);
    point->set_step(static_cast<int64_t>(summary.last_step));
    point->set_epoch(WholeEpoch(summary.last_epoch));
    point->set_value(summary.mean);
    v1::MetricSpread* spread = point->mutable_spread();
    spread->set_first_step(static_cast<int64_t>(summary.first_step));
    spread->set_count(static_cast<int64_t>(summary.count));
    spread->set_min(summary.min);
    spread->set_max(summary.max);
  }
}

}  // namespace

absl::StatusOr<v1::ListMetricPointsResponse> Experiments::ReadCharts(const TrialId& trial,
                                                                     const v1::ListMetricPointsRequest& request) const {
  MetricLog::ChartQuery query;
  query.trial = {static_cast<uint64_t>(trial.first), static_cast<uint32_t>(trial.second)};
  query.begin_step = static_cast<uint64_t>(request.begin_step());
  if (request.has_last_step()) query.last_step = static_cast<uint64_t>(request.last_step());
  query.points_max = request.max_points();
  std::string after;
  if (!request.page_token().empty()) {
    if (!absl::StartsWith(request.page_token(), kChartToken)) return BadPageToken(request.page_token());
    after = request.page_token().substr(std::string(kChartToken).size());
  }
  std::vector<std::string> names = {request.metric()};
  if (request.metric().empty()) {
    URSA_ASSIGN_OR_RETURN(names, env_.metrics->ListNames(query.trial));
  }
  v1::ListMetricPointsResponse response;
  int64_t num_bytes = 0;
  for (const std::string& name : names) {
    if (!after.empty() && name <= after) continue;
    if (num_bytes > env_.options.page_bytes_max / 2) {
      response.set_next_page_token(absl::StrCat(kChartToken, response.points().rbegin()->name()));
      break;
    }
    query.name = name;
    URSA_ASSIGN_OR_RETURN(const std::vector<MetricSummary> chart, env_.metrics->Chart(query));
    AddChart(name, chart, &response);
    num_bytes +=
        static_cast<int64_t>(chart.size()) * (static_cast<int64_t>(name.size()) + kPointOverheadBytes + kSpreadBytes);
  }
  return response;
}

absl::StatusOr<v1::ListMetricPointsResponse> Experiments::ReadMetrics(
    const TrialId& trial, const v1::ListMetricPointsRequest& request) const {
  URSA_RETURN_IF_ERROR(CheckRange(request));
  if (request.max_points() > 0) return ReadCharts(trial, request);
  URSA_ASSIGN_OR_RETURN(const int page_size, PageSize(request.page_size(), kPointsPageSizeDefault, kPointsPageSizeMax));
  MetricLog::Query query;
  query.trial = {static_cast<uint64_t>(trial.first), static_cast<uint32_t>(trial.second)};
  query.name = request.metric();
  if (!query.name.empty()) URSA_RETURN_IF_ERROR(CheckMetricName(query.name));
  query.begin_step = static_cast<uint64_t>(request.begin_step());
  if (request.has_last_step()) query.last_step = static_cast<uint64_t>(request.last_step());
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
    point->set_epoch(WholeEpoch(stored.epoch));
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
