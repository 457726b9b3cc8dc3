#include "experiments/search/searcher_checks.h"

#include <limits>
#include <string>
#include <vector>

#include "experiments/spec.h"
#include "experiments/textproto.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

using ::testing::HasSubstr;

constexpr char kSearch[] = R"(
  name: "x"
  dataset: "bears"
  model { architecture: "efficientnet_lite0" pretrained: "imagenet" }
  data { item_transforms { random_resized_crop { size: 224 } } batch_transforms { aug_transforms {} } }
  train { fine_tune { epochs: 4 } }
  searcher { adaptive_asha { metric: "error_rate" smaller_is_better: true max_trials: 6 max_epochs: 4 } }
  hyperparameters { name: "train.fine_tune.base_lr" log { low: 1e-4 high: 1e-1 } }
)";

v1::ExperimentSpec Recipe(const std::vector<std::string>& overrides = {}) {
  auto spec = ParseRecipe("test", kSearch);
  EXPECT_TRUE(spec.ok()) << spec.status();
  const absl::Status status = ApplyOverrides(overrides, &*spec);
  EXPECT_TRUE(status.ok()) << status;
  return *spec;
}

ResolveContext Context() {
  ResolveContext context;
  context.dataset = "bears@3";
  context.num_train = 333;
  context.num_valid = 83;
  context.num_classes = 3;
  context.cluster_slots = 8;
  context.device = "cpu";
  return context;
}

std::string SearcherText(const v1::ExperimentSpec& spec) { return spec.searcher().ShortDebugString(); }

TEST(ResolveTest, DefaultsOfEachMethod) {
  const struct {
    std::vector<std::string> overrides;
    const char* expected;
  } cases[] = {
      {{},
       "adaptive_asha { metric: \"error_rate\" smaller_is_better: true max_concurrent_trials: 6 max_trials: 6 "
       "max_epochs: 4 divisor: 4 max_rungs: 5 mode: \"standard\" }"},
      {{"searcher={adaptive_asha {max_trials: 20}}", "resources.slots_per_trial=2", "checkpoint.best_metric=accuracy",
        "train.metrics=accuracy"},
       "adaptive_asha { metric: \"accuracy\" smaller_is_better: false max_concurrent_trials: 4 max_trials: 20 "
       "max_epochs: 5 divisor: 4 max_rungs: 5 mode: \"standard\" }"},
      {{"searcher={random {max_trials: 20 median_stopping {}}}", "resources.max_slots=3"},
       "random { metric: \"valid_loss\" smaller_is_better: true max_concurrent_trials: 3 median_stopping "
       "{ min_epochs: 1 min_trials: 3 } max_trials: 20 }"},
      {{"searcher={grid {max_concurrent_trials: 16}}", "hyperparameters[0].log.count=4"},
       "grid { metric: \"valid_loss\" smaller_is_better: true max_concurrent_trials: 16 }"},
      {{"searcher={random {max_trials: 2} warm_start {experiment: \"e9\" trials {set: "
        "\"train.fine_tune.base_lr=1\"}}}"},
       "random { metric: \"valid_loss\" smaller_is_better: true max_concurrent_trials: 2 max_trials: 2 } "
       "warm_start { experiment: \"e9\" num_trials: 1 trials { set: \"train.fine_tune.base_lr=1\" } }"},
      // A gang that is larger than the cluster, but may start with fewer.
      {{"searcher={random {max_trials: 2}}", "resources.slots_per_trial=16", "resources.min_slots_per_trial=2"},
       "random { metric: \"valid_loss\" smaller_is_better: true max_concurrent_trials: 1 max_trials: 2 }"},
  };
  for (const auto& test : cases) {
    const auto resolved = ValidateAndResolve(Recipe(test.overrides), Context());
    ASSERT_TRUE(resolved.ok()) << resolved.status();
    EXPECT_EQ(SearcherText(*resolved), test.expected);
    // What the server stores can be submitted again.
    v1::ExperimentSpec again = *resolved;
    again.clear_execution();
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(*ValidateAndResolve(again, Context()), *resolved));
  }
}

TEST(ResolveTest, MaxEpochsLayOutTheSchedule) {
  const v1::ExperimentSpec resolved = *ValidateAndResolve(Recipe(), Context());
  EXPECT_EQ(resolved.train().fine_tune().epochs(), 3);
  EXPECT_EQ(NumEpochs(resolved), 4);
  EXPECT_EQ(NumEpochs(*ValidateAndResolve(Recipe({"searcher.adaptive_asha.max_epochs=40"}), Context())), 40);
  const v1::ExperimentSpec random = *ValidateAndResolve(Recipe({"searcher={random {max_trials: 2}}"}), Context());
  EXPECT_EQ(NumEpochs(random), 5);
}

