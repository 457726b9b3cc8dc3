#include "worker/eval/predictor.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/data/image_decoder.h"
#include "worker/data/transform_graph_proto.h"
#include "worker/nn/safetensors.h"

namespace ursa {

at::Tensor ImagesTensor(std::shared_ptr<float> pixels, int64_t size, int64_t height, int64_t width) {
  float* const data = pixels.get();
  return at::from_blob(
             data, {size, height, width, 3}, [keep = std::move(pixels)](void*) {}, at::TensorOptions(at::kFloat))
      .permute({0, 3, 1, 2});
}

Predictor::Predictor(std::unique_ptr<Model> model, TransformGraph graph, at::Device device)
    : model_(std::move(model)), device_(device), graph_(std::move(graph)) {}

absl::StatusOr<std::unique_ptr<Predictor>> Predictor::Create(const worker::v1::ModelRef& ref, std::string_view weights,
                                                             at::Device device) {
  URSA_ASSIGN_OR_RETURN(TransformGraph graph, TransformGraphFromProto(ref.data()));
  ModelConfig config;
  config.architecture = ref.architecture();
  config.num_classes = ref.classes_size();
  URSA_ASSIGN_OR_RETURN(std::unique_ptr<Model> model, BuildModel(config));
  URSA_ASSIGN_OR_RETURN(SafetensorsContents contents, ParseSafetensors(weights));
  URSA_RETURN_IF_ERROR(model->LoadState(contents.tensors));
  model->SetTraining(false);
  model->To(device);
  return std::unique_ptr<Predictor>(new Predictor(std::move(model), std::move(graph), device));
}

absl::StatusOr<std::vector<Predictor::Output>> Predictor::Predict(const std::vector<std::string_view>& pictures) {
  std::vector<Output> outputs(pictures.size());
  const int64_t num_values = NumOutputValues(graph_);
  std::shared_ptr<float> pixels(new float[num_values * pictures.size()], std::default_delete<float[]>());
  std::vector<size_t> readable;
  RgbImage image;
  for (size_t i = 0; i < pictures.size(); ++i) {
    outputs[i].status = DecodeImage(pictures[i], limits_, &image);
    if (!outputs[i].status.ok()) continue;
    outputs[i].status = ApplyTransforms(graph_, image, TransformMode::kEvaluation, nullptr, &scratch_,
                                        pixels.get() + num_values * readable.size());
    if (outputs[i].status.ok()) readable.push_back(i);
  }
  if (readable.empty()) return outputs;
  try {
    at::NoGradGuard no_grad;
    const PixelBox size = OutputSize(graph_.item);
    const at::Tensor images = ImagesTensor(pixels, static_cast<int64_t>(readable.size()), size.height, size.width);
    const at::Tensor logits = model_->Forward(images.to(device_)).cpu().contiguous();
    const float* row = logits.data_ptr<float>();
    for (size_t i : readable) {
      outputs[i].logits.assign(row, row + num_classes());
      row += num_classes();
    }
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("prediction: ", error.what()));
  }
  return outputs;
}

std::vector<double> Softmax(const std::vector<float>& logits) {
  const float top = *std::max_element(logits.begin(), logits.end());
  std::vector<double> probabilities;
  double sum = 0;
  for (const float logit : logits) {
    probabilities.push_back(std::exp(static_cast<double>(logit) - top));
    sum += probabilities.back();
  }
  for (double& p : probabilities) p /= sum;
  return probabilities;
}

}  // namespace ursa
