// Where a command's output goes: text for people, or JSON for scripts, never both.
#ifndef URSA_CLIENT_CLI_OUTPUT_H_
#define URSA_CLIENT_CLI_OUTPUT_H_

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "client/cli/json.h"

namespace ursa::cli {

// Writes to two streams that it borrows. Not thread-safe.
class Output {
 public:
  // `out_is_terminal` and `err_is_terminal`: whether a person watches; progress is drawn only then.
  Output(std::FILE* out, std::FILE* err, bool json, bool out_is_terminal, bool err_is_terminal)
      : out_(out), err_(err), json_(json), out_is_terminal_(out_is_terminal), err_is_terminal_(err_is_terminal) {}

  bool json() const { return json_; }
  bool shows_progress() const { return err_is_terminal_ && !json_; }
  bool out_is_terminal() const { return out_is_terminal_ && !json_; }

  // Text for people, as it is; nothing in JSON mode.
  void Print(std::string_view text);

  // One JSON value on a line; nothing without JSON mode.
  void PrintJson(const Json& json);

  // What is neither: help and completion scripts.
  void PrintAlways(std::string_view text);

  // A line for people on the error stream, also in JSON mode: warnings and hints.
  void Warn(std::string_view line);

  // Replaces the line at the bottom of the terminal; empty clears it. Nothing unless shows_progress().
  void SetStatusLine(std::string_view line);

  // Writes out what is buffered; false when some output could not be written.
  bool Flush();

 private:
  void ClearStatusLine();

  std::FILE* out_;
  std::FILE* err_;
  bool json_;
  bool out_is_terminal_;
  bool err_is_terminal_;
  bool status_line_shown_ = false;
};

// A bar for work of known size, with rate and time left. Draws at most ten times a second, and clears itself at the
// end. Borrows the output. Not thread-safe.
class Progress {
 public:
  enum class Unit { kCount, kBytes };

  // `what` is what is done, "uploading"; `items` what is counted, "files" (ignored for bytes).
  Progress(Output* out, std::string what, std::string items, Unit unit)
      : out_(out), what_(std::move(what)), items_(std::move(items)), unit_(unit) {}
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Update(int64_t done, int64_t total);

 private:
  Output* out_;
  std::string what_;
  std::string items_;
  Unit unit_;
  absl::Time start_ = absl::InfinitePast();
  absl::Time drawn_ = absl::InfinitePast();
  int64_t done_at_start_ = 0;
};

// The line that Progress draws: "uploading  [#####---------------]  31%  12 MB of 38 MB  4.1 MB/s  6.3s left".
// `done` of `total` since `done_at_start` in `seconds`. Rate and time left are left out until they are known.
std::string ProgressLine(std::string_view what, std::string_view items, Progress::Unit unit, int64_t done,
                         int64_t total, int64_t done_at_start, double seconds);

}  // namespace ursa::cli

#endif  // URSA_CLIENT_CLI_OUTPUT_H_
