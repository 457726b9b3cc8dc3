#include "worker/train/phase.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace ursa {
namespace {

// fastai's fine_tune starts its frozen phase so.
constexpr double kFrozenPctStart = 0.99;
constexpr int kEpochsMax = 1'000'000;

}  // namespace

absl::Status FineTuneOptions::Validate() const {
  if (epochs < 0 || freeze_epochs < 0 || epochs + freeze_epochs < 1 || epochs > kEpochsMax ||
      freeze_epochs > kEpochsMax) {
    return absl::InvalidArgumentError(absl::StrCat("fine_tune: epochs and freeze_epochs must be in 0..", kEpochsMax,
                                                   " and not both 0, they are ", epochs, " and ", freeze_epochs));
  }
  for (const auto& [name, value] :
       {std::pair("base_lr", base_lr), std::pair("lr_mult", lr_mult), std::pair("div", div)}) {
    if (!(value > 0 && std::isfinite(value))) {
      return absl::InvalidArgumentError(absl::StrCat("fine_tune: ", name, " must be > 0 and finite, it is ", value));
    }
  }
  if (!(pct_start > 0 && pct_start < 1)) {
    return absl::InvalidArgumentError(absl::StrCat("fine_tune: pct_start must be in (0, 1), it is ", pct_start));
  }
  if (bn_freeze && train_bn) {
    return absl::InvalidArgumentError("fine_tune: bn_freeze and train_bn exclude each other");
  }
  return absl::OkStatus();
}

std::vector<Phase> FineTunePhases(const FineTuneOptions& options) {
  std::vector<Phase> phases;
  if (options.freeze_epochs > 0) {
    Phase frozen;
    frozen.epochs = options.freeze_epochs;
    frozen.freeze_to = -1;
    frozen.train_norms = options.train_bn;
    frozen.hold_norm_statistics = options.bn_freeze;
    frozen.learning_rate = {options.base_lr, std::nullopt, /*tenth_for_others=*/true};
    frozen.schedule.pct_start = kFrozenPctStart;
    phases.push_back(frozen);
  }
  if (options.epochs > 0) {
    Phase all;
    all.epochs = options.epochs;
    const double maximum = options.base_lr / 2;
    all.learning_rate = {maximum, maximum / options.lr_mult};
    all.schedule.pct_start = options.pct_start;
    all.schedule.div = options.div;
    phases.push_back(all);
  }
  return phases;
}

}  // namespace ursa
