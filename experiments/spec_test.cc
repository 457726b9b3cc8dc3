#include "experiments/spec.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "experiments/textproto.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

using ::testing::HasSubstr;

constexpr char kSmallest[] = R"(
  name: "x"
  dataset: "bears"
  model { architecture: "efficientnet_lite0" pretrained: "imagenet" }
  data { item_transforms { random_resized_crop { size: 224 } } batch_transforms { aug_transforms {} } }
  train { fine_tune { epochs: 4 } }
)";

ResolveContext Context() {
  ResolveContext context;
  context.dataset = "bears@3";
  context.num_train = 333;
  context.num_valid = 83;
  context.num_classes = 3;
  context.cluster_slots = 2;
  context.worker_slots = 2;
  context.worker_cores = 5;
  context.device = "cpu";
  context.simd = "avx2";
  context.version = "0.1";
  return context;
}

v1::ExperimentSpec Recipe(const std::vector<std::string>& overrides = {}) {
  auto spec = ParseRecipe("test", kSmallest);
  EXPECT_TRUE(spec.ok()) << spec.status();
  const absl::Status status = ApplyOverrides(overrides, &*spec);
  EXPECT_TRUE(status.ok()) << status;
  return *spec;
}

TEST(ResolveTest, WritesOutEveryDefault) {
  const auto resolved = ValidateAndResolve(Recipe(), Context());
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  v1::ExperimentSpec expected;
  ASSERT_TRUE(ParseTextproto("expected", R"(
    name: "x"
    dataset: "bears@3"
    seed: 42
    max_restarts: 5
    model { architecture: "efficientnet_lite0" pretrained: "imagenet" }
    data {
      item_transforms {
        random_resized_crop {
          size: 224 min_scale: 0.08 max_scale: 1 min_ratio: 0.75 max_ratio: 1.3333333333333333 val_xtra: 0.14
        }
      }
      batch_transforms {
        aug_transforms {
          mult: 1 do_flip: true flip_vert: false max_rotate: 10 min_zoom: 1 max_zoom: 1.1 max_lighting: 0.2 max_warp: 0.2
          p_affine: 0.75 p_lighting: 0.75
        }
        normalize { mean: [0.5, 0.5, 0.5] std: [0.5, 0.5, 0.5] }
      }
      batch_size: 64
    }
    train {
      fine_tune { epochs: 4 freeze_epochs: 1 base_lr: 0.002 lr_mult: 100 pct_start: 0.3 div: 5 }
      metrics: "error_rate"
      weight_decay: 0.01
      label_smoothing: 0
      train_bn: true
    }
    resources { slots_per_trial: 1 priority: 50 pool: "default" min_slots_per_trial: 1 }
    checkpoint { keep_best: 1 keep_latest: 1 best_metric: "valid_loss" }
    execution { device: "cpu" threads_per_rank: 2 simd: "avx2" version: "0.1" }
  )",
                             &expected)
                  .ok());
  std::string difference;
  google::protobuf::util::MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&difference);
  EXPECT_TRUE(differencer.Compare(expected, *resolved)) << difference;
}

// What the server stores can be submitted again, apart from what it alone decides.
TEST(ResolveTest, AResolvedRecipeResolvesToItself) {
  const v1::ExperimentSpec resolved = *ValidateAndResolve(Recipe({"train.callbacks.early_stopping={}"}), Context());
  v1::ExperimentSpec again = resolved;
  again.clear_execution();
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(*ValidateAndResolve(again, Context()), resolved));
}

TEST(ResolveTest, NormalizationFollowsTheWeights) {
  const auto mean = [](const std::vector<std::string>& overrides) {
    const auto resolved = ValidateAndResolve(Recipe(overrides), Context());
    EXPECT_TRUE(resolved.ok()) << resolved.status();
    return resolved->data().batch_transforms().normalize().mean(0);
  };
  EXPECT_EQ(mean({}), 0.5);
  EXPECT_EQ(mean({"model.pretrained=none"}), 0.485);
  EXPECT_EQ(mean({"model={architecture: \"resnet18\"}"}), 0.485);
  EXPECT_EQ(mean({"data.batch_transforms.normalize={mean: [0.1, 0.2, 0.3] std: [1, 1, 1]}"}), 0.1);
}

