// Layers of the models: small, explicit, in the names and order of torchvision, timm and fastai.
#ifndef URSA_WORKER_NN_LAYERS_H_
#define URSA_WORKER_NN_LAYERS_H_

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ursa {

// One tensor of a layer as a visitor sees it.
struct LayerTensor {
  std::string name;    // full, dots between levels
  at::Tensor* tensor;  // in the layer
  bool is_parameter;   // else a buffer
  bool is_norm;
};

// A node of a model's tree. Children and tensors are visited in order of addition. Not thread-safe.
class Layer {
 public:
  virtual ~Layer() = default;
  Layer() = default;
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  virtual at::Tensor Forward(const at::Tensor& input) = 0;

  // Calls `visit` for every tensor of this layer and those below: this layer's own first, then its children's.
  void Visit(const std::string& prefix, const std::function<void(const LayerTensor&)>& visit);
  // Calls `visit` for this layer and those below, parents first, with their full names.
  void VisitLayers(const std::string& prefix, const std::function<void(const std::string&, Layer*)>& visit);

  // Of this layer and those below.
  void SetTraining(bool training);
  bool training() const { return training_; }
  // Evaluation-mode behaviour even while training; of this layer alone.
  void set_held(bool held) { held_ = held; }
  // Off: torch's own operators everywhere in this layer, for comparison.
  void set_fused(bool fused) { fused_ = fused; }
  virtual bool is_norm() const { return false; }

 protected:
  void AddTensor(std::string name, at::Tensor* tensor, bool is_parameter);
  // Takes ownership; returns the child.
  template <typename T>
  T* AddChild(std::string name, std::unique_ptr<T> child) {
    T* raw = child.get();
    children_.emplace_back(std::move(name), std::move(child));
    return raw;
  }
  const std::vector<std::pair<std::string, std::unique_ptr<Layer>>>& children() const { return children_; }
  bool uses_batch() const { return training_ && !held_; }
  bool is_fused() const { return fused_; }

 private:
  struct Own {
    std::string name;
    at::Tensor* tensor;
    bool is_parameter;
  };
  std::vector<Own> own_;
  std::vector<std::pair<std::string, std::unique_ptr<Layer>>> children_;
  bool training_ = false;
  bool held_ = false;
  bool fused_ = true;
};

enum class Activation { kNone, kRelu, kRelu6 };

struct Conv2dOptions {
  int in = 0, out = 0, kernel = 1, stride = 1;
  int groups = 1;
  int padding = 0;  // on each side
  bool same_padding =
      false;  // TensorFlow's SAME instead of `padding`: output = ceil(input / stride), the odd pixel last
};

// Convolution without bias. Weight [out, in / groups, kernel, kernel], channels_last; zero until initialised.
class Conv2d : public Layer {
 public:
  explicit Conv2d(const Conv2dOptions& options);
  at::Tensor Forward(const at::Tensor& input) override;
  const Conv2dOptions& options() const { return options_; }
  at::Tensor weight;

 private:
  Conv2dOptions options_;
};

struct BatchNormOptions {
  int channels = 0;
  double epsilon = 1e-5;
  double momentum = 0.1;
  Activation activation = Activation::kNone;  // applied to the output, in the same pass over memory
};

// Batch normalisation over [N, C] or [N, C, H, W]. Weight 1, bias 0, running mean 0, variance 1.
class BatchNorm : public Layer {
 public:
  explicit BatchNorm(const BatchNormOptions& options);
  at::Tensor Forward(const at::Tensor& input) override;
  bool is_norm() const override { return true; }
  at::Tensor weight, bias, running_mean, running_var, num_batches_tracked;

 private:
  BatchNormOptions options_;
};

// Weight [out, in], bias [out] if any; zero until initialised.
class Linear : public Layer {
 public:
  Linear(int in, int out, bool has_bias);
  at::Tensor Forward(const at::Tensor& input) override;
  at::Tensor weight, bias;
};

class Relu : public Layer {
 public:
  at::Tensor Forward(const at::Tensor& input) override;
};

class Dropout : public Layer {
 public:
  explicit Dropout(double probability) : probability_(probability) {}
  at::Tensor Forward(const at::Tensor& input) override;
  double probability() const { return probability_; }
  void set_probability(double probability) { probability_ = probability; }

 private:
  double probability_;
};

class MaxPool2d : public Layer {
 public:
  MaxPool2d(int kernel, int stride, int padding) : kernel_(kernel), stride_(stride), padding_(padding) {}
  at::Tensor Forward(const at::Tensor& input) override;

 private:
  int kernel_, stride_, padding_;
};

// [N, C, H, W] -> [N, C, 1, 1], or with `concat` [N, 2C, 1, 1]: maximum first, then average.
class GlobalPool : public Layer {
 public:
  explicit GlobalPool(bool concat) : concat_(concat) {}
  at::Tensor Forward(const at::Tensor& input) override;

 private:
  bool concat_;
};

class Flatten : public Layer {
 public:
  at::Tensor Forward(const at::Tensor& input) override;
};

// Children in order, each applied to the last one's output.
class Sequential : public Layer {
 public:
  // Named by position: "0", "1", ...
  template <typename T>
  T* Add(std::unique_ptr<T> layer) {
    return AddChild(std::to_string(children().size()), std::move(layer));
  }
  template <typename T, typename... Args>
  T* Emplace(Args&&... args) {
    return Add(std::make_unique<T>(std::forward<Args>(args)...));
  }
  template <typename T>
  T* AddNamed(std::string name, std::unique_ptr<T> layer) {
    return AddChild(std::move(name), std::move(layer));
  }
  at::Tensor Forward(const at::Tensor& input) override;
};

}  // namespace ursa

#endif  // URSA_WORKER_NN_LAYERS_H_