TEST(ResolveTest, WarmStartTakesTheBestOfAnEarlierExperiment) {
  ResolveContext context = Context();
  const auto add = [&](const Hyperparameters& values, std::map<std::string, double> metrics) {
    context.earlier_trials.push_back({values, std::move(metrics)});
  };
  add({{"train.fine_tune.base_lr", "0.5"}}, {{"error_rate", 0.3}});
  add({{"train.fine_tune.base_lr", "0.02"}, {"train.weight_decay", "0.1"}}, {{"error_rate", 0.2}});
  add({{"train.fine_tune.base_lr", "0.03"}}, {{"error_rate", 0.1}});
  add({{"train.fine_tune.base_lr", "0.04"}}, {{"error_rate", 0.2}});
  add({{"train.weight_decay", "0.5"}}, {{"error_rate", 0.01}});
  add({{"train.fine_tune.base_lr", "0.05"}}, {{"error_rate", std::numeric_limits<double>::quiet_NaN()}});
  add({{"train.fine_tune.base_lr", "0.06"}}, {{"valid_loss", 0.01}});
  const auto warm = [&](const std::vector<std::string>& overrides) {
    std::vector<std::string> all = {"searcher.warm_start.experiment=e12"};
    all.insert(all.end(), overrides.begin(), overrides.end());
    return ValidateAndResolve(Recipe(all), context);
  };
  const auto values = [](const v1::ExperimentSpec& spec) {
    std::vector<std::string> set;
    for (const v1::TrialValues& trial : spec.searcher().warm_start().trials()) set.push_back(trial.set(0));
    return set;
  };
  using Set = std::vector<std::string>;
  EXPECT_EQ(values(*warm({})), Set({"train.fine_tune.base_lr=0.03"}));
  EXPECT_EQ(values(*warm({"searcher.warm_start.num_trials=3"})),
            Set({"train.fine_tune.base_lr=0.03", "train.fine_tune.base_lr=0.02", "train.fine_tune.base_lr=0.04"}));
  EXPECT_EQ(values(*warm({"searcher.warm_start.num_trials=6"})).size(), 4u);
  EXPECT_EQ(values(*warm({"searcher.adaptive_asha.smaller_is_better=false"})), Set({"train.fine_tune.base_lr=0.5"}));
  EXPECT_EQ(TrialHyperparameters(*warm({}), 1).at("train.fine_tune.base_lr"), "0.03");

  const absl::Status nothing =
      warm({"searcher.adaptive_asha.metric=valid_loss", "hyperparameters[0].name=train.fine_tune.div"}).status();
  EXPECT_EQ(nothing.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(nothing.message()), HasSubstr("none of the 7 trials of e12 has \"valid_loss\""));
  // What it takes is checked, too.
  context.earlier_trials = {{{{"train.fine_tune.base_lr", "50"}}, {{"error_rate", 0.1}}}};
  EXPECT_THAT(std::string(warm({}).status().message()),
              HasSubstr("trial 1 (train.fine_tune.base_lr=50): train.fine_tune.base_lr: 50; allowed: more than 0"));
}

TEST(ResolveTest, TheModelsNormalizationIsEachTrialsOwn) {
  const std::vector<std::string> varied = {
      "searcher={grid {}}",
      "hyperparameters[0]={name: \"model.pretrained\" categorical {values: [\"imagenet\", \"none\"]}}"};
  const v1::ExperimentSpec resolved = *ValidateAndResolve(Recipe(varied), Context());
  EXPECT_FALSE(resolved.data().batch_transforms().has_normalize());
  const auto mean = [&](int32_t trial) {
    return TrialSpec(resolved, TrialHyperparameters(resolved, trial))->data().batch_transforms().normalize().mean(0);
  };
  EXPECT_EQ(mean(1), 0.5);
  EXPECT_EQ(mean(2), 0.485);
}

