// Would the simulation find a bug if there were one? Bugs are planted, one at a time; it has to find each.
// URSA_MUTATIONS says which: "all", or names with commas between; without it five, other ones each day.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "tests/simulation/planted_bugs.h"

namespace ursa::sim {
namespace {

constexpr absl::Duration kLimit = absl::Minutes(5);  // for one bug; URSA_MUTATION_SECONDS says another
constexpr int64_t kBugsPerDay = 5;

std::vector<PlantedBug> Chosen() {
  const std::vector<PlantedBug>& all = AllPlantedBugs();
  const char* asked = std::getenv("URSA_MUTATIONS");
  const std::string names = asked == nullptr ? "" : asked;
  if (names == "all") return all;
  std::vector<PlantedBug> chosen;
  const std::vector<std::string> names_asked = absl::StrSplit(names, ',', absl::SkipEmpty());
  for (const std::string& name : names_asked) {
    const auto found = std::find_if(all.begin(), all.end(), [&](const PlantedBug& bug) { return name == bug.name; });
    EXPECT_TRUE(found != all.end()) << "URSA_MUTATIONS: there is no bug \"" << name << "\"";
    if (found != all.end()) chosen.push_back(*found);
  }
  if (!names.empty()) return chosen;
  const auto size = static_cast<int64_t>(all.size());
  const int64_t day = absl::ToInt64Hours(absl::Now() - absl::UnixEpoch()) / 24;
  std::printf("bugs of day %lld, %lld of %lld; all: --test_env=URSA_MUTATIONS=all\n", static_cast<long long>(day),
              static_cast<long long>(kBugsPerDay), static_cast<long long>(size));
  for (int64_t i = 0; i < kBugsPerDay; ++i) {
    chosen.push_back(all[static_cast<size_t>((day * kBugsPerDay + i) % size)]);
  }
  return chosen;
}

absl::Duration Limit() {
  const char* text = std::getenv("URSA_MUTATION_SECONDS");
  int64_t seconds = 0;
  if (text == nullptr) return kLimit;
  EXPECT_TRUE(absl::SimpleAtoi(text, &seconds)) << "URSA_MUTATION_SECONDS is \"" << text << "\", not a number";
  return absl::Seconds(seconds);
}

TEST(MutationTest, EachPlantedBugIsFound) {
  for (const PlantedBug& bug : Chosen()) {
    const Hunt hunt = HuntBug(bug, Limit());
    std::printf("| `%s` | %s | %s | seed %llu, %.1f s |\n", bug.name, bug.what,
                hunt.is_found ? hunt.how.substr(0, hunt.how.find('\n')).c_str() : "NOT FOUND",
                static_cast<unsigned long long>(hunt.seed), absl::ToDoubleSeconds(hunt.time));
    std::fflush(stdout);
    EXPECT_TRUE(hunt.is_found) << bug.name << " (" << bug.what << "): " << hunt.seed << " seeds in "
                               << absl::FormatDuration(hunt.time) << " did not show it: an invariant is missing";
  }
}

}  // namespace
}  // namespace ursa::sim
