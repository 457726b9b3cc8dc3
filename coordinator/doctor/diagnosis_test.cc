#include "coordinator/doctor/diagnosis.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace ursa {
namespace {

const absl::Time kNow = absl::FromCivil(absl::CivilSecond(2026, 11, 26, 12, 3, 40), absl::UTCTimeZone());

RankReport Rank(int32_t rank, int64_t collectives, const std::string& collective, const std::string& doing = "",
                int seconds = 35) {
  RankReport report;
  report.rank = rank;
  report.worker = absl::StrCat("w", rank + 1);
  report.step = 41;
  report.collectives = collectives;
  report.in_collective = !collective.empty();
  report.doing = report.in_collective ? collective : doing;
  report.since = kNow - absl::Seconds(seconds);
  report.heard = kNow;
  return report;
}

RankReport Silent(RankReport report, int seconds) {
  report.heard = kNow - absl::Seconds(seconds);
  return report;
}

struct Case {
  std::string name;
  std::vector<RankReport> ranks;
  std::vector<int32_t> late;
  std::string text;
};

TEST(DiagnosisTest, SaysWhoIsLateWhereAndSinceWhen) {
  const std::vector<Case> cases = {
      {"nobody", {}, {}, ""},
      {"one moves", {Rank(0, 121, "all-reduce"), Rank(1, 120, "", "waits for a batch", 9)}, {}, ""},
      {"late outside",
       {Rank(0, 121, "all-reduce"), Rank(1, 120, "", "waits for a batch", 36)},
       {1},
       "rank 1 on w2 is late: it waits for a batch since 12:03:04 UTC (36 s), at step 41, after collective 120; rank 0 "
       "waits in all-reduce 121"},
      {"several late",
       {Rank(0, 121, "all-reduce"), Rank(1, 120, "", "runs its backward pass"), Rank(2, 121, "all-reduce"),
        Rank(3, 120, "", "runs its backward pass")},
       {1, 3},
       "ranks 1, 3 on w2, w4 are late: the first runs its backward pass since 12:03:05 UTC (35 s), at step 41, after "
       "collective 120; ranks 0, 2 wait in all-reduce 121"},
      {"one has not left what the others have",
       {Rank(0, 121, "", "runs its forward pass"), Rank(1, 121, "broadcast")},
       {1},
       "rank 1 on w2 is late: it is in broadcast 121 since 12:03:05 UTC (35 s), at step 41"},
      {"the network",
       {Rank(0, 121, "all-reduce"), Rank(1, 121, "all-reduce")},
       {0, 1},
       "all of ranks 0, 1 on w1, w2 are in all-reduce 121 since 12:03:05 UTC (35 s), at step 41: the network between "
       "them does not move"},
      {"a stopped process among equals",
       {Rank(0, 121, "all-reduce"), Silent(Rank(1, 121, "all-reduce"), 33)},
       {1},
       "rank 1 on w2 is silent: its process does not run since 12:03:07 UTC (33 s); when last heard of it is in "
       "all-reduce 121, at step 41; rank 0 waits in all-reduce 121"},
      {"a stopped process behind",
       {Rank(0, 121, "all-reduce"), Silent(Rank(1, 120, "", "runs its forward pass"), 200)},
       {1},
       "rank 1 on w2 is silent: its process does not run since 12:00:20 UTC (3 min); when last heard of it runs its "
       "forward pass, at step 41, after collective 120; rank 0 waits in all-reduce 121"},
      {"alone",
       {Rank(0, 0, "", "waits for a batch")},
       {0},
       "rank 0 on w1 waits for a batch since 12:03:05 UTC (35 s), at step 41"},
      {"all outside",
       {Rank(0, 7, "", "validates"), Rank(1, 7, "", "waits for a batch")},
       {0, 1},
       "all of ranks 0, 1 on w1, w2 stand still since 12:03:05 UTC (35 s); rank 0 validates, at step 41, after "
       "collective 7"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const auto diagnosis = Diagnose(c.ranks, kNow, DiagnosisOptions());
    ASSERT_EQ(diagnosis.has_value(), !c.late.empty());
    if (!diagnosis) continue;
    EXPECT_EQ(diagnosis->late, c.late);
    EXPECT_EQ(diagnosis->text, c.text);
  }
}

TEST(DiagnosisTest, AThousandRanksAreOneSentence) {
  std::vector<RankReport> ranks;
  for (int32_t r = 0; r < 1000; ++r)
    ranks.push_back(Rank(r, r % 10 == 3 ? 8 : 9, r % 10 == 3 ? "" : "all-reduce", "x"));
  const auto diagnosis = Diagnose(ranks, kNow, DiagnosisOptions());
  ASSERT_TRUE(diagnosis.has_value());
  EXPECT_EQ(diagnosis->late.size(), 100u);
  EXPECT_EQ(diagnosis->text,
            "ranks 3, 13, 23, 33 and 96 more on w4, w14, w24, w34 and 96 more are late: the first x since 12:03:05 UTC "
            "(35 s), at step 41, after collective 8; ranks 0, 1, 2, 4 and 896 more wait in all-reduce 9");
}

}  // namespace
}  // namespace ursa
