#include "tests/crash/totals.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ursa::crash {
namespace {

constexpr absl::Duration kRestartGoal = absl::Seconds(1);  // printed, not asserted: the machine may have other work

int Sum(const std::map<std::string, int>& counts) {
  int sum = 0;
  for (const auto& [name, count] : counts) sum += count;
  return sum;
}

int At(const std::map<std::string, int>& counts, const std::string& name) {
  const auto found = counts.find(name);
  return found == counts.end() ? 0 : found->second;
}

std::string InMilliseconds(absl::Duration duration) {
  return absl::FormatDuration(absl::Trunc(duration, absl::Milliseconds(1)));
}

// Of sorted times.
std::string Quantile(const std::vector<absl::Duration>& sorted, double q) {
  return sorted.empty() ? "-" : InMilliseconds(sorted[static_cast<size_t>(q * static_cast<double>(sorted.size() - 1))]);
}

}  // namespace

int Totals::num_kills() const { return Sum(kills) + Sum(random); }

int Totals::num_failures() const { return Sum(fatal) + Sum(failures); }

std::vector<std::string> Totals::NeverPassed() const {
  std::vector<std::string> names;
  for (const auto& [name, count] : passed) {
    if (count == 0) names.push_back(name);
  }
  return names;
}

std::vector<std::string> Totals::NeverKilledAt() const {
  std::vector<std::string> names;
  for (const auto& [name, count] : passed) {
    if (At(kills, name) == 0) names.push_back(name);
  }
  return names;
}

std::string Totals::ToString() const {
  std::string text = absl::StrFormat("%-36s %10s %6s %9s\n", "point", "passed in", "kills", "failures");
  for (const auto& [name, count] : passed) {
    absl::StrAppendFormat(&text, "%-36s %10d %6d %9d\n", name, count, At(kills, name),
                          At(fatal, name) + At(failures, name));
  }
  for (const auto& [program, count] : random) {
    absl::StrAppendFormat(&text, "%-36s %10s %6d\n", program + " at random", "", count);
  }
  std::vector<absl::Duration> sorted = restarts;
  std::sort(sorted.begin(), sorted.end());
  const auto num_slow = std::count_if(sorted.begin(), sorted.end(), [](auto time) { return time > kRestartGoal; });
  absl::StrAppend(&text, "changes: acknowledged ", tally.num_acknowledged, ", answer lost ", tally.num_unknown,
                  " (had happened ", tally.num_found_done, ", had not ", tally.num_found_undone, "), sent again ",
                  tally.num_repeated, "; of ", num_subjects, " subjects\n");
  absl::StrAppend(&text, "calls told to fail: ", num_failures(), ", of which ended the process: ", Sum(fatal), "\n");
  absl::StrAppend(&text, "store checks: ", num_store_checks, "; at the last one ", num_audit_events, " audit events, ",
                  num_blobs, " blobs named\n");
  absl::StrAppend(&text, "coordinator restart until it answers: ", sorted.size(), " times, median ",
                  Quantile(sorted, 0.5), ", 90 % ", Quantile(sorted, 0.9), ", longest ", Quantile(sorted, 1), "; over ",
                  absl::FormatDuration(kRestartGoal), ": ", num_slow, "\n");
  return text;
}

std::string Totals::Summary() const {
  std::vector<absl::Duration> sorted = restarts;
  std::sort(sorted.begin(), sorted.end());
  return absl::StrCat(num_kills(), " kills (", Sum(random), " at random, the others at ", kills.size(), " of ",
                      passed.size(), " points), ", num_failures(), " calls failed on purpose, ", sorted.size(),
                      " restarts (median ", Quantile(sorted, 0.5), ", longest ", Quantile(sorted, 1), "), ",
                      tally.num_acknowledged, " writes acknowledged and found again");
}

}  // namespace ursa::crash
