// Log lines and invariant checks. torch owns the short names LOG and CHECK, hence the prefix.
#ifndef URSA_BASE_LOG_H_
#define URSA_BASE_LOG_H_

#include <functional>
#include <sstream>
#include <string_view>

namespace ursa {

enum class LogLevel { kInfo, kWarning, kError, kFatal };

// One line to standard error when destroyed: "I 2026-01-02T03:04:05.678Z file.cc:12] text". kFatal then aborts.
class LogLine {
 public:
  LogLine(LogLevel level, const char* file, int line);
  ~LogLine();
  LogLine(const LogLine&) = delete;
  LogLine& operator=(const LogLine&) = delete;
  std::ostream& stream() { return stream_; }

 private:
  LogLevel level_;
  std::ostringstream stream_;
};

// Gives a `URSA_CHECK(...) << text` expression the type void.
struct LogVoidify {
  void operator&(std::ostream&) {}
};

// For tests that judge what is logged: lines of `least` and above go to `take` instead of standard error, others are
// not even made; a null `take` undoes it. kFatal is always printed too. Of the whole process; not to be called while
// another thread logs.
using LogTaker = std::function<void(LogLevel level, std::string_view line)>;
void TakeLogLines(LogLevel least, LogTaker take);

inline LogLevel least_log_level = LogLevel::kInfo;  // set by TakeLogLines alone

}  // namespace ursa

// INFO: a state transition; WARNING: surprising but handled; ERROR: a human must look. One line, key=value.
#define URSA_LOG(level) URSA_LOG_##level##_
#define URSA_LOG_INFO_ URSA_LOG_IF_ON_(::ursa::LogLevel::kInfo)
#define URSA_LOG_WARNING_ URSA_LOG_IF_ON_(::ursa::LogLevel::kWarning)
#define URSA_LOG_ERROR_ URSA_LOG_IF_ON_(::ursa::LogLevel::kError)
#define URSA_LOG_FATAL_ ::ursa::LogLine(::ursa::LogLevel::kFatal, __FILE__, __LINE__).stream()
#define URSA_LOG_IF_ON_(level) \
  level < ::ursa::least_log_level ? (void)0 : ::ursa::LogVoidify() & ::ursa::LogLine(level, __FILE__, __LINE__).stream()

// Ends the process when `condition` is false: a bug of ours, never a condition of the world. On in production too.
#define URSA_CHECK(condition) \
  (condition) ? (void)0 : ::ursa::LogVoidify() & URSA_LOG_FATAL_ << "check failed: " #condition " "
#define URSA_CHECK_OK(expression)                              \
  do {                                                         \
    const auto& ursa_check_status_ = (expression);             \
    URSA_CHECK(ursa_check_status_.ok()) << ursa_check_status_; \
  } while (false)

#endif  // URSA_BASE_LOG_H_
