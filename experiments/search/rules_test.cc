// The rules by which trials go on or end: brackets and rungs of ASHA, and the median rule.
#include <limits>
#include <string>
#include <vector>

#include "experiments/search/asha.h"
#include "experiments/search/median_rule.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

v1::AdaptiveAshaSearch Asha(int32_t max_trials, int32_t max_epochs, int32_t divisor, const std::string& mode) {
  v1::AdaptiveAshaSearch search;
  search.set_max_trials(max_trials);
  search.set_max_epochs(max_epochs);
  search.set_divisor(divisor);
  search.set_max_rungs(5);
  search.set_mode(mode);
  return search;
}

// "177: 1 4 16 64; 58: 4 16 64".
std::string Text(const std::vector<Bracket>& brackets) {
  std::string text;
  for (const Bracket& bracket : brackets) {
    text += (text.empty() ? "" : "; ") + std::to_string(bracket.num_trials) + ":";
    for (const int32_t epochs : bracket.rung_epochs) text += " " + std::to_string(epochs);
  }
  return text;
}

TEST(AshaBracketsTest, ComputedByHand) {
  // log_4 256 = 4, log_4 64 = 3: 4 rungs. Weights 64/4, 16/3, 4/2, 1: 58 = floor(256 * 5.33 / 23.33), and so on.
  EXPECT_EQ(Text(AshaBrackets(Asha(256, 64, 4, "aggressive"))), "256: 1 4 16 64");
  EXPECT_EQ(Text(AshaBrackets(Asha(256, 64, 4, "standard"))), "177: 1 4 16 64; 58: 4 16 64; 21: 16 64");
  EXPECT_EQ(Text(AshaBrackets(Asha(256, 64, 4, "conservative"))), "169: 1 4 16 64; 56: 4 16 64; 21: 16 64; 10: 64");
  EXPECT_EQ(Text(AshaBrackets(Asha(6, 4, 4, "aggressive"))), "6: 1 4");
  EXPECT_EQ(Text(AshaBrackets(Asha(6, 4, 4, "standard"))), "4: 1 4; 2: 4");
  EXPECT_EQ(Text(AshaBrackets(Asha(9, 10, 3, "aggressive"))), "9: 1 3 10");
}

TEST(AshaBracketsTest, RungsThatEpochsTrialsOrTheRecipeDoNotAllowAreLeftOut) {
  EXPECT_EQ(Text(AshaBrackets(Asha(100, 3, 4, "aggressive"))), "100: 3");
  EXPECT_EQ(Text(AshaBrackets(Asha(3, 64, 4, "aggressive"))), "3: 64");
  EXPECT_EQ(Text(AshaBrackets(Asha(1, 1, 2, "conservative"))), "1: 1");
  EXPECT_EQ(Text(AshaBrackets(Asha(10'000, 10'000, 2, "aggressive"))), "10000: 625 1250 2500 5000 10000");
  // Two brackets would leave 3 trials to the first, of which none could be promoted.
  EXPECT_EQ(Text(AshaBrackets(Asha(4, 4, 4, "standard"))), "4: 4");
}

