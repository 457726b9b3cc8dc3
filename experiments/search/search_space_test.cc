#include "experiments/search/search_space.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "experiments/textproto.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

v1::ExperimentSpec Spec(const std::string& text) {
  v1::ExperimentSpec spec;
  const absl::Status status = ParseTextproto("spec", text, &spec);
  EXPECT_TRUE(status.ok()) << status;
  return spec;
}

constexpr char kSpace[] = R"(
  hyperparameters { name: "train.fine_tune.base_lr" log { low: 1e-4 high: 1e-1 count: 4 } }
  hyperparameters { name: "model.architecture" categorical { values: ["resnet18", "resnet34"] } }
  hyperparameters { name: "train.fine_tune.freeze_epochs" int { low: 0 high: 2 } }
  hyperparameters { name: "train.weight_decay" uniform { low: 0 high: 0.3 count: 3 } }
)";

TEST(GridTest, OrderAndNumber) {
  const v1::ExperimentSpec spec = Spec(std::string(kSpace) + "searcher { grid {} }");
  ASSERT_EQ(NumTrials(spec), 4 * 2 * 3 * 3);
  std::vector<std::string> trials;
  std::set<std::string> different;
  for (int32_t trial = 1; trial <= NumTrials(spec); ++trial) {
    trials.push_back(HyperparametersText(TrialHyperparameters(spec, trial)));
    different.insert(trials.back());
  }
  EXPECT_EQ(different.size(), trials.size());
  const auto text = [](const char* lr, const char* architecture, const char* freeze, const char* decay) {
    return std::string("model.architecture=") + architecture + ", train.fine_tune.base_lr=" + lr +
           ", train.fine_tune.freeze_epochs=" + freeze + ", train.weight_decay=" + decay;
  };
  EXPECT_EQ(trials[0], text("0.0001", "resnet18", "0", "0"));
  EXPECT_EQ(trials[1], text("0.0001", "resnet18", "0", "0.15"));
  EXPECT_EQ(trials[2], text("0.0001", "resnet18", "0", "0.3"));
  EXPECT_EQ(trials[3], text("0.0001", "resnet18", "1", "0"));
  EXPECT_EQ(trials[9], text("0.0001", "resnet34", "0", "0"));
  EXPECT_EQ(trials[18], text("0.001", "resnet18", "0", "0"));
  EXPECT_EQ(trials[71], text("0.1", "resnet34", "2", "0.3"));
}

TEST(GridTest, TooManyCombinationsAreCountedUpToTheLimit) {
  v1::ExperimentSpec spec;
  spec.mutable_searcher()->mutable_grid();
  for (int i = 0; i < 4; ++i) {
    spec.add_hyperparameters()->mutable_uniform()->set_count(10);
    EXPECT_EQ(NumTrials(spec), std::lround(std::pow(10, i + 1)));
  }
  spec.add_hyperparameters()->mutable_uniform()->set_count(2);
  EXPECT_EQ(NumTrials(spec), kNumTrialsMax + 1);
  spec.mutable_hyperparameters(0)->mutable_int_()->set_high(int64_t{1} << 53);
  EXPECT_EQ(NumTrials(spec), kNumTrialsMax + 1);
}

TEST(GridTest, PointsOfRanges) {
  const auto points = [](const std::string& distribution) {
    const v1::ExperimentSpec spec = Spec("searcher { grid {} } hyperparameters { name: \"x\" " + distribution + " }");
    std::vector<std::string> values;
    for (int32_t trial = 1; trial <= NumTrials(spec); ++trial)
      values.push_back(TrialHyperparameters(spec, trial).at("x"));
    return values;
  };
  using Values = std::vector<std::string>;
  EXPECT_EQ(points("log { low: 1e-05 high: 0.001 count: 3 }"), Values({"1e-05", "0.0001", "0.001"}));
  EXPECT_EQ(points("log { low: 1 high: 2 count: 3 }"), Values({"1", "1.41421", "2"}));
  EXPECT_EQ(points("uniform { low: -1 high: 1 count: 2 }"), Values({"-1", "1"}));
  EXPECT_EQ(points("int { low: 1 high: 10 count: 4 }"), Values({"1", "4", "7", "10"}));
  EXPECT_EQ(points("int { low: -1 high: 1 }"), Values({"-1", "0", "1"}));
  EXPECT_EQ(points("int { low: 9007199254740990 high: 9007199254740992 }"),
            Values({"9007199254740990", "9007199254740991", "9007199254740992"}));
  EXPECT_EQ(points("categorical { numbers: [16, 0.1, 1e-3, 1e6, 123456.75, 1e20] }"),
            Values({"16", "0.1", "0.001", "1000000", "123456.75", "1e+20"}));
}

TEST(RandomTest, AValueDependsOnSeedTrialAndPlaceOnly) {
  const std::string space = R"(
    searcher { random { max_trials: 3 } }
    hyperparameters { name: "train.fine_tune.base_lr" log { low: 1e-4 high: 1e-1 } }
    hyperparameters { name: "train.weight_decay" uniform { low: 0 high: 0.3 } }
  )";
  const v1::ExperimentSpec spec = Spec(space + "seed: 42");
  // Held: a search that was stored goes on with the same values in later versions.
  EXPECT_EQ(HyperparametersText(TrialHyperparameters(spec, 1)),
            "train.fine_tune.base_lr=0.000886689, train.weight_decay=0.163085");
  EXPECT_EQ(HyperparametersText(TrialHyperparameters(spec, 2)),
            "train.fine_tune.base_lr=0.00846402, train.weight_decay=0.225538");
  EXPECT_EQ(TrialHyperparameters(spec, 2), TrialHyperparameters(spec, 2));
  EXPECT_NE(TrialHyperparameters(spec, 1), TrialHyperparameters(Spec(space + "seed: 43"), 1));
  // One more hyperparameter changes nothing of those before it.
  v1::ExperimentSpec longer = spec;
  *longer.add_hyperparameters() = Spec("hyperparameters { name: \"x\" int { low: 1 high: 9 } }").hyperparameters(0);
  Hyperparameters values = TrialHyperparameters(longer, 2);
  EXPECT_EQ(values.erase("x"), 1u);
  EXPECT_EQ(values, TrialHyperparameters(spec, 2));
}