TEST(ResolveTest, DefaultsOfWhatIsThere) {
  const auto resolved = ValidateAndResolve(
      Recipe({"data.item_transforms={resize {size: 64}}", "train.callbacks.early_stopping.patience=3"}), Context());
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->data().item_transforms().resize().method(), "crop");
  EXPECT_EQ(resolved->data().item_transforms().resize().pad_mode(), "reflection");
  EXPECT_EQ(resolved->train().callbacks().early_stopping().monitor(), "valid_loss");
  EXPECT_EQ(resolved->train().callbacks().early_stopping().patience(), 3);
  EXPECT_FALSE(resolved->checkpoint().has_every_steps());
}

TEST(ResolveTest, ThreadsPerRank) {
  ResolveContext context = Context();
  const auto threads = [&](int32_t cores, int32_t slots) {
    context.worker_cores = cores;
    context.worker_slots = slots;
    return ValidateAndResolve(Recipe(), context)->execution().threads_per_rank();
  };
  EXPECT_EQ(threads(2, 2), 1);
  EXPECT_EQ(threads(2, 1), 2);
  EXPECT_EQ(threads(1, 4), 1);
  EXPECT_EQ(threads(16, 3), 5);
}

struct BadValue {
  std::vector<std::string> overrides;
  std::string expected;  // part of the error
};

