#include "base/log.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace ursa {
namespace {

LogTaker& Taker() {
  static LogTaker* const taker = new LogTaker();
  return *taker;
}

}  // namespace

void TakeLogLines(LogLevel least, LogTaker take) {
  least_log_level = take ? least : LogLevel::kInfo;
  Taker() = std::move(take);
}

LogLine::LogLine(LogLevel level, const char* file, int line) : level_(level) {
  const char* base_name = std::strrchr(file, '/');
  stream_ << "IWEF"[static_cast<int>(level)] << ' '
          << absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone()) << ' '
          << (base_name == nullptr ? file : base_name + 1) << ':' << line << "] ";
}

LogLine::~LogLine() {
  if (Taker()) Taker()(level_, stream_.str());
  if (Taker() && level_ != LogLevel::kFatal) return;
  stream_ << '\n';
  const std::string text = stream_.str();
  // One write, so that lines of several threads and processes do not mix; a full disk must not stop the program.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
  if (level_ == LogLevel::kFatal) std::abort();
}

}  // namespace ursa
