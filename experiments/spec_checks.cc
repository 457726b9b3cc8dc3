#include "experiments/spec_checks.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "experiments/labels.h"
#include "experiments/resource_names.h"
#include "experiments/search/searcher_checks.h"
#include "experiments/spec.h"
#include "experiments/value_checks.h"

namespace ursa {
namespace {

constexpr int32_t kBatchSizeMax = 65'536;
constexpr int32_t kSlotsMax = 8'192;

absl::Status CheckResize(const v1::Resize& resize) {
  const FieldPath path = "data.item_transforms.resize";
  URSA_RETURN_IF_ERROR(CheckInt(path + ".size", resize.size(), 8, 1024));
  URSA_RETURN_IF_ERROR(CheckChoice(path + ".method", resize.method(), {"crop", "squish", "pad"}));
  return CheckChoice(path + ".pad_mode", resize.pad_mode(), {"reflection", "border", "zeros"});
}

absl::Status CheckRandomResizedCrop(const v1::RandomResizedCrop& crop) {
  constexpr double kRatioMax = 100;
  const FieldPath path = "data.item_transforms.random_resized_crop";
  URSA_RETURN_IF_ERROR(CheckInt(path + ".size", crop.size(), 8, 1024));
  URSA_RETURN_IF_ERROR(CheckDouble(path + ".min_scale", crop.min_scale(), 0, 1, Ends::kHigh));
  URSA_RETURN_IF_ERROR(CheckDouble(path + ".max_scale", crop.max_scale(), crop.min_scale(), 1));
  URSA_RETURN_IF_ERROR(CheckDouble(path + ".min_ratio", crop.min_ratio(), 1 / kRatioMax, kRatioMax));
  URSA_RETURN_IF_ERROR(CheckDouble(path + ".max_ratio", crop.max_ratio(), crop.min_ratio(), kRatioMax));
  return CheckDouble(path + ".val_xtra", crop.val_xtra(), 0, 1);
}

absl::Status CheckItemTransforms(const v1::ItemTransforms& item) {
  if (item.has_resize()) return CheckResize(item.resize());
  if (item.has_random_resized_crop()) return CheckRandomResizedCrop(item.random_resized_crop());
  return MissingValue("data.item_transforms",
                      "resize or random_resized_crop (hint: random_resized_crop { size: 224 })");
}

absl::Status CheckAugTransforms(const v1::AugTransforms& aug) {
  constexpr double kMultMax = 1000;
  constexpr double kZoomMax = 10;
  const FieldPath path = "data.batch_transforms.aug_transforms";
  URSA_RETURN_IF_ERROR(CheckDouble(path + ".mult", aug.mult(), 0, kMultMax));
  URSA_RETURN_IF_ERROR(CheckDouble(path + ".max_rotate", aug.max_rotate(), 0, 180));
  URSA_RETURN_IF_ERROR(CheckDouble(path + ".min_zoom", aug.min_zoom(), 0, kZoomMax, Ends::kHigh));
  URSA_RETURN_IF_ERROR(CheckDouble(path + ".max_zoom", aug.max_zoom(), aug.min_zoom(), kZoomMax));
  URSA_RETURN_IF_ERROR(CheckDouble(path + ".max_lighting", aug.max_lighting(), 0, 1, Ends::kLow));
  URSA_RETURN_IF_ERROR(CheckDouble(path + ".max_warp", aug.max_warp(), 0, 1, Ends::kLow));
  URSA_RETURN_IF_ERROR(CheckDouble(path + ".p_affine", aug.p_affine(), 0, 1));
  URSA_RETURN_IF_ERROR(CheckDouble(path + ".p_lighting", aug.p_lighting(), 0, 1));
  // `mult` stretches three of them; lighting or warp of 1 would leave no picture.
  URSA_RETURN_IF_ERROR(CheckDouble(path + ".max_rotate times mult", aug.max_rotate() * aug.mult(), 0, 180));
  URSA_RETURN_IF_ERROR(
      CheckDouble(path + ".max_lighting times mult", aug.max_lighting() * aug.mult(), 0, 1, Ends::kLow));
  return CheckDouble(path + ".max_warp times mult", aug.max_warp() * aug.mult(), 0, 1, Ends::kLow);
}

absl::Status CheckNormalize(const v1::Normalize& normalize) {
  constexpr int kNumChannels = 3;
  constexpr double kMeanMax = 1000;
  constexpr const char* kMeans[kNumChannels] = {".mean[0]", ".mean[1]", ".mean[2]"};
  constexpr const char* kStds[kNumChannels] = {".std[0]", ".std[1]", ".std[2]"};
  const FieldPath path = "data.batch_transforms.normalize";
  const auto check_size = [&](const char* field, int size) {
    if (size == kNumChannels) return absl::OkStatus();
    return BadValue(path + field, absl::StrCat(size, " values"), "3 values, for red, green and blue");
  };
  URSA_RETURN_IF_ERROR(check_size(".mean", normalize.mean_size()));
  URSA_RETURN_IF_ERROR(check_size(".std", normalize.std_size()));
  for (int i = 0; i < kNumChannels; ++i) {
    URSA_RETURN_IF_ERROR(CheckDouble(path + kMeans[i], normalize.mean(i), -kMeanMax, kMeanMax));
    URSA_RETURN_IF_ERROR(CheckDouble(path + kStds[i], normalize.std(i), 0, kMeanMax, Ends::kHigh));
  }
  return absl::OkStatus();
}

absl::Status CheckModel(const v1::ModelSpec& model) {
  URSA_RETURN_IF_ERROR(CheckChoice("model.architecture", model.architecture(), Architectures()));
  URSA_RETURN_IF_ERROR(CheckChoice("model.pretrained", model.pretrained(), {"imagenet", "none"}));
  if (model.pretrained() == "imagenet" && model.architecture() != "efficientnet_lite0") {
    return absl::FailedPreconditionError(absl::StrCat("model.pretrained: \"imagenet\" weights of ",
                                                      model.architecture(),
                                                      " are not at hand, only those of efficientnet_lite0 "
                                                      "(hint: pretrained: \"none\")"));
  }
  return absl::OkStatus();
}

absl::Status CheckFineTune(const v1::FineTune& fine_tune) {
  constexpr double kFactorMax = 1e9;
  const FieldPath path = "train.fine_tune";
  URSA_RETURN_IF_ERROR(CheckInt(path + ".epochs", fine_tune.epochs(), 1, 10'000));
  URSA_RETURN_IF_ERROR(CheckInt(path + ".freeze_epochs", fine_tune.freeze_epochs(), 0, 10'000));
  URSA_RETURN_IF_ERROR(CheckDouble(path + ".base_lr", fine_tune.base_lr(), 0, 10, Ends::kHigh));
  URSA_RETURN_IF_ERROR(CheckDouble(path + ".lr_mult", fine_tune.lr_mult(), 1, kFactorMax));
  URSA_RETURN_IF_ERROR(CheckDouble(path + ".pct_start", fine_tune.pct_start(), 0, 1, Ends::kNone));
  return CheckDouble(path + ".div", fine_tune.div(), 0, kFactorMax, Ends::kHigh);
}

// Values that a validation yields: what early stopping and `best` may look at.
std::vector<std::string> Monitors(const v1::TrainSpec& train) {
  std::vector<std::string> names = {"valid_loss"};
  names.insert(names.end(), train.metrics().begin(), train.metrics().end());
  return names;
}

absl::Status CheckTrain(const v1::TrainSpec& train) {
  if (!train.has_fine_tune())
    return MissingValue("train.fine_tune", "a schedule (hint: train { fine_tune { epochs: 4 } })");
  URSA_RETURN_IF_ERROR(CheckFineTune(train.fine_tune()));
  for (int i = 0; i < train.metrics_size(); ++i) {
    const std::string path = absl::StrCat("train.metrics[", i, "]");
    URSA_RETURN_IF_ERROR(CheckChoice(path, train.metrics(i), {"error_rate", "accuracy"}));
    if (std::count(train.metrics().begin(), train.metrics().begin() + i, train.metrics(i)) != 0) {
      return BadValue(path, absl::StrCat("\"", train.metrics(i), "\" is there twice"), "each metric once");
    }
  }
  if (train.has_callbacks() && train.callbacks().has_early_stopping()) {
    const FieldPath path = "train.callbacks.early_stopping";
    const v1::EarlyStopping& early_stopping = train.callbacks().early_stopping();
    URSA_RETURN_IF_ERROR(CheckChoice(path + ".monitor", early_stopping.monitor(), Monitors(train)));
    URSA_RETURN_IF_ERROR(CheckDouble(path + ".min_delta", early_stopping.min_delta(), 0, 1e9));
    URSA_RETURN_IF_ERROR(CheckInt(path + ".patience", early_stopping.patience(), 1, 10'000));
  }
  URSA_RETURN_IF_ERROR(CheckDouble("train.weight_decay", train.weight_decay(), 0, 1));
  return CheckDouble("train.label_smoothing", train.label_smoothing(), 0, 1, Ends::kLow);
}

absl::Status CheckCheckpoint(const v1::CheckpointSpec& checkpoint, const v1::TrainSpec& train) {
  if (checkpoint.has_every_steps()) {
    URSA_RETURN_IF_ERROR(CheckInt("checkpoint.every_steps", checkpoint.every_steps(), 1, INT32_MAX));
  }
  URSA_RETURN_IF_ERROR(CheckInt("checkpoint.keep_best", checkpoint.keep_best(), 0, 100));
  URSA_RETURN_IF_ERROR(CheckInt("checkpoint.keep_latest", checkpoint.keep_latest(), 1, 100));
  return CheckChoice("checkpoint.best_metric", checkpoint.best_metric(), Monitors(train));
}

absl::Status CheckResources(const v1::ResourcesSpec& resources) {
  URSA_RETURN_IF_ERROR(CheckInt("resources.slots_per_trial", resources.slots_per_trial(), 1, kSlotsMax));
  URSA_RETURN_IF_ERROR(CheckInt("resources.priority", resources.priority(), 1, 99));
  URSA_RETURN_IF_ERROR(At("resources.pool", CheckName("pool", resources.pool())));
  URSA_RETURN_IF_ERROR(At("resources.labels", CheckLabels(resources.labels())));
  if (resources.has_max_slots() && resources.max_slots() < resources.slots_per_trial()) {
    return BadValue("resources.max_slots", absl::StrCat(resources.max_slots()),
                    absl::StrCat("at least resources.slots_per_trial, which is ", resources.slots_per_trial()));
  }
  return CheckInt("resources.min_slots_per_trial", resources.min_slots_per_trial(), 1, resources.slots_per_trial());
}

}  // namespace

absl::Status CheckValues(const v1::ExperimentSpec& filled) {
  URSA_RETURN_IF_ERROR(At("name", CheckName("experiment", filled.name())));
  URSA_RETURN_IF_ERROR(At("dataset", ParseDatasetReference(filled.dataset()).status()));
  URSA_RETURN_IF_ERROR(CheckInt("seed", filled.seed(), 0, INT64_MAX));
  URSA_RETURN_IF_ERROR(CheckInt("max_restarts", filled.max_restarts(), 0, 1000));
  URSA_RETURN_IF_ERROR(CheckModel(filled.model()));
  URSA_RETURN_IF_ERROR(CheckItemTransforms(filled.data().item_transforms()));
  const v1::BatchTransforms& batch = filled.data().batch_transforms();
  if (batch.has_aug_transforms()) URSA_RETURN_IF_ERROR(CheckAugTransforms(batch.aug_transforms()));
  if (batch.has_normalize()) URSA_RETURN_IF_ERROR(CheckNormalize(batch.normalize()));
  // Before the schedule, whose length it decides.
  if (filled.train().has_fine_tune()) URSA_RETURN_IF_ERROR(CheckSearcher(filled, Monitors(filled.train())));
  URSA_RETURN_IF_ERROR(CheckTrain(filled.train()));
  URSA_RETURN_IF_ERROR(CheckResources(filled.resources()));
  URSA_RETURN_IF_ERROR(CheckInt("data.batch_size", filled.data().batch_size(), 2, kBatchSizeMax));
  return CheckCheckpoint(filled.checkpoint(), filled.train());
}

absl::Status CheckBatchOnSlots(const v1::ExperimentSpec& filled) {
  const int32_t batch_size = filled.data().batch_size();
  const int32_t slots = filled.resources().slots_per_trial();
  const int32_t min_slots = filled.resources().min_slots_per_trial();
  const FieldPath path = "data.batch_size";
  const std::string value = absl::StrCat(batch_size);
  if (batch_size % slots != 0) {
    return BadValue(path, value, absl::StrCat("a multiple of resources.slots_per_trial, which is ", slots));
  }
  if (batch_size % min_slots != 0) {
    return BadValue(path, value, absl::StrCat("a multiple of resources.min_slots_per_trial, which is ", min_slots));
  }
  // The head's batch norm has no variance to learn from a single image.
  if (batch_size / slots < 2) {
    return BadValue(path, value, absl::StrCat("at least 2 images a rank, ", 2 * slots, " for ", slots, " slots"));
  }
  return absl::OkStatus();
}

}  // namespace ursa
