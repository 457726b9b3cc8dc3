#include "experiments/spec_defaults.h"

#include <algorithm>
#include <string>

#include "experiments/labels.h"
#include "experiments/spec.h"

namespace ursa {
namespace {

void FillResize(v1::Resize* resize) {
  if (!resize->has_method()) resize->set_method("crop");
  if (!resize->has_pad_mode()) resize->set_pad_mode("reflection");
}

void FillRandomResizedCrop(v1::RandomResizedCrop* crop) {
  if (!crop->has_min_scale()) crop->set_min_scale(0.08);
  if (!crop->has_max_scale()) crop->set_max_scale(1);
  if (!crop->has_min_ratio()) crop->set_min_ratio(3.0 / 4);
  if (!crop->has_max_ratio()) crop->set_max_ratio(4.0 / 3);
  if (!crop->has_val_xtra()) crop->set_val_xtra(0.14);
}

void FillAugTransforms(v1::AugTransforms* aug) {
  if (!aug->has_mult()) aug->set_mult(1);
  if (!aug->has_do_flip()) aug->set_do_flip(true);
  if (!aug->has_flip_vert()) aug->set_flip_vert(false);
  if (!aug->has_max_rotate()) aug->set_max_rotate(10);
  if (!aug->has_min_zoom()) aug->set_min_zoom(1);
  if (!aug->has_max_zoom()) aug->set_max_zoom(1.1);
  if (!aug->has_max_lighting()) aug->set_max_lighting(0.2);
  if (!aug->has_max_warp()) aug->set_max_warp(0.2);
  if (!aug->has_p_affine()) aug->set_p_affine(0.75);
  if (!aug->has_p_lighting()) aug->set_p_lighting(0.75);
}

// What the weights were trained with: EfficientNet-Lite0's come from TensorFlow, which maps pixels to -1..1.
void FillNormalize(const v1::ModelSpec& model, v1::Normalize* normalize) {
  if (normalize->mean_size() != 0 || normalize->std_size() != 0) return;
  const bool tensorflow = model.architecture() == "efficientnet_lite0" && model.pretrained() == "imagenet";
  const double mean[] = {0.485, 0.456, 0.406};
  const double std[] = {0.229, 0.224, 0.225};
  for (int channel = 0; channel < 3; ++channel) {
    normalize->add_mean(tensorflow ? 0.5 : mean[channel]);
    normalize->add_std(tensorflow ? 0.5 : std[channel]);
  }
}

// Whether trials differ in what normalization follows; then each trial's recipe gets its own.
bool ModelVaries(const v1::ExperimentSpec& spec) {
  return std::any_of(
      spec.hyperparameters().begin(), spec.hyperparameters().end(),
      [](const v1::Hyperparameter& hyperparameter) { return hyperparameter.name().rfind("model.", 0) == 0; });
}

void FillFineTune(v1::FineTune* fine_tune) {
  if (!fine_tune->has_freeze_epochs()) fine_tune->set_freeze_epochs(1);
  if (!fine_tune->has_base_lr()) fine_tune->set_base_lr(2e-3);
  if (!fine_tune->has_lr_mult()) fine_tune->set_lr_mult(100);
  if (!fine_tune->has_pct_start()) fine_tune->set_pct_start(0.3);
  if (!fine_tune->has_div()) fine_tune->set_div(5);
}

void FillTrain(v1::TrainSpec* train) {
  if (train->has_fine_tune()) FillFineTune(train->mutable_fine_tune());
  if (train->metrics_size() == 0) train->add_metrics("error_rate");
  if (train->has_callbacks() && train->callbacks().has_early_stopping()) {
    v1::EarlyStopping* early_stopping = train->mutable_callbacks()->mutable_early_stopping();
    if (!early_stopping->has_monitor()) early_stopping->set_monitor("valid_loss");
    if (!early_stopping->has_min_delta()) early_stopping->set_min_delta(0);
    if (!early_stopping->has_patience()) early_stopping->set_patience(1);
  }
  if (!train->has_weight_decay()) train->set_weight_decay(0.01);
  if (!train->has_label_smoothing()) train->set_label_smoothing(0);
  if (!train->has_train_bn()) train->set_train_bn(true);
}

// The settings that all methods share.
template <typename Method>
void FillMethod(const std::string& metric, Method* method) {
  if (!method->has_metric()) method->set_metric(metric);
  if (!method->has_smaller_is_better()) method->set_smaller_is_better(LowerIsBetter(method->metric()));
}

template <typename Method>
void FillMedianStopping(Method* method) {
  if (!method->has_median_stopping()) return;
  v1::MedianStopping* rule = method->mutable_median_stopping();
  if (!rule->has_min_epochs()) rule->set_min_epochs(1);
  if (!rule->has_min_trials()) rule->set_min_trials(3);
}

void FillAdaptiveAsha(v1::FineTune* fine_tune, v1::AdaptiveAshaSearch* asha) {
  if (!asha->has_max_epochs()) asha->set_max_epochs(fine_tune->freeze_epochs() + fine_tune->epochs());
  if (!asha->has_divisor()) asha->set_divisor(4);
  if (!asha->has_max_rungs()) asha->set_max_rungs(5);
  if (!asha->has_mode()) asha->set_mode("standard");
  if (asha->max_epochs() > fine_tune->freeze_epochs()) {
    fine_tune->set_epochs(asha->max_epochs() - fine_tune->freeze_epochs());
  }
}

void FillSearcher(v1::ExperimentSpec* spec) {
  v1::SearcherSpec* searcher = spec->mutable_searcher();
  const std::string& metric = spec->checkpoint().best_metric();
  if (searcher->has_grid()) {
    FillMethod(metric, searcher->mutable_grid());
    FillMedianStopping(searcher->mutable_grid());
  }
  if (searcher->has_random()) {
    FillMethod(metric, searcher->mutable_random());
    FillMedianStopping(searcher->mutable_random());
  }
  if (searcher->has_adaptive_asha()) {
    FillMethod(metric, searcher->mutable_adaptive_asha());
    // Without a schedule there is nothing to lay out; the checks say that it is missing.
    if (spec->train().has_fine_tune()) {
      FillAdaptiveAsha(spec->mutable_train()->mutable_fine_tune(), searcher->mutable_adaptive_asha());
    }
  }
  if (searcher->has_warm_start() && !searcher->warm_start().has_num_trials()) {
    searcher->mutable_warm_start()->set_num_trials(1);
  }
}

}  // namespace

void FillDefaults(v1::ExperimentSpec* spec) {
  if (!spec->has_seed()) spec->set_seed(42);
  if (!spec->has_max_restarts()) spec->set_max_restarts(5);

  v1::ModelSpec* model = spec->mutable_model();
  if (!model->has_pretrained()) model->set_pretrained("none");

  v1::DataSpec* data = spec->mutable_data();
  v1::ItemTransforms* item = data->mutable_item_transforms();
  if (item->has_resize()) FillResize(item->mutable_resize());
  if (item->has_random_resized_crop()) FillRandomResizedCrop(item->mutable_random_resized_crop());
  v1::BatchTransforms* batch = data->mutable_batch_transforms();
  if (batch->has_aug_transforms()) FillAugTransforms(batch->mutable_aug_transforms());
  if (!ModelVaries(*spec)) FillNormalize(*model, batch->mutable_normalize());
  if (!data->has_batch_size()) data->set_batch_size(64);

  FillTrain(spec->mutable_train());

  v1::ResourcesSpec* resources = spec->mutable_resources();
  if (!resources->has_slots_per_trial()) resources->set_slots_per_trial(1);
  if (!resources->has_priority()) resources->set_priority(50);
  if (!resources->has_pool()) resources->set_pool("default");
  SortLabels(resources->mutable_labels());
  if (!resources->has_min_slots_per_trial()) resources->set_min_slots_per_trial(resources->slots_per_trial());

  v1::CheckpointSpec* checkpoint = spec->mutable_checkpoint();
  if (!checkpoint->has_keep_best()) checkpoint->set_keep_best(1);
  if (!checkpoint->has_keep_latest()) checkpoint->set_keep_latest(1);
  if (!checkpoint->has_best_metric()) checkpoint->set_best_metric("valid_loss");

  if (spec->has_searcher()) FillSearcher(spec);
}

}  // namespace ursa