TEST(ValidateTest, EachBadValueIsNamedWithWhatIsAllowed) {
  const std::vector<BadValue> cases = {
      {{"name=Bears"}, "name: experiment \"Bears\""},
      {{"name="}, "name: experiment \"\""},
      {{"dataset="}, "dataset: dataset \"\""},
      {{"dataset=bears@x"}, "version \"x\""},
      {{"seed=-1"}, "seed: -1; allowed: 0 to "},
      {{"max_restarts=1001"}, "max_restarts: 1001; allowed: 0 to 1000"},
      {{"model.architecture=resnet19"},
       "model.architecture: \"resnet19\"; allowed: efficientnet_lite0, resnet18, resnet34, resnet50 (hint: resnet18?)"},
      {{"model={}"}, "model.architecture: missing; allowed: efficientnet_lite0"},
      {{"model.pretrained=yes"}, "model.pretrained: \"yes\"; allowed: imagenet, none"},
      {{"data.item_transforms={}"}, "data.item_transforms: missing; allowed: resize or random_resized_crop"},
      {{"data.item_transforms.resize.size=7"}, "data.item_transforms.resize.size: 7; allowed: 8 to 1024"},
      {{"data.item_transforms={resize {size: 64 method: \"stretch\"}}"},
       "method: \"stretch\"; allowed: crop, squish, pad"},
      {{"data.item_transforms={resize {size: 64 pad_mode: \"mirror\"}}"}, "allowed: reflection, border, zeros"},
      {{"data.item_transforms.random_resized_crop.size=2000"}, "size: 2000; allowed: 8 to 1024"},
      {{"data.item_transforms.random_resized_crop.min_scale=0"}, "min_scale: 0; allowed: more than 0, at most 1"},
      {{"data.item_transforms.random_resized_crop.max_scale=0.01"}, "max_scale: 0.01; allowed: 0.08 to 1"},
      {{"data.item_transforms.random_resized_crop.min_ratio=nan"}, "min_ratio: nan"},
      {{"data.item_transforms.random_resized_crop.max_ratio=0.5"}, "max_ratio: 0.5; allowed: 0.75 to 100"},
      {{"data.item_transforms.random_resized_crop.val_xtra=2"}, "val_xtra: 2; allowed: 0 to 1"},
      {{"data.batch_transforms.aug_transforms.max_rotate=181"}, "max_rotate: 181; allowed: 0 to 180"},
      {{"data.batch_transforms.aug_transforms.min_zoom=0"}, "min_zoom: 0; allowed: more than 0"},
      {{"data.batch_transforms.aug_transforms.max_zoom=0.9"}, "max_zoom: 0.9; allowed: 1 to"},
      {{"data.batch_transforms.aug_transforms.max_lighting=1"}, "max_lighting: 1; allowed: at least 0, less than 1"},
      {{"data.batch_transforms.aug_transforms.max_warp=-0.1"}, "max_warp: -0.1"},
      {{"data.batch_transforms.aug_transforms.mult=6"}, "max_lighting times mult: 1.2"},
      {{"data.batch_transforms.aug_transforms.p_affine=1.5"}, "p_affine: 1.5; allowed: 0 to 1"},
      {{"data.batch_transforms.aug_transforms.p_lighting=-1"}, "p_lighting: -1; allowed: 0 to 1"},
      {{"data.batch_transforms.normalize.mean=[0.5]"}, "data.batch_transforms.normalize.mean: 1 values; allowed: 3"},
      {{"data.batch_transforms.normalize={mean: [0, 0, 0] std: [1, 0, 1]}"},
       "normalize.std[1]: 0; allowed: more than 0"},
      {{"data.batch_size=1"}, "data.batch_size: 1; allowed: 2 to"},
      {{"train={}"}, "train.fine_tune: missing"},
      {{"train.fine_tune.epochs=0"}, "train.fine_tune.epochs: 0; allowed: 1 to 10000"},
      {{"train.fine_tune.freeze_epochs=-1"}, "freeze_epochs: -1; allowed: 0 to 10000"},
      {{"train.fine_tune.base_lr=0"}, "base_lr: 0; allowed: more than 0, at most 10"},
      {{"train.fine_tune.base_lr=inf"}, "base_lr: inf"},
      {{"train.fine_tune.lr_mult=0.5"}, "lr_mult: 0.5; allowed: 1 to"},
      {{"train.fine_tune.pct_start=1"}, "pct_start: 1; allowed: more than 0, less than 1"},
      {{"train.fine_tune.div=0"}, "div: 0; allowed: more than 0"},
      {{"train.metrics=f1"}, "train.metrics[0]: \"f1\"; allowed: error_rate, accuracy"},
      {{"train.metrics=[\"accuracy\", \"accuracy\"]"}, "train.metrics[1]: \"accuracy\" is there twice"},
      {{"train.callbacks.early_stopping.monitor=accuracy"}, "monitor: \"accuracy\"; allowed: valid_loss, error_rate"},
      {{"train.callbacks.early_stopping.min_delta=-1"}, "min_delta: -1"},
      {{"train.callbacks.early_stopping.patience=0"}, "patience: 0; allowed: 1 to"},
      {{"train.weight_decay=2"}, "train.weight_decay: 2; allowed: 0 to 1"},
      {{"train.label_smoothing=1"}, "train.label_smoothing: 1; allowed: at least 0, less than 1"},
      {{"resources.slots_per_trial=0"}, "resources.slots_per_trial: 0; allowed: 1 to"},
      {{"resources.priority=100"}, "resources.priority: 100; allowed: 1 to 99"},
      {{"resources.pool=GPU"}, "resources.pool: pool \"GPU\""},
      {{"resources.slots_per_trial=4", "resources.max_slots=3"},
       "resources.max_slots: 3; allowed: at least resources.slots_per_trial, which is 4"},
      {{"resources.min_slots_per_trial=2"}, "resources.min_slots_per_trial: 2; allowed: 1 to 1"},
      {{"resources.min_slots_per_trial=0"}, "resources.min_slots_per_trial: 0; allowed: 1 to 1"},
      {{"checkpoint.every_steps=0"}, "checkpoint.every_steps: 0; allowed: 1 to"},
      {{"checkpoint.keep_best=101"}, "checkpoint.keep_best: 101; allowed: 0 to 100"},
      {{"checkpoint.keep_latest=0"}, "checkpoint.keep_latest: 0; allowed: 1 to 100"},
      {{"checkpoint.best_metric=loss"}, "checkpoint.best_metric: \"loss\"; allowed: valid_loss, error_rate"},
      {{"execution.device=cpu"}, "execution: it is set by the server"},
  };
  for (const BadValue& test : cases) {
    const absl::Status status = ValidateRecipe(Recipe(test.overrides));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << test.expected << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(test.expected));
    EXPECT_EQ(ValidateAndResolve(Recipe(test.overrides), Context()).status(), status);
  }
}

