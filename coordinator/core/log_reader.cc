#include "coordinator/core/log_reader.h"

#include <re2/re2.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "coordinator/core/paging.h"
#include "coordinator/state/task_name.h"
#include "storage/log_store.h"

namespace ursa {
namespace {

constexpr size_t kPatternBytesMax = 1000;
constexpr int64_t kPatternMemoryMax = int64_t{8} << 20;

absl::StatusOr<std::unique_ptr<const RE2>> Compile(const std::string& pattern) {
  if (pattern.size() > kPatternBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("pattern: at most ", kPatternBytesMax, " bytes, has ", pattern.size()));
  }
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kPatternMemoryMax);
  auto compiled = std::make_unique<const RE2>(pattern, options);
  if (!compiled->ok()) {
    return absl::InvalidArgumentError(absl::StrCat("pattern \"", pattern, "\": ", compiled->error(),
                                                   " (hint: RE2 syntax; a backslash before one of .[](){}*+?^$|\\ "
                                                   "takes it as it is)"));
  }
  return compiled;
}

}  // namespace

std::string LogPosition::ToToken() const {
  return num_lines == 0 ? std::to_string(arrival) : absl::StrCat(arrival, "+", num_lines);
}

absl::StatusOr<LogPosition> LogPosition::FromToken(const std::string& token) {
  const size_t plus = token.find('+');
  const auto arrival = NumberToken(token.substr(0, plus));
  const auto num_lines = NumberToken(plus == std::string::npos ? "" : token.substr(plus + 1));
  if (!arrival.ok() || !num_lines.ok() || (*num_lines > 0 && *arrival == 0)) return BadPageToken(token);
  return LogPosition{static_cast<uint64_t>(*arrival), *num_lines};
}

absl::StatusOr<std::unique_ptr<LogReader>> LogReader::Make(const Environment* env, const v1::ReadLogsRequest& request) {
  if (request.has_rank() && request.rank() < 0) {
    return absl::InvalidArgumentError(absl::StrCat("rank: ", request.rank(), " is negative"));
  }
  if (request.max_lines() < 0) {
    return absl::InvalidArgumentError(absl::StrCat("max_lines: ", request.max_lines(), " is negative"));
  }
  URSA_ASSIGN_OR_RETURN(const LogPosition position, LogPosition::FromToken(request.page_token()));
  auto reader = absl::WrapUnique(new LogReader(env, request, position));
  if (!request.pattern().empty()) {
    URSA_ASSIGN_OR_RETURN(reader->pattern_, Compile(request.pattern()));
  }
  return reader;
}

LogReader::LogReader(const Environment* env, const v1::ReadLogsRequest& request, LogPosition position)
    : env_(*env), position_(position) {
  if (request.has_rank()) rank_ = static_cast<uint32_t>(request.rank());
  if (const auto trial = ParseTaskName(request.trial_id())) trial_ = static_cast<uint32_t>(trial->second);
  if (request.max_lines() > 0) lines_left_ = request.max_lines();
}

LogReader::~LogReader() = default;

bool LogReader::IsWanted(std::string_view line) const {
  return pattern_ == nullptr || RE2::PartialMatch(re2::StringPiece(line.data(), line.size()), *pattern_);
}

template <typename Entry>
bool LogReader::AddLines(int64_t experiment_id, const Entry& entry, v1::ReadLogsResponse* response) {
  const std::string_view bytes = entry.piece.bytes;
  const bool is_mark = entry.num_lost_bytes > 0;
  const int64_t num_answered = entry.arrival == position_.arrival ? position_.num_lines : 0;
  int64_t number = 0;
  for (size_t begin = 0; begin < bytes.size(); ++number) {
    const size_t end = std::min(bytes.find('\n', begin), bytes.size());
    const std::string_view text = bytes.substr(begin, end - begin);
    if (number >= num_answered && (is_mark || IsWanted(text))) {
      if (lines_left_ && *lines_left_ == 0) {
        if (number > 0) position_ = {entry.arrival, number};
        return false;
      }
      if (lines_left_) --*lines_left_;
      v1::LogLine* line = response->add_lines();
      line->set_rank(static_cast<int32_t>(entry.stream.rank));
      *line->mutable_time() = ToTimestamp(entry.piece.time);
      line->set_trial_id(TaskName({experiment_id, entry.stream.trial.trial}));
      line->set_text(ToValidUtf8(text));
      line->set_attempt(static_cast<int32_t>(entry.piece.attempt));
      line->set_offset(static_cast<int64_t>(entry.piece.offset + (is_mark ? 0 : begin)));
      line->set_num_missing_bytes(static_cast<int64_t>(entry.num_lost_bytes));
    }
    begin = end + 1;
  }
  position_ = {entry.arrival, 0};
  return true;
}

absl::StatusOr<LogReader::Page> LogReader::Next(int64_t experiment_id) {
  Page page;
  if (lines_left_ && *lines_left_ == 0) {
    page.is_end = page.is_limit = true;
    return page;
  }
  LogStore::Query query;
  query.experiment = static_cast<uint64_t>(experiment_id);
  query.trial = trial_;
  query.rank = rank_;
  query.after_arrival = position_.num_lines == 0 ? position_.arrival : position_.arrival - 1;
  query.bytes_max = static_cast<uint64_t>(env_.options.page_bytes_max) / 4;  // short lines grow when sent
  URSA_ASSIGN_OR_RETURN(const LogStore::Page stored, env_.logs->Read(query));
  for (const LogStore::Entry& entry : stored.entries) {
    if (!AddLines(experiment_id, entry, &page.response)) break;
  }
  page.is_limit = lines_left_ && *lines_left_ == 0;
  page.is_end = page.is_limit || !stored.more;
  page.response.set_page_token(position_.ToToken());
  return page;
}

}  // namespace ursa