TEST(TrialSpecTest, IsARecipeOfItsOwn) {
  const v1::ExperimentSpec resolved = *ValidateAndResolve(
      Recipe({"hyperparameters[1]={name: \"train.fine_tune.freeze_epochs\" int {low: 0 high: 2}}",
              "hyperparameters[2]={name: \"train.callbacks.early_stopping.patience\" int {low: 2 high: 3}}"}),
      Context());
  v1::ExperimentSpec trial = *TrialSpec(resolved, {{"train.fine_tune.base_lr", "0.01"},
                                                   {"train.fine_tune.freeze_epochs", "2"},
                                                   {"train.callbacks.early_stopping.patience", "3"}});
  EXPECT_EQ(trial.train().fine_tune().base_lr(), 0.01);
  EXPECT_EQ(trial.train().fine_tune().epochs(), 2) << "max_epochs are all epochs";
  EXPECT_EQ(trial.train().callbacks().early_stopping().monitor(), "valid_loss")
      << "what a value makes has its defaults";
  EXPECT_FALSE(trial.has_searcher());
  EXPECT_EQ(trial.hyperparameters_size(), 0);
  EXPECT_TRUE(trial.has_execution());
  v1::ExperimentSpec again = trial;
  again.clear_execution();
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(*ValidateAndFill(again), again));
  EXPECT_EQ(TrialSpec(resolved, {{"train.fine_tune.base_lr", "11"}}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(TrialRecipesTest, EachIsThatOfItsOwnValuesAlone) {
  const v1::ExperimentSpec resolved = *ValidateAndResolve(Recipe({}), Context());
  TrialRecipes recipes(resolved);
  const std::vector<Hyperparameters> trials = {
      {{"train.fine_tune.base_lr", "0.01"}, {"train.callbacks.early_stopping.patience", "3"}},
      {{"train.fine_tune.base_lr", "11"}},  // too much
      {{"train.callbacks.early_stopping.patience", "2"}, {"train.no_such_field", "1"}},
      {{"model.architecture", "resnet18"}},
      {}};
  for (const Hyperparameters& values : trials) {
    const absl::StatusOr<v1::ExperimentSpec> alone = TrialSpec(resolved, values);
    const absl::StatusOr<const v1::ExperimentSpec*> made = recipes.Make(values);
    EXPECT_EQ(made.status(), alone.status());
    if (!made.ok() || !alone.ok()) continue;
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(**made, *alone)) << HyperparametersText(values);
  }
}

struct BadValueCase {
  std::vector<std::string> overrides;
  std::string expected;  // part of the error
};

void ExpectErrors(const std::vector<BadValueCase>& cases) {
  for (const BadValueCase& test : cases) {
    const absl::Status status = ValidateRecipe(Recipe(test.overrides));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << test.expected << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(test.expected));
    EXPECT_EQ(ValidateAndResolve(Recipe(test.overrides), Context()).status(), status);
  }
}

TEST(CheckSearcherTest, EachBadSettingIsNamedWithWhatIsAllowed) {
  ExpectErrors({
      {{"searcher={}"}, "searcher: missing; allowed: grid, random, adaptive_asha"},
      {{"hyperparameters=[]"}, "hyperparameters: 0 of them; allowed: 1 to 32"},
      {{"searcher.adaptive_asha.metric=accuracy"},
       "searcher.adaptive_asha.metric: \"accuracy\"; allowed: valid_loss, error_rate"},
      {{"searcher.adaptive_asha.max_trials=0"}, "searcher.adaptive_asha.max_trials: 0; allowed: 1 to 10000"},
      {{"searcher.adaptive_asha.max_epochs=1"},
       "searcher.adaptive_asha.max_epochs: 1; allowed: 2 to 10001, of which 1 are train.fine_tune.freeze_epochs"},
      {{"searcher.adaptive_asha.max_epochs=10002"}, "max_epochs: 10002; allowed: 2 to 10001"},
      {{"searcher.adaptive_asha.divisor=1"}, "searcher.adaptive_asha.divisor: 1; allowed: 2 to 100"},
      {{"searcher.adaptive_asha.max_rungs=0"}, "searcher.adaptive_asha.max_rungs: 0; allowed: 1 to 20"},
      {{"searcher.adaptive_asha.mode=bold"}, "mode: \"bold\"; allowed: conservative, standard, aggressive"},
      {{"searcher.adaptive_asha.max_concurrent_trials=0"}, "max_concurrent_trials: 0; allowed: 1 to 1000"},
      {{"searcher={random {}}"}, "searcher.random.max_trials: 0; allowed: 1 to 10000"},
      {{"searcher={random {max_trials: 10001}}"}, "searcher.random.max_trials: 10001"},
      {{"searcher={random {max_trials: 2 metric: \"f1\"}}"}, "searcher.random.metric: \"f1\""},
      {{"searcher={random {max_trials: 2 median_stopping {min_epochs: 0}}}"},
       "searcher.random.median_stopping.min_epochs: 0; allowed: 1 to 10000"},
      {{"searcher={random {max_trials: 2 median_stopping {min_trials: 0}}}"}, "median_stopping.min_trials: 0"},
      {{"searcher={grid {}}"}, "hyperparameters[0].log.count: missing; allowed: 2 to 10000, points for searcher.grid"},
      {{"searcher={grid {}}", "hyperparameters[0].log.count=10000",
        "hyperparameters[1]={name: \"seed\" int {low: 1 high: 2}}"},
       "searcher.grid: the hyperparameters have more than 10000 combinations; allowed: at most 10000"},
      {{"searcher.warm_start={}"}, "searcher.warm_start: missing; allowed: experiment or trials"},
      {{"searcher.warm_start.experiment=12"}, "searcher.warm_start.experiment: \"12\"; allowed: an experiment's id"},
      {{"searcher.warm_start={experiment: \"e1\" num_trials: 7}"},
       "searcher.warm_start.num_trials: 7; allowed: 1 to 6"},
      {{"searcher.warm_start={trials {set: \"train.weight_decay=1\"}}"},
       "searcher.warm_start.trials[0].set[0]: \"train.weight_decay\"; allowed: train.fine_tune.base_lr"},
      {{"searcher.warm_start={trials {set: \"train.fine_tune.base_lr\"}}"}, "allowed: HYPERPARAMETER=VALUE"},
      {{"searcher.warm_start={trials {set: [\"train.fine_tune.base_lr=1\", \"train.fine_tune.base_lr=2\"]}}"},
       "trials[0].set[1]: \"train.fine_tune.base_lr=2\"; allowed: each hyperparameter once"},
      {{"searcher.warm_start={trials {set: \"train.fine_tune.base_lr=11\"}}"},
       "trial 1 (train.fine_tune.base_lr=11): train.fine_tune.base_lr: 11; allowed: more than 0, at most 10"},
      {{"searcher={grid {} warm_start {experiment: \"e1\"}}", "hyperparameters[0].log.count=2"},
       "searcher.warm_start: a grid tries all its points"},
  });
  v1::ExperimentSpec alone = Recipe();
  alone.clear_searcher();
  EXPECT_THAT(std::string(ValidateRecipe(alone).message()),
              HasSubstr("hyperparameters: 1 of them; allowed: none without a searcher"));
}

