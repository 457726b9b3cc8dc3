// ursa: the command line.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "client/cli/context.h"

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const int status = ursa::cli::RunCommandLine(
      words, [](const char* name) { return std::getenv(name); }, stdout, stderr);
  std::fflush(nullptr);
  // gRPC's worker threads take a while to wind down in static destructors, and nothing is left to be done.
  _exit(status);
}
