// One reading of an experiment's logs.
#ifndef URSA_COORDINATOR_CORE_LOG_READER_H_
#define URSA_COORDINATOR_CORE_LOG_READER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/core/environment.h"
#include "ursa/v1/experiments.pb.h"

namespace re2 {
class RE2;
}  // namespace re2

namespace ursa {

// Where a reading goes on: after the entry of this arrival number, or, when a limit ended the answer in the middle of
// it, after so many of its lines. As text: "812" or "812+45".
struct LogPosition {
  uint64_t arrival = 0;
  int64_t num_lines = 0;  // 0: all

  std::string ToToken() const;
  // The beginning for an empty token. INVALID_ARGUMENT: it is none of ours.
  static absl::StatusOr<LogPosition> FromToken(const std::string& token);
};

// Gives the lines that a request asks for, a bounded piece at a time; keeps where it is. Borrows the environment. Reads
// the store, so its calls belong on the executor. Not thread-safe.
class LogReader {
 public:
  // INVALID_ARGUMENT: the rank, token, pattern or limit of the request.
  static absl::StatusOr<std::unique_ptr<LogReader>> Make(const Environment* env, const v1::ReadLogsRequest& request);
  ~LogReader();

  struct Page {
    v1::ReadLogsResponse response;  // its lines may be none
    bool is_end = false;            // nothing more has been printed yet, or the limit is reached
    bool is_limit = false;          // the limit of lines is reached: nothing will come
  };
  // Reads on. With a pattern that matches little, pages without lines come first.
  absl::StatusOr<Page> Next(int64_t experiment_id);

 private:
  LogReader(const Environment* env, const v1::ReadLogsRequest& request, LogPosition position);

  bool IsWanted(std::string_view line) const;
  // Adds the wanted lines of an entry that were not answered yet. False if the limit ended it.
  template <typename Entry>
  bool AddLines(int64_t experiment_id, const Entry& entry, v1::ReadLogsResponse* response);

  const Environment& env_;
  std::optional<uint32_t> trial_;
  std::optional<uint32_t> rank_;
  std::unique_ptr<const re2::RE2> pattern_;
  std::optional<int64_t> lines_left_;
  LogPosition position_;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_LOG_READER_H_
