// Supervises one `sleep`, says both process ids, and waits to be killed: for the test that it takes its child along.
#include <unistd.h>

#include <cstdio>

#include "worker/agent/process_supervisor.h"

int main() {
  ursa::ProcessSupervisor supervisor({[](int64_t, std::string_view) {}, [](int64_t, const auto&) {}});
  const auto pid = supervisor.Start(1, {"/bin/sleep", {"sleep", "600"}, {}, -1});
  if (!pid.ok()) return 1;
  // tidy: allow(print) the test reads it
  std::printf("%d %d\n", ::getpid(), *pid);
  std::fflush(stdout);
  for (;;) ::pause();
}