TEST(ValidateTest, EdgesAreAllowed) {
  for (const char* assignment :
       {"data.batch_transforms.aug_transforms.mult=0", "data.batch_transforms.aug_transforms.max_rotate=180",
        "train.fine_tune.freeze_epochs=0", "train.fine_tune.base_lr=10", "train.weight_decay=0",
        "checkpoint.keep_best=0", "resources.max_slots=1", "resources.pool=gpu.a100-40",
        "data.item_transforms={resize {size: 8 method: \"pad\" pad_mode: \"zeros\"}}", "data.batch_size=2",
        "train.metrics=[\"accuracy\", \"error_rate\"]", "seed=0", "max_restarts=0"}) {
    EXPECT_TRUE(ValidateRecipe(Recipe({assignment})).ok()) << assignment << ValidateRecipe(Recipe({assignment}));
  }
  EXPECT_TRUE(ValidateRecipe(Recipe({"train.metrics=accuracy", "checkpoint.best_metric=accuracy",
                                     "train.callbacks.early_stopping.monitor=accuracy"}))
                  .ok());
}

TEST(ValidateTest, PretrainedWeightsThatAreNotAtHand) {
  const absl::Status status = ValidateRecipe(Recipe({"model.architecture=resnet34"}));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("resnet34"));
}

TEST(ResolveTest, WhatTheClusterAndTheDatasetLack) {
  const struct {
    std::vector<std::string> overrides;
    void (*change)(ResolveContext*);
    const char* expected;
  } cases[] = {
      {{"resources.slots_per_trial=64"}, [](ResolveContext*) {}, "64 slots asked for, pool \"default\" has 2"},
      {{"resources.slots_per_trial=64", "resources.min_slots_per_trial=4"},
       [](ResolveContext*) {},
       "resources.min_slots_per_trial: 4 slots asked for, pool \"default\" has 2"},
      {{}, [](ResolveContext* context) { context->num_train = 63; }, "64 images a step, dataset bears@3 has 63"},
      {{}, [](ResolveContext* context) { context->num_valid = 0; }, "0 validation examples"},
      {{}, [](ResolveContext* context) { context->num_classes = 1; }, "1 classes"},
  };
  for (const auto& test : cases) {
    ResolveContext context = Context();
    test.change(&context);
    const absl::Status status = ValidateAndResolve(Recipe(test.overrides), context).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << test.expected;
    EXPECT_THAT(std::string(status.message()), HasSubstr(test.expected));
  }
  ResolveContext context = Context();
  context.num_train = 64;
  EXPECT_TRUE(ValidateAndResolve(Recipe(), context).ok());
}

