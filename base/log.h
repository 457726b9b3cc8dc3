// Log lines and invariant checks. torch owns the short names LOG and CHECK, hence the prefix.
#ifndef URSA_BASE_LOG_H_
#define URSA_BASE_LOG_H_

#include <sstream>

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

}  // namespace ursa

// INFO: a state transition; WARNING: surprising but handled; ERROR: a human must look. One line, key=value.
#define URSA_LOG(level) URSA_LOG_##level##_.stream()
#define URSA_LOG_INFO_ ::ursa::LogLine(::ursa::LogLevel::kInfo, __FILE__, __LINE__)
#define URSA_LOG_WARNING_ ::ursa::LogLine(::ursa::LogLevel::kWarning, __FILE__, __LINE__)
#define URSA_LOG_ERROR_ ::ursa::LogLine(::ursa::LogLevel::kError, __FILE__, __LINE__)
#define URSA_LOG_FATAL_ ::ursa::LogLine(::ursa::LogLevel::kFatal, __FILE__, __LINE__)

// Ends the process when `condition` is false: a bug of ours, never a condition of the world. On in production too.
#define URSA_CHECK(condition) \
  (condition) ? (void)0 : ::ursa::LogVoidify() & URSA_LOG_FATAL_.stream() << "check failed: " #condition " "
#define URSA_CHECK_OK(expression)                              \
  do {                                                         \
    const auto& ursa_check_status_ = (expression);             \
    URSA_CHECK(ursa_check_status_.ok()) << ursa_check_status_; \
  } while (false)

#endif  // URSA_BASE_LOG_H_
