// Runs a program without a shell and takes what it prints.
#ifndef URSA_BASE_RUN_PROGRAM_H_
#define URSA_BASE_RUN_PROGRAM_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace ursa {

inline constexpr size_t kProgramOutputBytesMax = size_t{64} << 20;

// Runs `words` (words[0] is looked for in PATH) with `input` as its standard input, and returns its standard output.
// Blocks. Errors: NOT_FOUND (no such program); DEADLINE_EXCEEDED (it was killed after `timeout`);
// FAILED_PRECONDITION (another end than exit status 0) with the last line of its error output; RESOURCE_EXHAUSTED (more
// output than kProgramOutputBytesMax).
absl::StatusOr<std::string> RunProgram(const std::vector<std::string>& words, const std::string& input,
                                       absl::Duration timeout);

}  // namespace ursa

#endif  // URSA_BASE_RUN_PROGRAM_H_
