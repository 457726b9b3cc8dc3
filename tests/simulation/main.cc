// simulate: runs the simulation by hand.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/simulation/campaign.h"

namespace ursa::sim {
namespace {

constexpr char kUsage[] =
    "usage: simulate [FLAGS]\n"
    "  --seed N        runs this seed alone, and prints its trace hash\n"
    "  --first N       the first of many seeds (default: from the time)\n"
    "  --minutes M     runs seeds for so long (default 1)\n"
    "  --workers N     machines, instead of what the seed says\n"
    "  --fault_time S  virtual seconds of faults, instead of what the seed says\n"
    "  --calm 1        no faults\n"
    "  --print S       prints trace and logs from this virtual second on\n";

int Main(int argc, char** argv) {
  std::map<std::string, int64_t> flags;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    int64_t value = 0;
    if (i + 1 >= argc || name.substr(0, 2) != "--" || !absl::SimpleAtoi(argv[i + 1], &value)) {
      std::fputs(kUsage, stderr);
      return 2;
    }
    flags[name.substr(2)] = value;
  }
  SimulationOptions options;
  if (flags.count("workers")) options.num_workers = static_cast<int>(flags["workers"]);
  if (flags.count("fault_time")) options.fault_time = absl::Seconds(flags["fault_time"]);
  if (flags.count("print")) options.print_from = absl::Seconds(flags["print"]);
  options.has_faults = flags.count("calm") == 0;
  Campaign campaign(options);
  if (flags.count("seed")) {
    campaign.Run(static_cast<uint64_t>(flags["seed"]));
    std::printf("%s", campaign.Report().c_str());
    std::printf("trace hash %016llx\n", static_cast<unsigned long long>(campaign.last_trace_hash()));
    return campaign.failures().empty() ? 0 : 1;
  }
  const absl::Time end = absl::Now() + absl::Minutes(flags.count("minutes") ? flags["minutes"] : 1);
  uint64_t seed = flags.count("first") ? static_cast<uint64_t>(flags["first"])
                                       : static_cast<uint64_t>(absl::ToUnixNanos(absl::Now()));
  while (absl::Now() < end && campaign.failures().size() < 10) campaign.Run(seed++);
  std::printf("%s", campaign.Report().c_str());
  return campaign.failures().empty() ? 0 : 1;
}

}  // namespace
}  // namespace ursa::sim

int main(int argc, char** argv) { return ursa::sim::Main(argc, argv); }