TEST(CheckSearcherTest, EachBadHyperparameterIsNamedWithWhatIsAllowed) {
  const auto with = [](const std::string& hyperparameter) {
    return std::vector<std::string>{"hyperparameters[1]={" + hyperparameter + "}"};
  };
  ExpectErrors({
      {with(""), "hyperparameters[1].name: missing; allowed: a field in model, data, train, or seed"},
      {with("name: \"resources.slots_per_trial\""),
       "hyperparameters[1].name: \"resources.slots_per_trial\"; allowed: a"},
      {with("name: \"train.fine_tune.bse_lr\""), "unknown field \"bse_lr\" (hint: base_lr?)"},
      {with("name: \"train.fine_tune\""), "\"train.fine_tune\"; allowed: a single number, word, or true and false"},
      {with("name: \"train.metrics[0]\""), "\"train.metrics[0]\"; allowed: a single number"},
      {with("name: \"train.metrics\""), "\"train.metrics\"; allowed: a single number"},
      {with("name: \"train..x\""), "\"train..x\"; allowed: a single number"},
      {with("name: \"train.fine_tune.epochs\" int {low: 1 high: 2}"),
       "which searcher.adaptive_asha.max_epochs decides"},
      {with("name: \"train.fine_tune.base_lr\" log {low: 1 high: 2}"),
       "hyperparameters[1].name: \"train.fine_tune.base_lr\"; allowed: a field that hyperparameters[0]"},
      {with("name: \"seed\""), "hyperparameters[1]: missing; allowed: log, uniform, int, categorical"},
      {with("name: \"seed\" log {low: 1 high: 2}"), "hyperparameters[1].log: the field is int64; allowed: of a double"},
      {with("name: \"train.weight_decay\" int {low: 0 high: 1}"), "hyperparameters[1].int: the field is double"},
      {with("name: \"model.pretrained\" int {low: 0 high: 1}"), "hyperparameters[1].int: the field is string"},
      {with("name: \"train.weight_decay\" log {low: 0 high: 1}"),
       "hyperparameters[1].log.low: 0; allowed: more than 0"},
      {with("name: \"train.weight_decay\" log {low: 1 high: 1}"),
       "hyperparameters[1].log.high: 1; allowed: more than 1"},
      {with("name: \"train.weight_decay\" uniform {low: nan high: 1}"), "hyperparameters[1].uniform.low: nan"},
      {with("name: \"train.weight_decay\" uniform {low: 0 high: inf}"), "hyperparameters[1].uniform.high: inf"},
      {with("name: \"train.weight_decay\" uniform {low: 0 high: 1 count: 1}"), "uniform.count: 1; allowed: 2 to 10000"},
      {with("name: \"seed\" int {low: 3 high: 3}"), "hyperparameters[1].int.high: 3; allowed: 4 to"},
      {with("name: \"seed\" int {low: 3 high: 5 count: 4}"), "hyperparameters[1].int.count: 4; allowed: 2 to 3"},
      {with("name: \"seed\" int {low: 0 high: 9007199254740993}"), "int.high: 9007199254740993"},
      {with("name: \"seed\" categorical {values: \"1\"}"),
       "hyperparameters[1].categorical: the field is int64; allowed: "
       "only `numbers`"},
      {with("name: \"model.pretrained\" categorical {numbers: 1}"), "the field is string; allowed: only `values`"},
      {with("name: \"model.pretrained\" categorical {}"), "hyperparameters[1].categorical.values: missing"},
      {with("name: \"seed\" categorical {numbers: [1, 2, 1]}"), "categorical.numbers[2]: 1; allowed: each once"},
      // What a value makes of the recipe.
      {with("name: \"train.weight_decay\" uniform {low: 0 high: 2}"),
       "hyperparameters[1]: train.weight_decay=2: train.weight_decay: 2; allowed: 0 to 1"},
      {with("name: \"seed\" categorical {numbers: [1, 1.5]}"),
       "hyperparameters[1]: seed=1.5: set seed: expected int64"},
      {with("name: \"train.train_bn\" categorical {values: [\"true\", \"maybe\"]}"),
       "hyperparameters[1]: train.train_bn=maybe: set train.train_bn: expected bool"},
      {with("name: \"model.pretrained\" categorical {values: [\"none\", \"imagnet\"]}"),
       "hyperparameters[1]: model.pretrained=imagnet: model.pretrained: \"imagnet\"; allowed: imagenet, none"},
      {with("name: \"train.fine_tune.freeze_epochs\" int {low: 0 high: 4}"),
       "hyperparameters[1]: train.fine_tune.freeze_epochs=4: train.fine_tune.epochs: 0"},
  });
  ExpectErrors(
      {{{"hyperparameters[1]={name: \"data.item_transforms.resize.size\" int {low: 64 high: 128}}",
         "hyperparameters[2]={name: \"data.item_transforms.random_resized_crop.size\" int {low: 64 high: 128}}"},
        "hyperparameters[2].name: \"data.item_transforms.random_resized_crop.size\"; allowed: a field that "
        "hyperparameters[1], \"data.item_transforms.resize.size\", leaves alone"}});
}

