// Turns what a process prints into log events.
#ifndef URSA_WORKER_AGENT_LOG_COLLECTOR_H_
#define URSA_WORKER_AGENT_LOG_COLLECTOR_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "ursa/worker/v1/task.pb.h"

namespace ursa {

// Cuts the output of one process into chunks of whole lines, at a bounded rate, and remembers its last words. What is
// over the rate or finds no room is left out, with a line that says how much. Pure. Not thread-safe.
class LogCollector {
 public:
  struct Options {
    size_t bytes_per_second = size_t{1} << 20;
    size_t burst_bytes = size_t{4} << 20;
    size_t chunk_bytes_max = size_t{128} << 10;
    size_t line_bytes_max = size_t{64} << 10;  // a longer line is cut into pieces
    size_t last_words_bytes = 4096;
  };

  LogCollector(const Options& options, absl::Time now)
      : options_(options), tokens_(static_cast<double>(options.burst_bytes)), refilled_at_(now) {}

  // Takes what the process printed; answers the chunks that are complete. `room` is how many bytes may be answered.
  std::vector<worker::v1::LogChunk> Append(std::string_view printed, size_t room, absl::Time now);

  // The process has ended: answers what is left, with its last line ended, and what was left out.
  std::vector<worker::v1::LogChunk> Finish(size_t room, absl::Time now);

  // The end of what was printed, as valid UTF-8.
  std::string LastWords() const;

 private:
  // Emits or leaves out `size` bytes at the front of pending_.
  void Emit(size_t size, size_t* room, absl::Time now, std::vector<worker::v1::LogChunk>* chunks);
  void MarkCut(absl::Time now, std::vector<worker::v1::LogChunk>* chunks);

  const Options options_;
  std::string pending_;     // printed, not yet emitted
  int64_t offset_ = 0;      // bytes printed before pending_
  int64_t cut_offset_ = 0;  // where what was left out begins
  int64_t cut_bytes_ = 0;   // left out and not yet said
  double tokens_;           // bytes that may be emitted now
  absl::Time refilled_at_;
  std::string last_words_;
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_LOG_COLLECTOR_H_
