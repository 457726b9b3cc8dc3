#include "worker/agent/log_collector.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ursa {
namespace {

using worker::v1::LogChunk;

void SetTime(absl::Time time, LogChunk* chunk) {
  const int64_t nanos = absl::ToUnixNanos(time);
  chunk->mutable_time()->set_seconds(nanos / 1'000'000'000);
  chunk->mutable_time()->set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
}

// Length of the well-formed UTF-8 sequence at the front of `text` (no overlong forms, no surrogates), 0 if there is
// none. Table 3-7 of the Unicode standard.
size_t Utf8SequenceLength(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  auto in = [&](size_t i, unsigned char low, unsigned char high) {
    return i < text.size() && byte(i) >= low && byte(i) <= high;
  };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return in(1, 0x80, 0xBF) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool second = in(1, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF);
    return second && in(2, 0x80, 0xBF) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool second = in(1, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF);
    return second && in(2, 0x80, 0xBF) && in(3, 0x80, 0xBF) ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::vector<LogChunk> LogCollector::Append(std::string_view printed, size_t room, absl::Time now) {
  last_words_.append(printed.substr(printed.size() - std::min(printed.size(), options_.last_words_bytes)));
  if (last_words_.size() > options_.last_words_bytes)
    last_words_.erase(0, last_words_.size() - options_.last_words_bytes);
  pending_.append(printed);

  std::vector<LogChunk> chunks;
  for (;;) {
    const std::string_view window = std::string_view(pending_).substr(0, options_.chunk_bytes_max);
    const size_t newline = window.rfind('\n');
    if (newline != std::string_view::npos) {
      Emit(newline + 1, &room, now, &chunks);
    } else if (pending_.size() >= options_.line_bytes_max) {
      Emit(options_.line_bytes_max, &room, now, &chunks);
    } else {
      return chunks;
    }
  }
}

std::vector<LogChunk> LogCollector::Finish(size_t room, absl::Time now) {
  if (!pending_.empty() && pending_.back() != '\n') pending_.push_back('\n');
  std::vector<LogChunk> chunks = Append("", room, now);
  MarkCut(now, &chunks);
  return chunks;
}

void LogCollector::Emit(size_t size, size_t* room, absl::Time now, std::vector<LogChunk>* chunks) {
  const double refill = absl::ToDoubleSeconds(now - refilled_at_) * static_cast<double>(options_.bytes_per_second);
  tokens_ = std::min(static_cast<double>(options_.burst_bytes), tokens_ + std::max(0.0, refill));
  refilled_at_ = std::max(refilled_at_, now);
  if (tokens_ >= static_cast<double>(size) && *room >= size) {
    tokens_ -= static_cast<double>(size);
    *room -= size;
    MarkCut(now, chunks);
    LogChunk& chunk = chunks->emplace_back();
    chunk.set_offset(offset_);
    chunk.set_data(pending_.substr(0, size));
    SetTime(now, &chunk);
  } else {
    if (cut_bytes_ == 0) cut_offset_ = offset_;
    cut_bytes_ += static_cast<int64_t>(size);
  }
  offset_ += static_cast<int64_t>(size);
  pending_.erase(0, size);
}

void LogCollector::MarkCut(absl::Time now, std::vector<LogChunk>* chunks) {
  if (cut_bytes_ == 0) return;
  LogChunk& mark = chunks->emplace_back();
  mark.set_offset(cut_offset_);
  mark.set_data(absl::StrCat("[", cut_bytes_, " bytes left out: printed faster than they could be kept]\n"));
  SetTime(now, &mark);
  cut_bytes_ = 0;
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
