// ursa: the command line.
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/failpoint.h"
#include "client/cli/context.h"

namespace {

// gRPC's own log lines are not for users; errors reach them as statuses.
void QuietGrpc() { ::setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0); }

}  // namespace

int main(int argc, char** argv) {
  QuietGrpc();
  if (const absl::Status armed = ursa::ArmFailpoints(); !armed.ok()) {
    std::fprintf(stderr, "error: %s\n", std::string(armed.message()).c_str());
    return 2;
  }
  const std::vector<std::string> words(argv + 1, argv + argc);
  const int status = ursa::cli::RunCommandLine(
      words, [](const char* name) { return std::getenv(name); }, stdout, stderr);
  std::fflush(nullptr);
  // gRPC's worker threads take a while to wind down in static destructors, and nothing is left to be done.
  _exit(status);
}