// Draws of 4000 trials lie within the range, fall evenly into its four quarters, and have at most 6 digits.
TEST(RandomTest, DrawsFillTheirRangesEvenly) {
  const struct {
    std::string distribution;
    double low, high;
    bool is_log;
  } cases[] = {
      {"log { low: 1e-4 high: 1e-1 }", 1e-4, 1e-1, true},
      {"uniform { low: -3 high: 0.5 }", -3, 0.5, false},
      {"int { low: 1 high: 400 }", 1, 400, false},
      {"categorical { numbers: [0, 1, 2, 3] }", -0.5, 3.5, false},
      {"log { low: 1 high: 8 count: 4 }", std::sqrt(0.5), 8 * std::sqrt(2), true},
  };
  for (const auto& test : cases) {
    const v1::ExperimentSpec spec =
        Spec("searcher { random { max_trials: 4000 } } hyperparameters { name: \"x\" " + test.distribution + " }");
    std::vector<int> quarters(4);
    for (int32_t trial = 1; trial <= 4000; ++trial) {
      const std::string text = TrialHyperparameters(spec, trial).at("x");
      EXPECT_LE(std::count_if(text.begin(), text.end(), [](char c) { return c >= '1' && c <= '9'; }), 8) << text;
      const double value = std::stod(text);
      ASSERT_GE(value, test.low) << test.distribution;
      ASSERT_LE(value, test.high) << test.distribution;
      const double position = test.is_log ? std::log(value / test.low) / std::log(test.high / test.low)
                                          : (value - test.low) / (test.high - test.low);
      ++quarters[std::min<size_t>(3, static_cast<size_t>(position * 4))];
    }
    // Five standard deviations of a binomial count.
    for (int count : quarters) EXPECT_NEAR(count, 1000, 137) << test.distribution;
  }
}

TEST(RandomTest, WarmStartGivesTheFirstTrialsTheirValues) {
  const v1::ExperimentSpec spec = Spec(std::string(kSpace) + R"(
    searcher {
      random { max_trials: 9 }
      warm_start {
        trials { set: "train.fine_tune.base_lr = 0.003" set: "model.architecture=resnet50" }
        trials { set: "train.weight_decay=1e-3" }
      }
    })");
  v1::ExperimentSpec cold = spec;
  cold.mutable_searcher()->clear_warm_start();
  Hyperparameters first = TrialHyperparameters(cold, 1), second = TrialHyperparameters(cold, 2);
  first["train.fine_tune.base_lr"] = "0.003";
  first["model.architecture"] = "resnet50";
  second["train.weight_decay"] = "1e-3";
  EXPECT_EQ(TrialHyperparameters(spec, 1), first);
  EXPECT_EQ(TrialHyperparameters(spec, 2), second);
  EXPECT_EQ(TrialHyperparameters(spec, 3), TrialHyperparameters(cold, 3));
}

TEST(SetHyperparametersTest, EveryKindOfField) {
  v1::ExperimentSpec spec;
  ASSERT_TRUE(SetHyperparameters({{"seed", "7"},
                                  {"model.architecture", "resnet18"},
                                  {"data.batch_transforms.aug_transforms.flip_vert", "true"},
                                  {"train.fine_tune.base_lr", "1e-05"},
                                  {"data.batch_size", "16"}},
                                 &spec)
                  .ok());
  EXPECT_EQ(spec.seed(), 7);
  EXPECT_EQ(spec.model().architecture(), "resnet18");
  EXPECT_TRUE(spec.data().batch_transforms().aug_transforms().flip_vert());
  EXPECT_EQ(spec.train().fine_tune().base_lr(), 1e-5);
  EXPECT_EQ(spec.data().batch_size(), 16);
  EXPECT_FALSE(SetHyperparameters({{"train.fine_tune.base_lr", "fast"}}, &spec).ok());
}

TEST(EndValuesTest, EndsAndCenter) {
  const v1::ExperimentSpec spec = Spec(kSpace);
  using Values = std::vector<std::string>;
  EXPECT_EQ(EndValues(spec.hyperparameters(0)), Values({"0.0001", "0.1"}));
  EXPECT_EQ(CenterValue(spec.hyperparameters(0)), "0.01");
  EXPECT_EQ(EndValues(spec.hyperparameters(1)), Values({"resnet18", "resnet34"}));
  EXPECT_EQ(CenterValue(spec.hyperparameters(1)), "resnet18");
  EXPECT_EQ(EndValues(spec.hyperparameters(2)), Values({"0", "2"}));
  EXPECT_EQ(CenterValue(spec.hyperparameters(2)), "1");
  EXPECT_EQ(EndValues(spec.hyperparameters(3)), Values({"0", "0.3"}));
  const v1::ExperimentSpec open = Spec("hyperparameters { name: \"x\" log { low: 0.01 high: 1 } }");
  EXPECT_EQ(CenterValue(open.hyperparameters(0)), "0.1");
}

}  // namespace
}  // namespace ursa
