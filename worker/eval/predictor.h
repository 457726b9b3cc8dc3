// A model version ready to classify: architecture, weights, and the very transforms that it was trained with.
#ifndef URSA_WORKER_EVAL_PREDICTOR_H_
#define URSA_WORKER_EVAL_PREDICTOR_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ursa/worker/v1/task.pb.h"
#include "worker/data/header_gate.h"
#include "worker/data/transform_graph.h"
#include "worker/nn/model.h"

namespace ursa {

// A tensor [size, 3, height, width] in channels_last order over memory [size, height, width, 3]; keeps it alive.
at::Tensor ImagesTensor(std::shared_ptr<float> pixels, int64_t size, int64_t height, int64_t width);

// Owns its model. One thread at a time.
class Predictor {
 public:
  // `weights` are the bytes of the version's safetensors file. Errors: INVALID_ARGUMENT (unknown architecture,
  // transforms out of range, weights that do not fit), DATA_LOSS (damaged weights).
  static absl::StatusOr<std::unique_ptr<Predictor>> Create(const worker::v1::ModelRef& model, std::string_view weights,
                                                           at::Device device = at::Device(at::kCPU));

  // What one picture gave: logits [num_classes], or why there are none.
  struct Output {
    absl::Status status;
    std::vector<float> logits;
  };

  // Classifies encoded pictures, in order; one that cannot be read gets a status of its own and does not disturb
  // others. The logits of a picture depend on the picture alone as far as the arithmetic of a batch allows (about
  // 1e-6). Errors: INTERNAL (torch).
  absl::StatusOr<std::vector<Output>> Predict(const std::vector<std::string_view>& pictures);

  int num_classes() const { return model_->num_classes(); }

 private:
  Predictor(std::unique_ptr<Model> model, TransformGraph graph, at::Device device);

  std::unique_ptr<Model> model_;
  at::Device device_;
  TransformGraph graph_;
  ImageLimits limits_;
  TransformScratch scratch_;
};

// softmax(logits) in float64: [num_classes], sums to 1 within rounding.
std::vector<double> Softmax(const std::vector<float>& logits);

}  // namespace ursa

#endif  // URSA_WORKER_EVAL_PREDICTOR_H_
