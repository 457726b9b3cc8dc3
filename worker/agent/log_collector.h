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
#include "worker/agent/token_bucket.h"

namespace ursa {

// Cuts the output of one process into chunks of whole lines, at a bounded rate, and remembers its last words. What is
// over the rate or finds no room is held, up to a limit, then left out from its oldest line on, with a chunk that says
// how much: the newest is what flows, and what a process said before it fell silent comes through. Pure. Not
// thread-safe.
//
//   printed --> held (whole lines, the newest held_bytes_max) --rate, room--> chunks
//                  `--too much--> left out (counted)
class LogCollector {
 public:
  struct Options {
    size_t bytes_per_second = size_t{1} << 20;
    size_t burst_bytes = size_t{4} << 20;
    size_t chunk_bytes_max = size_t{64} << 10;
    size_t line_bytes_max = size_t{64} << 10;   // a longer line is cut into pieces
    size_t held_bytes_max = size_t{128} << 10;  // of what waits to be sent, over a chunk
    size_t last_words_bytes = 4096;
  };

  LogCollector(const Options& options, absl::Time now)
      : options_(options),
        bucket_(static_cast<double>(options.bytes_per_second), static_cast<double>(options.burst_bytes), now) {}

  // Takes what the process printed; answers the chunks that may be sent now. `room` is how many bytes may be answered.
  // To be called now and then with nothing printed, while something is held.
  std::vector<worker::v1::LogChunk> Append(std::string_view printed, size_t room, absl::Time now);

  // The process has ended: answers what is held, whatever the rate, with its last line ended, and what was left out.
  std::vector<worker::v1::LogChunk> Finish(size_t room, absl::Time now);

  // Whether a whole line waits to be sent.
  bool holds_lines() const { return NextChunk() > 0; }

  // The end of what was printed, as valid UTF-8.
  std::string LastWords() const;

 private:
  // Bytes at the front of pending_ that would go into one chunk; 0: no whole line is there.
  size_t NextChunk() const;
  void Emit(size_t size, absl::Time now, std::vector<worker::v1::LogChunk>* chunks);
  // Leaves out what is over so many bytes at the front of pending_, whole lines where it has them.
  void KeepNewest(size_t bytes_max);
  void MarkLeftOut(absl::Time now, std::vector<worker::v1::LogChunk>* chunks);

  const Options options_;
  TokenBucket bucket_;
  std::string pending_;         // printed, neither emitted nor left out
  int64_t offset_ = 0;          // bytes printed before pending_
  int64_t left_out_bytes_ = 0;  // right before pending_, and not yet said
  std::string last_words_;
};

}  // namespace ursa

#endif  // URSA_WORKER_AGENT_LOG_COLLECTOR_H_
