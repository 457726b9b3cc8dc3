// Batches of network input from image files: reads, decodes, transforms, on threads, ahead of the caller.
#ifndef URSA_WORKER_DATA_LOADER_H_
#define URSA_WORKER_DATA_LOADER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/data/example_source.h"
#include "worker/data/header_gate.h"
#include "worker/data/transform_graph.h"

namespace ursa {

struct LoaderOptions {
  // Training: shuffled, random transforms, the last incomplete batch dropped. Evaluation: in order, every example once,
  // no random transforms.
  TransformMode mode = TransformMode::kTraining;
  uint64_t seed = 42;        // of order and draws
  int64_t batch_size = 64;   // images a step over all ranks, > 0; in training a multiple of world_size
  int rank = 0;              // 0..world_size-1
  int world_size = 1;        // > 0
  int num_threads = 1;       // beside the caller, who helps while it waits; 0..256. With 0 nothing is made ahead
  int prefetch_batches = 2;  // batches ready or in work beside the one handed out, 1..64
  int64_t cache_bytes_max = int64_t{512} << 20;  // of decoded pixels kept in memory; 0 keeps none
  ImageLimits image_limits;

  absl::Status Validate() const;
};

// This rank's part of a batch, in host memory (worker/train has a `Batch` of tensors). Copies share the pixels; their
// memory goes back to the loader's pool with the last copy, also after the loader has gone.
struct HostBatch {
  std::shared_ptr<float> images;  // [size, height, width, 3] contiguous = a channels_last tensor [size, 3, H, W]
  std::vector<int64_t> labels;
  std::vector<int64_t> indices;  // into the example source
  int height = 0;
  int width = 0;
  int64_t global_size = 0;  // images of this step over all ranks

  int64_t size() const { return static_cast<int64_t>(indices.size()); }
};

// A pure function of (seed, epoch, step): what Get answers depends neither on calls before it nor on the number of
// threads, and the pixels of an example not on the number of ranks. Order of an epoch: fastai's chain of CPython
// generators, random.seed(seed) before the loader is made. Draws: a counter-based generator keyed by (seed, example
// index, epoch).
// Owns its threads and its cache; the source is shared. Get is for one thread at a time; data_wait may be read by any.
class Loader {
 public:
  // Errors: INVALID_ARGUMENT for options or graph out of range; FAILED_PRECONDITION if training has fewer examples than
  // one batch, or evaluation none.
  static absl::StatusOr<std::unique_ptr<Loader>> Create(std::shared_ptr<const ExampleSource> source,
                                                        const TransformGraph& graph, const LoaderOptions& options);
  // Stops and joins the threads; work in hand is finished, not more.
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // This rank's part of step `step` (0..steps_per_epoch()-1) of `epoch` (>= 0; in evaluation only 0). Asking in
  // sequence is served ahead, over the end of an epoch too (in training); any other step is a seek. A part may be empty
  // in evaluation, when the last batch has fewer examples than there are ranks. Errors: OUT_OF_RANGE for no such step;
  // else that of the first example of the batch that failed, naming source and id. A failed step may be asked again.
  absl::StatusOr<HostBatch> Get(int64_t epoch, int64_t step);

  int64_t steps_per_epoch() const;

  // Time that Get has spent waiting for data, since the start.
  absl::Duration data_wait() const;

  // Decoded pixels now kept, <= cache_bytes_max.
  int64_t cache_bytes() const;

 private:
  class Impl;
  explicit Loader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ursa

#endif  // URSA_WORKER_DATA_LOADER_H_
