#include "worker/data/transform_graph.h"

#include <string>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "worker/data/transform_graph_proto.h"

namespace ursa {
namespace {

TransformGraph BookRecipe() {
  TransformGraph graph;
  RandomResizedCropOptions crop;
  crop.min_scale = 0.5;
  graph.item = crop;
  graph.augment.emplace();
  return graph;
}

// The form is on disk and its hash is part of every model version: this text never changes.
TEST(TransformGraphTest, CanonicalFormIsPinned) {
  EXPECT_EQ(SerializeTransformGraph(BookRecipe()),
            "ursa.transforms=1\n"
            "item=random_resized_crop\n"
            "item.height=224\n"
            "item.width=224\n"
            "item.min_scale=0.5\n"
            "item.max_scale=1\n"
            "item.min_ratio=0.75\n"
            "item.max_ratio=1.3333333333333333\n"
            "item.val_xtra=0.14\n"
            "augment=aug_transforms\n"
            "augment.mult=1\n"
            "augment.do_flip=true\n"
            "augment.flip_vert=false\n"
            "augment.max_rotate=10\n"
            "augment.min_zoom=1\n"
            "augment.max_zoom=1.1\n"
            "augment.max_lighting=0.2\n"
            "augment.max_warp=0.2\n"
            "augment.p_affine=0.75\n"
            "augment.p_lighting=0.75\n"
            "augment.pad_mode=reflection\n"
            "normalize.mean.red=0.485\n"
            "normalize.mean.green=0.456\n"
            "normalize.mean.blue=0.406\n"
            "normalize.std.red=0.229\n"
            "normalize.std.green=0.224\n"
            "normalize.std.blue=0.225\n");
  EXPECT_EQ(TransformHash(BookRecipe()).size(), 64u);
}

TEST(TransformGraphTest, ReadsBackWhatItWrites) {
  TransformGraph resize;
  ResizeOptions options;
  options.height = 96;
  options.method = ResizeMethod::kPad;
  options.pad_mode = PadMode::kBorder;
  resize.item = options;
  resize.normalize.mean = {0.1, 1.0 / 3, 0.5};
  for (const TransformGraph& graph : {BookRecipe(), resize}) {
    const std::string text = SerializeTransformGraph(graph);
    const auto parsed = ParseTransformGraph(text);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(SerializeTransformGraph(*parsed), text);
  }
  EXPECT_NE(TransformHash(BookRecipe()), TransformHash(resize));
}

TEST(TransformGraphTest, RefusesWhatIsNotTheCanonicalForm) {
  const std::string text = SerializeTransformGraph(BookRecipe());
  const auto replaced = [&text](const std::string& from, const std::string& to) {
    std::string changed = text;
    changed.replace(changed.find(from), from.size(), to);
    return ParseTransformGraph(changed).status().code();
  };
  const auto invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(ParseTransformGraph("").status().code(), invalid);
  EXPECT_EQ(replaced("transforms=1", "transforms=2"), invalid);
  EXPECT_EQ(replaced("item.height=224", "item.height=0224"), invalid);
  EXPECT_EQ(replaced("item.height=224\n", ""), invalid);
  EXPECT_EQ(replaced("item.height=224", "item.height=999999"), invalid);
  EXPECT_EQ(replaced("reflection", "sideways"), invalid);
  EXPECT_EQ(replaced("item.min_scale=0.5", "item.min_scale=nan"), invalid);
  EXPECT_EQ(ParseTransformGraph(text + "extra=1\n").status().code(), invalid);
}

TEST(TransformGraphTest, TrainingFollowsItsDrawsAndEvaluationHasNone) {
  const TransformGraph graph = BookRecipe();
  RgbImage image(300, 200);
  for (size_t i = 0; i < image.NumBytes(); ++i) image.pixels[i] = static_cast<uint8_t>(i * i >> 5);
  TransformScratch scratch;
  const auto apply = [&](TransformMode mode, uint64_t stream) {
    std::vector<float> output(NumOutputValues(graph));
    CounterRng rng(42, stream, 0);
    RngDraws draws(&rng);
    EXPECT_TRUE(ApplyTransforms(graph, image, mode, &draws, &scratch, output.data()).ok());
    return output;
  };
  EXPECT_EQ(apply(TransformMode::kTraining, 1), apply(TransformMode::kTraining, 1));
  EXPECT_NE(apply(TransformMode::kTraining, 1), apply(TransformMode::kTraining, 2));
  EXPECT_EQ(apply(TransformMode::kEvaluation, 1), apply(TransformMode::kEvaluation, 2));
}

TEST(TransformGraphProtoTest, TakesDefaultsAndNamesMistakes) {
  v1::DataSpec data;
  EXPECT_EQ(TransformGraphFromProto(data).status().code(), absl::StatusCode::kInvalidArgument);
  auto* crop = data.mutable_item_transforms()->mutable_random_resized_crop();
  crop->set_size(224);
  crop->set_min_scale(0.5);
  data.mutable_batch_transforms()->mutable_aug_transforms();
  const auto graph = TransformGraphFromProto(data);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(TransformHash(*graph), TransformHash(BookRecipe()));

  data.mutable_batch_transforms()->mutable_aug_transforms()->set_max_rotate(5);
  EXPECT_NE(TransformHash(*TransformGraphFromProto(data)), TransformHash(BookRecipe()));

  data.mutable_batch_transforms()->mutable_normalize()->add_mean(0.5);
  EXPECT_EQ(TransformGraphFromProto(data).status().code(), absl::StatusCode::kInvalidArgument);
  data.mutable_batch_transforms()->clear_normalize();

  auto* resize = data.mutable_item_transforms()->mutable_resize();
  resize->set_size(64);
  resize->set_method("stretch");
  const absl::Status status = TransformGraphFromProto(data).status();
  EXPECT_NE(status.message().find("crop, squish, pad"), std::string::npos) << status;
  resize->set_method("pad");
  resize->set_pad_mode("zeros");
  const auto padded = TransformGraphFromProto(data);
  ASSERT_TRUE(padded.ok()) << padded.status();
  EXPECT_EQ(std::get<ResizeOptions>(padded->item).method, ResizeMethod::kPad);
  EXPECT_EQ(std::get<ResizeOptions>(padded->item).pad_mode, PadMode::kZeros);
}

}  // namespace
}  // namespace ursa
