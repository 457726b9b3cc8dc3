#include "worker/agent/log_collector.h"

#include <algorithm>

#include "base/text.h"

namespace ursa {
namespace {

using worker::v1::LogChunk;

void SetTime(absl::Time time, LogChunk* chunk) {
  const int64_t nanos = absl::ToUnixNanos(time);
  chunk->mutable_time()->set_seconds(nanos / 1'000'000'000);
  chunk->mutable_time()->set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
}

}  // namespace

size_t LogCollector::NextChunk() const {
  const size_t newline = std::string_view(pending_).substr(0, options_.chunk_bytes_max).rfind('\n');
  if (newline != std::string_view::npos) return newline + 1;
  const size_t line_max = std::min(options_.line_bytes_max, options_.chunk_bytes_max);
  return pending_.size() >= line_max ? line_max : 0;
}

std::vector<LogChunk> LogCollector::Append(std::string_view printed, size_t room, absl::Time now) {
  last_words_.append(printed.substr(printed.size() - std::min(printed.size(), options_.last_words_bytes)));
  if (last_words_.size() > options_.last_words_bytes)
    last_words_.erase(0, last_words_.size() - options_.last_words_bytes);
  pending_.append(printed);

  std::vector<LogChunk> chunks;
  for (size_t size = NextChunk(); size > 0 && size <= room && bucket_.Take(static_cast<double>(size), now);
       size = NextChunk()) {
    room -= size;
    Emit(size, now, &chunks);
  }
  KeepNewest(options_.held_bytes_max + options_.chunk_bytes_max);
  return chunks;
}

std::vector<LogChunk> LogCollector::Finish(size_t room, absl::Time now) {
  if (!pending_.empty() && pending_.back() != '\n') pending_.push_back('\n');
  std::vector<LogChunk> chunks;
  KeepNewest(room);
  for (size_t size = NextChunk(); size > 0; size = NextChunk()) Emit(size, now, &chunks);
  MarkLeftOut(now, &chunks);
  return chunks;
}

void LogCollector::Emit(size_t size, absl::Time now, std::vector<LogChunk>* chunks) {
  MarkLeftOut(now, chunks);
  LogChunk& chunk = chunks->emplace_back();
  chunk.set_offset(offset_);
  chunk.set_data(pending_.substr(0, size));
  SetTime(now, &chunk);
  offset_ += static_cast<int64_t>(size);
  pending_.erase(0, size);
}

void LogCollector::KeepNewest(size_t bytes_max) {
  if (pending_.size() <= bytes_max) return;
  // Up to the end of a line, so that the next chunk begins with one.
  const size_t over = pending_.size() - bytes_max;
  const size_t newline = pending_.find('\n', over - 1);
  const size_t size = newline == std::string::npos ? over : newline + 1;
  left_out_bytes_ += static_cast<int64_t>(size);
  offset_ += static_cast<int64_t>(size);
  pending_.erase(0, size);
}

void LogCollector::MarkLeftOut(absl::Time now, std::vector<LogChunk>* chunks) {
  if (left_out_bytes_ == 0) return;
  LogChunk& mark = chunks->emplace_back();
  mark.set_offset(offset_ - left_out_bytes_);
  mark.set_num_left_out_bytes(left_out_bytes_);
  SetTime(now, &mark);
  left_out_bytes_ = 0;
}

std::string LogCollector::LastWords() const {
  std::string words;
  for (std::string_view rest = last_words_; !rest.empty();) {
    const size_t length = Utf8SequenceLength(rest);
    if (length == 0) words.push_back('?');
    words.append(rest.substr(0, length));
    rest.remove_prefix(std::max<size_t>(1, length));
  }
  return words;
}

}  // namespace ursa
