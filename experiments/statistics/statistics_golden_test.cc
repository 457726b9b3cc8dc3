// Every case of statistics.json that this room answers for; the others are counted with the reason.
#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "experiments/golden_testlib.h"
#include "experiments/statistics/distributions.h"
#include "experiments/statistics/paired_tests.h"
#include "experiments/statistics/proportions.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

constexpr double kRelative = 1e-9;

void ExpectNear(double actual, double expected) {
  EXPECT_NEAR(actual, expected, kRelative * std::max(std::abs(expected), 1e-300)) << "expected " << expected;
}

void CheckMcNemar(const Json& golden) {
  const int64_t b = Integer(At(golden, "b"));
  const int64_t c = Integer(At(golden, "c"));
  ExpectNear(McNemar(b, c).exact_p, Number(At(golden, "exact_p")));
  ExpectNear(McNemar(b, c).mid_p, Number(At(golden, "midp")));
  ExpectNear(McNemar(c, b).exact_p, Number(At(golden, "exact_p")));
}

void CheckProportion(const Json& golden) {
  const Interval interval =
      WilsonInterval(Number(At(golden, "k")), Number(At(golden, "n")), 1 - Number(At(golden, "alpha")));
  const std::vector<double> expected = Numbers(At(golden, "wilson"));
  ExpectNear(interval.low, expected.at(0));
  ExpectNear(interval.high, expected.at(1));
}

// The fixture's model 1 is the candidate.
void CheckNewcombe(const Json& golden) {
  const PairedCounts counts = {Integer(At(golden, "a")), Integer(At(golden, "b")), Integer(At(golden, "c")),
                               Integer(At(golden, "d"))};
  const Interval interval = PairedDifferenceInterval(counts, 1 - Number(At(golden, "alpha")));
  ExpectNear(counts.difference(), Number(At(golden, "diff")));
  ExpectNear(interval.low, Number(At(golden, "lower")));
  ExpectNear(interval.high, Number(At(golden, "upper")));
}

void CheckMcNemarPower(const Json& golden) {
  const double p10 = Number(At(golden, "p10"));
  const double p01 = Number(At(golden, "p01"));
  const double alpha = Number(At(golden, "alpha"));
  const double n = McNemarSampleSize(p10, p01, alpha, Number(At(golden, "power")));
  ExpectNear(n, Number(At(golden, "n_exact")));
  EXPECT_EQ(std::ceil(n), Number(At(golden, "n")));
  ExpectNear(McNemarPower(p10, p01, alpha, 300), Number(At(golden, "power_at_n300")));
}

void CheckBinomial(const Json& golden) {
  const int64_t k = Integer(At(golden, "k"));
  const int64_t n = Integer(At(golden, "n"));
  const double p0 = Number(At(golden, "p0"));
  ExpectNear(BinomialTestTwoSided(k, n, p0), Number(At(golden, "two_sided")));
  ExpectNear(BinomialCdf(k, n, p0), Number(At(golden, "less")));
  ExpectNear(BinomialSf(k, n, p0), Number(At(golden, "greater")));
}

void CheckDistributions(const Json& golden) {
  for (const auto& [p, x] : At(golden, "norm_ppf").struct_value().fields()) {
    SCOPED_TRACE("norm_ppf " + p);
    ExpectNear(NormalQuantile(std::stod(p)), Number(x));
  }
  for (const auto& [x, p] : At(golden, "norm_sf").struct_value().fields()) {
    SCOPED_TRACE("norm_sf " + x);
    ExpectNear(NormalSf(std::stod(x)), Number(p));
  }
  for (const auto& [arguments, value] : At(golden, "binom_cdf").struct_value().fields()) {
    SCOPED_TRACE("binom_cdf " + arguments);
    long long k = 0;
    long long n = 0;
    double p = 0;
    ASSERT_EQ(std::sscanf(arguments.c_str(), "%lld,%lld,%lf", &k, &n, &p), 3);
    ExpectNear(BinomialCdf(k, n, p), Number(value));
  }
}

TEST(StatisticsGoldenTest, AllCases) {
  const std::map<std::string, void (*)(const Json&)> checks = {
      {"mcnemar", CheckMcNemar},
      {"proportion_ci", CheckProportion},
      {"newcombe_paired_difference", CheckNewcombe},
      {"mcnemar_power", CheckMcNemarPower},
      {"binomial_exact", CheckBinomial},
      {"distributions", CheckDistributions},
  };
  // Values that stand beside those that are checked.
  const std::map<std::string, std::string> parts = {
      {"mcnemar", "asymptotic forms: the exact test serves at any size"},
      {"proportion_ci", "Clopper-Pearson, Agresti-Coull, normal, Jeffreys: Wilson serves"},
      {"mcnemar_power", "smallest difference that can be seen: nothing asks for it"},
      {"distributions", "t, chi-square, beta and F: nothing asks for them"},
  };
  GoldenTally tally;
  for (const Json& golden : GoldenCases("statistics.json")) {
    const std::string kind = Kind(golden);
    const auto check = checks.find(kind);
    if (check == checks.end()) {
      tally.Skipped(kind, "no comparison asks for it");
      continue;
    }
    SCOPED_TRACE(golden.ShortDebugString().substr(0, 160));
    check->second(golden);
    tally.Checked(kind);
    if (parts.count(kind)) tally.Skipped(kind + " (part)", parts.at(kind));
  }
  EXPECT_GE(tally.num_checked(), 1);
}

}  // namespace
}  // namespace ursa
