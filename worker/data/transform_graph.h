// From a decoded image to network input: item transform, batch transforms, normalisation, as one typed, hashed value.
// Training, evaluation and serving run this code; a model version keeps the graph that it was trained with.
#ifndef URSA_WORKER_DATA_TRANSFORM_GRAPH_H_
#define URSA_WORKER_DATA_TRANSFORM_GRAPH_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/data/batch_transforms.h"
#include "worker/data/draws.h"
#include "worker/data/image.h"
#include "worker/data/item_transforms.h"

namespace ursa {

struct TransformGraph {
  ItemTransform item;
  std::optional<AugTransformsOptions> augment;  // training only
  NormalizeOptions normalize;

  absl::Status Validate() const;
};

// The canonical form: one `key=value` a line in a fixed order, numbers as the shortest decimals that read back exactly,
// the first line "ursa.transforms=1". Every field is written, defaults too. On disk: keys and order never change.
std::string SerializeTransformGraph(const TransformGraph& graph);

// Reads the canonical form, and nothing else. INVALID_ARGUMENT naming the line; the result is validated.
absl::StatusOr<TransformGraph> ParseTransformGraph(std::string_view text);

// SHA-256 of the canonical form, 64 hex digits.
std::string TransformHash(const TransformGraph& graph);

// Memory that is kept between images. One per thread.
struct TransformScratch {
  ResizeScratch resize;
  BatchScratch batch;
  RgbImage item;
};

// Floats that one image takes: 3 * height * width.
int64_t NumOutputValues(const TransformGraph& graph);

// Applies the whole graph to a decoded image and writes float32 [height, width, 3] (one image of a channels_last tensor
// [N, 3, H, W]) to `output`. `draws` are used in training only and may be null in evaluation. Errors: those of
// ApplyCrop.
absl::Status ApplyTransforms(const TransformGraph& graph, const RgbImage& image, TransformMode mode, Draws* draws,
                             TransformScratch* scratch, float* output);

// The item transform alone; `item` gets the graph's output size. Errors: those of ApplyCrop.
absl::Status ApplyItem(const TransformGraph& graph, const RgbImage& image, TransformMode mode, Draws* draws,
                       ResizeScratch* scratch, RgbImage* item);

// The part after the item transform, for callers that keep its output: `item` has the graph's output size. In training
// `draws` must have been used for the item transform before.
void ApplyAfterItem(const TransformGraph& graph, const RgbImage& item, TransformMode mode, Draws* draws,
                    BatchScratch* scratch, float* output);

}  // namespace ursa

#endif  // URSA_WORKER_DATA_TRANSFORM_GRAPH_H_
