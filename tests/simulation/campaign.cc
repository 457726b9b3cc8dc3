#include "tests/simulation/campaign.h"

#include <time.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "base/log.h"

namespace ursa::sim {
namespace {

// Of the sources; the tests' environment may say it.
std::string CommitName() {
  const char* name = std::getenv("URSA_COMMIT");
  return name == nullptr ? "(git rev-parse HEAD)" : name;
}

// Of this thread, whatever else the machine does.
absl::Duration CpuTime() {
  timespec time{};
  URSA_CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
  return absl::DurationFromTimespec(time);
}

}  // namespace

bool Campaign::Run(uint64_t seed) {
  SimulationOptions options = options_;
  options.seed = seed;
  const absl::Duration start = CpuTime();
  const SimulationResult result = RunSimulation(options);
  cpu_time_ += CpuTime() - start;
  ++num_runs_;
  last_trace_hash_ = result.trace_hash;
  num_events_ += result.num_events;
  num_jobs_ += result.num_jobs;
  num_compared_ += result.num_compared;
  virtual_time_ += result.virtual_time;
  for (size_t i = 0; i < faults_.size(); ++i) faults_[i] += result.faults[i];
  if (result.failure.empty()) return true;
  std::string replay = absl::StrCat("bazel run //tests/simulation:simulate -- --seed ", seed);
  if (options.num_workers) absl::StrAppend(&replay, " --workers ", *options.num_workers);
  if (options.fault_time) absl::StrAppend(&replay, " --fault_time ", absl::ToInt64Seconds(*options.fault_time));
  if (!options.has_faults) absl::StrAppend(&replay, " --calm 1");
  failures_.push_back(absl::StrCat(result.last_trace, "FAILED seed=", seed, " commit=", CommitName(),
                                   " time=", absl::FormatDuration(result.failed_at), "\n", result.failure,
                                   "\nreplay: ", replay, " --print ",
                                   std::max<int64_t>(0, absl::ToInt64Seconds(result.failed_at) - 10), "\n"));
  return false;
}

int64_t Campaign::num_faults() const {
  int64_t sum = 0;
  for (const int64_t count : faults_) sum += count;
  return sum;
}

std::string Campaign::Report() const {
  std::string text;
  for (const std::string& failure : failures_) absl::StrAppend(&text, failure, "\n");
  const double seconds = absl::ToDoubleSeconds(cpu_time_);
  absl::StrAppendFormat(&text, "%d runs, %d failed; %d jobs; %d states equal to their records\n", num_runs_,
                        failures_.size(), num_jobs_, num_compared_);
  absl::StrAppendFormat(&text, "%.0f virtual seconds in %.1f s of a core: %.0f x real time; %d events, %.0f a second\n",
                        absl::ToDoubleSeconds(virtual_time_), seconds, absl::ToDoubleSeconds(virtual_time_) / seconds,
                        num_events_, static_cast<double>(num_events_) / seconds);
  absl::StrAppendFormat(&text, "%d faults\n", num_faults());
  for (size_t i = 0; i < faults_.size(); ++i) {
    if (faults_[i] > 0) absl::StrAppendFormat(&text, "%12d %s\n", faults_[i], NameOf(static_cast<Fault>(i)));
  }
  return text;
}

}  // namespace ursa::sim