// Values that are each possible, but not together, are found where a trial has them.
TEST(CheckTrialsTest, CombinationsAreChecked) {
  const std::vector<std::string> zoom = {
      "searcher={grid {}}",
      "hyperparameters[0]={name: \"data.batch_transforms.aug_transforms.min_zoom\" uniform {low: 1 high: 2 count: 3}}",
      "hyperparameters[1]={name: \"data.batch_transforms.aug_transforms.max_zoom\" uniform {low: 1.6 high: 4 count: "
      "4}}"};
  EXPECT_THAT(std::string(ValidateRecipe(Recipe(zoom)).message()),
              HasSubstr("trial 9 (data.batch_transforms.aug_transforms.max_zoom=1.6, "
                        "data.batch_transforms.aug_transforms.min_zoom=2): "
                        "data.batch_transforms.aug_transforms.max_zoom: 1.6; allowed: 2 to 10"));
  // The recipe's own max_zoom of 1.1 does not matter where every trial has another.
  std::vector<std::string> apart = zoom;
  apart[2] =
      "hyperparameters[1]={name: \"data.batch_transforms.aug_transforms.max_zoom\" uniform {low: 2 high: 4 count: 4}}";
  EXPECT_TRUE(ValidateRecipe(Recipe(apart)).ok()) << ValidateRecipe(Recipe(apart));
}

TEST(CheckTrialsTest, BatchesMustFallOntoTheSlots) {
  const std::vector<std::string> overrides = {
      "resources.slots_per_trial=8", "hyperparameters[1]={name: \"data.batch_size\" categorical {numbers: [64, 36]}}"};
  EXPECT_TRUE(ValidateRecipe(Recipe(overrides)).ok());
  EXPECT_THAT(std::string(ValidateAndResolve(Recipe(overrides), Context()).status().message()),
              HasSubstr("hyperparameters[1]: data.batch_size=36: data.batch_size: 36; allowed: a multiple of"));
}

}  // namespace
}  // namespace ursa
