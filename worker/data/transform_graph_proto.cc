#include "worker/data/transform_graph_proto.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

// A choice by name; `Enum`'s values are 0, 1, ... in the order of `names`.
template <typename Enum, size_t kSize>
absl::Status ParseChoice(const char* field, const std::string& text, const char* const (&names)[kSize], Enum* value) {
  std::string allowed;
  for (size_t i = 0; i < kSize; ++i) {
    if (text == names[i]) {
      *value = static_cast<Enum>(i);
      return absl::OkStatus();
    }
    absl::StrAppend(&allowed, i == 0 ? "" : ", ", names[i]);
  }
  return absl::InvalidArgumentError(absl::StrCat("recipe: ", field, " is '", text, "', must be one of: ", allowed));
}

absl::StatusOr<ItemTransform> ItemFromProto(const v1::Resize& proto) {
  ResizeOptions options;
  options.height = options.width = proto.size();
  if (proto.has_method()) {
    URSA_RETURN_IF_ERROR(
        ParseChoice("data.item_transforms.resize.method", proto.method(), {"crop", "squish", "pad"}, &options.method));
  }
  if (proto.has_pad_mode()) {
    URSA_RETURN_IF_ERROR(ParseChoice("data.item_transforms.resize.pad_mode", proto.pad_mode(),
                                     {"zeros", "border", "reflection"}, &options.pad_mode));
  }
  return options;
}

ItemTransform ItemFromProto(const v1::RandomResizedCrop& proto) {
  RandomResizedCropOptions options;
  options.height = options.width = proto.size();
  if (proto.has_min_scale()) options.min_scale = proto.min_scale();
  if (proto.has_max_scale()) options.max_scale = proto.max_scale();
  if (proto.has_min_ratio()) options.min_ratio = proto.min_ratio();
  if (proto.has_max_ratio()) options.max_ratio = proto.max_ratio();
  if (proto.has_val_xtra()) options.val_xtra = proto.val_xtra();
  return options;
}

AugTransformsOptions AugFromProto(const v1::AugTransforms& proto) {
  AugTransformsOptions options;
  if (proto.has_mult()) options.mult = proto.mult();
  if (proto.has_do_flip()) options.do_flip = proto.do_flip();
  if (proto.has_flip_vert()) options.flip_vert = proto.flip_vert();
  if (proto.has_max_rotate()) options.max_rotate = proto.max_rotate();
  if (proto.has_min_zoom()) options.min_zoom = proto.min_zoom();
  if (proto.has_max_zoom()) options.max_zoom = proto.max_zoom();
  if (proto.has_max_lighting()) options.max_lighting = proto.max_lighting();
  if (proto.has_max_warp()) options.max_warp = proto.max_warp();
  if (proto.has_p_affine()) options.p_affine = proto.p_affine();
  if (proto.has_p_lighting()) options.p_lighting = proto.p_lighting();
  return options;
}

absl::StatusOr<NormalizeOptions> NormalizeFromProto(const v1::Normalize& proto) {
  NormalizeOptions options;
  if (proto.mean_size() != 3 || proto.std_size() != 3) {
    return absl::InvalidArgumentError(absl::StrCat("recipe: data.batch_transforms.normalize has ", proto.mean_size(),
                                                   " means and ", proto.std_size(), " deviations, must be 3 each"));
  }
  for (int c = 0; c < 3; ++c) {
    options.mean[c] = proto.mean(c);
    options.std[c] = proto.std(c);
  }
  return options;
}

}  // namespace

absl::StatusOr<TransformGraph> TransformGraphFromProto(const v1::DataSpec& data) {
  TransformGraph graph;
  const v1::ItemTransforms& item = data.item_transforms();
  switch (item.transform_case()) {
    case v1::ItemTransforms::kResize: {
      URSA_ASSIGN_OR_RETURN(graph.item, ItemFromProto(item.resize()));
      break;
    }
    case v1::ItemTransforms::kRandomResizedCrop:
      graph.item = ItemFromProto(item.random_resized_crop());
      break;
    case v1::ItemTransforms::TRANSFORM_NOT_SET:
      return absl::InvalidArgumentError("recipe: data.item_transforms is not set, give resize or random_resized_crop");
  }
  const v1::BatchTransforms& batch = data.batch_transforms();
  if (batch.has_aug_transforms()) graph.augment = AugFromProto(batch.aug_transforms());
  if (batch.has_normalize()) {
    URSA_ASSIGN_OR_RETURN(graph.normalize, NormalizeFromProto(batch.normalize()));
  }
  URSA_RETURN_IF_ERROR(graph.Validate());
  return graph;
}

}  // namespace ursa