TEST(AshaBracketsTest, EveryTrialHasAPlaceAndEachBracketAnEnd) {
  for (const char* mode : {"aggressive", "standard", "conservative"}) {
    for (int32_t divisor : {2, 3, 4, 7, 100}) {
      for (int32_t max_epochs : {1, 2, 5, 16, 100, 20'000}) {
        for (int32_t max_trials : {1, 2, 3, 4, 5, 8, 17, 64, 1000, 10'000}) {
          const std::vector<Bracket> brackets = AshaBrackets(Asha(max_trials, max_epochs, divisor, mode));
          int32_t num_trials = 0;
          size_t num_rungs = brackets.front().rung_epochs.size() + 1;
          for (const Bracket& bracket : brackets) {
            num_trials += bracket.num_trials;
            ASSERT_EQ(bracket.rung_epochs.size(), --num_rungs);
            int64_t needed = 1;
            for (size_t k = 1; k < bracket.rung_epochs.size(); ++k) {
              ASSERT_GT(bracket.rung_epochs[k], bracket.rung_epochs[k - 1]);
              needed *= divisor;
            }
            ASSERT_GE(bracket.rung_epochs.front(), 1);
            ASSERT_EQ(bracket.rung_epochs.back(), max_epochs);
            ASSERT_GE(bracket.num_trials, needed);
          }
          ASSERT_EQ(num_trials, max_trials);
        }
      }
    }
  }
}

TEST(RungTest, TheBestPartIsPromotableBestFirst) {
  Rung rung;
  EXPECT_EQ(rung.BestPromotable(2), std::nullopt);
  rung.Arrive(5, 0.5);
  EXPECT_EQ(rung.BestPromotable(2), std::nullopt);
  rung.Arrive(7, 0.7);
  EXPECT_EQ(rung.BestPromotable(2), 5);
  rung.Arrive(3, 0.3);
  EXPECT_EQ(rung.BestPromotable(2), 3);
  rung.Leave(3);
  EXPECT_EQ(rung.BestPromotable(2), std::nullopt) << "floor(3 / 2) = 1, and that one has gone";
  rung.Arrive(9, 0.9);
  EXPECT_EQ(rung.BestPromotable(2), 5);
  EXPECT_EQ(rung.BestPromotable(4), std::nullopt);
  EXPECT_EQ(rung.size(), 4u);
}

TEST(RungTest, TiesGoToTheLowerNumber) {
  Rung rung;
  for (int32_t trial : {8, 2, 5, 4}) rung.Arrive(trial, 0.5);
  EXPECT_EQ(rung.BestPromotable(2), 2);
  rung.Leave(2);
  EXPECT_EQ(rung.BestPromotable(2), 4);
  rung.Leave(4);
  EXPECT_EQ(rung.BestPromotable(2), std::nullopt);
  EXPECT_EQ(rung.Hopeless(4, 2), std::vector<int32_t>({5, 8}));
}

TEST(RungTest, WhoeverHasNoFiniteValueNeverWaits) {
  Rung rung;
  rung.Arrive(1, kInfinity);
  rung.Arrive(2, kInfinity);
  EXPECT_EQ(rung.BestPromotable(2), std::nullopt);
  EXPECT_TRUE(rung.Hopeless(2, 2).empty());
  rung.Arrive(3, 0.5);
  EXPECT_EQ(rung.BestPromotable(2), 3) << "their places count";
}

TEST(RungTest, HopelessAreThoseBeyondThePlacesThereWillBe) {
  Rung rung;
  for (int32_t trial = 1; trial <= 5; ++trial) rung.Arrive(trial, trial);
  EXPECT_TRUE(rung.Hopeless(20, 4).empty());
  EXPECT_EQ(rung.Hopeless(19, 4), std::vector<int32_t>({5}));
  EXPECT_EQ(rung.Hopeless(8, 4), std::vector<int32_t>({3, 4, 5}));
  rung.Leave(4);
  EXPECT_EQ(rung.Hopeless(8, 4), std::vector<int32_t>({3, 5}));
}

TEST(MedianRuleTest, ComputedByHand) {
  MedianRule rule(/*min_epochs=*/2, /*min_trials=*/3);
  for (double key : {0.1, 0.2, 0.3, 0.9}) EXPECT_EQ(rule.Judge(1, key, key), std::nullopt) << "before min_epochs";
  EXPECT_EQ(rule.Judge(2, 0.9, 0.9), std::nullopt) << "nobody to compare with";
  EXPECT_EQ(rule.Judge(2, 0.1, 0.2), std::nullopt);
  EXPECT_EQ(rule.Judge(2, 0.3, 0.4), std::nullopt);
  // Means 0.2, 0.4, 0.9: median 0.4.
  EXPECT_EQ(rule.Judge(2, 0.4, 0.6), std::nullopt) << "as good as the median";
  // Means 0.2, 0.4, 0.6, 0.9: median 0.5.
  EXPECT_EQ(rule.Judge(2, 0.51, 0.51), 0.5);
  EXPECT_EQ(rule.Judge(2, 0.5, 0.8), std::nullopt) << "its best counts, not its mean";
}

TEST(MedianRuleTest, ValuesThatAreNotFiniteAreTheWorst) {
  MedianRule rule(1, 2);
  rule.Judge(1, kInfinity, kInfinity);
  rule.Judge(1, kInfinity, kInfinity);
  EXPECT_EQ(rule.Judge(1, kInfinity, kInfinity), std::nullopt);
  EXPECT_EQ(rule.Judge(1, 5, 5), std::nullopt);
  rule.Judge(1, 1, 1);
  rule.Judge(1, 1, 1);
  // Means 1, 1, 5, and three times infinity.
  EXPECT_EQ(rule.Judge(1, 0.5, 0.5), std::nullopt);
  // 0.5, 1, 1, 5, infinity ...: the middle one is 5.
  EXPECT_EQ(rule.Judge(1, 7, 7), 5);
}

}  // namespace
}  // namespace ursa