TEST(ResolveTest, TheBatchFallsEvenlyOntoTheSlots) {
  ResolveContext context = Context();
  context.cluster_slots = 64;
  const auto error = [&](const std::vector<std::string>& overrides) {
    const absl::Status status = ValidateAndResolve(Recipe(overrides), context).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(error({"data.batch_size=65", "resources.slots_per_trial=2"}),
              HasSubstr("data.batch_size: 65; allowed: a multiple of resources.slots_per_trial, which is 2"));
  EXPECT_THAT(error({"resources.slots_per_trial=64"}),
              HasSubstr("data.batch_size: 64; allowed: at least 2 images a rank, 128"));
  EXPECT_TRUE(ValidateAndResolve(Recipe({"resources.slots_per_trial=32"}), context).ok());
  EXPECT_THAT(error({"resources.slots_per_trial=4", "resources.min_slots_per_trial=3"}),
              HasSubstr("data.batch_size: 64; allowed: a multiple of resources.min_slots_per_trial, which is 3"));
}

TEST(GangSizesTest, ThoseThatDivideTheBatchLargestFirst) {
  ResolveContext context = Context();
  context.cluster_slots = 8;
  const auto sizes = [&](const std::vector<std::string>& overrides) {
    const auto resolved = ValidateAndResolve(Recipe(overrides), context);
    EXPECT_TRUE(resolved.ok()) << resolved.status();
    return GangSizes(*resolved);
  };
  EXPECT_EQ(sizes({"resources.slots_per_trial=8"}), std::vector<int32_t>({8}));
  EXPECT_EQ(sizes({"resources.slots_per_trial=8", "resources.min_slots_per_trial=2"}), std::vector<int32_t>({8, 4, 2}));
  EXPECT_EQ(sizes({"resources.slots_per_trial=8", "resources.min_slots_per_trial=1", "data.batch_size=24"}),
            std::vector<int32_t>({8, 6, 4, 3, 2, 1}));
  // A gang of more slots than there are, which may start with fewer.
  EXPECT_EQ(sizes({"resources.slots_per_trial=16", "resources.min_slots_per_trial=8"}), std::vector<int32_t>({16, 8}));
  // As resolved before there was a least size.
  v1::ExperimentSpec old = *ValidateAndResolve(Recipe({"resources.slots_per_trial=4"}), context);
  old.mutable_resources()->clear_min_slots_per_trial();
  EXPECT_EQ(GangSizes(old), std::vector<int32_t>({4}));
}

TEST(NumStepsTest, TheLastPartialBatchIsDropped) {
  const v1::ExperimentSpec resolved = *ValidateAndResolve(Recipe(), Context());
  EXPECT_EQ(StepsPerEpoch(resolved, 333), 5);
  EXPECT_EQ(StepsPerEpoch(resolved, 320), 5);
  EXPECT_EQ(NumEpochs(resolved), 5);
  EXPECT_EQ(NumSteps(resolved, 333), 25);
}

TEST(LowerIsBetterTest, ByName) {
  EXPECT_TRUE(LowerIsBetter("valid_loss"));
  EXPECT_TRUE(LowerIsBetter("error_rate"));
  EXPECT_FALSE(LowerIsBetter("accuracy"));
}

TEST(ParseRecipeTest, NamesTheFile) {
  const absl::Status status = ParseRecipe("bears.textproto", "name: \"x\"\ntrain { fine_tuna {} }").status();
  EXPECT_EQ(std::string(status.message()),
            "bears.textproto:2:9: unknown field \"fine_tuna\" in \"train\" (hint: fine_tune?)");
}

// The recipes that we ship.
std::vector<std::string> ShippedRecipes() {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator("experiments/recipes")) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

TEST(ShippedRecipesTest, AllParseAndResolve) {
  const std::vector<std::string> paths = ShippedRecipes();
  EXPECT_GE(paths.size(), 2u);
  for (const std::string& path : paths) {
    std::ifstream file(path);
    ASSERT_TRUE(file) << path;
    std::ostringstream text;
    text << file.rdbuf();
    const auto recipe = ParseRecipe(path, text.str());
    ASSERT_TRUE(recipe.ok()) << recipe.status();
    const auto resolved = ValidateAndResolve(*recipe, Context());
    ASSERT_TRUE(resolved.ok()) << path << ": " << resolved.status();
    EXPECT_EQ("experiments/recipes/" + resolved->name() + ".textproto", path);
  }
}

}  // namespace
}  // namespace ursa
