#include "worker/train/optimizer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace ursa {
namespace {

constexpr const char* kMoment = "/moment";
constexpr const char* kSquaredMoment = "/squared_moment";
constexpr const char* kSteps = "/steps";

// The fused operator walks memory: gradient and state must lie as the parameter does.
at::Tensor InLayoutOf(const at::Tensor& parameter, const at::Tensor& tensor) {
  bool is_same = true;
  for (int64_t i = 0; i < parameter.dim(); ++i) {
    is_same &= parameter.size(i) == 1 || tensor.stride(i) == parameter.stride(i);
  }
  if (is_same) return tensor;
  at::Tensor copy = at::empty_like(parameter);
  copy.copy_(tensor);
  return copy;
}

}  // namespace

absl::Status AdamOptions::Validate() const {
  if (!(squared_momentum >= 0 && squared_momentum < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("adam: squared_momentum must be in [0, 1), it is ", squared_momentum));
  }
  if (!(epsilon > 0) || !(weight_decay >= 0 && std::isfinite(weight_decay))) {
    return absl::InvalidArgumentError(
        absl::StrCat("adam: epsilon must be > 0 and weight_decay >= 0, they are ", epsilon, " and ", weight_decay));
  }
  return absl::OkStatus();
}

Adam::Adam(const std::vector<Parameter>& parameters, const AdamOptions& options) : options_(options) {
  for (const Parameter& parameter : parameters) {
    slots_.push_back({&parameter, {}, {}, {}});
    num_groups_ = std::max(num_groups_, parameter.group + 1);
  }
}

void Adam::Step(const std::vector<double>& learning_rates, double momentum) {
  URSA_CHECK(learning_rates.size() == static_cast<size_t>(num_groups_)) << learning_rates.size();
  const at::NoGradGuard no_grad;
  // Each learning-rate group is split in a decayed and an undecayed half, as one call knows one decay.
  for (int half = 0; half < 2 * num_groups_; ++half) {
    const int group = half / 2;
    const bool decays = half % 2 == 0;
    std::vector<at::Tensor> parameters, gradients, moments, squared_moments, steps;
    for (Slot& slot : slots_) {
      const Parameter& parameter = *slot.parameter;
      if (parameter.group != group || (parameter.decays || options_.decay_norms_and_biases) != decays) continue;
      const at::Tensor& gradient = parameter.tensor.grad();
      if (!gradient.defined()) continue;
      if (!slot.steps.defined()) {
        slot.moment = at::zeros_like(parameter.tensor);
        slot.squared_moment = at::zeros_like(parameter.tensor);
        slot.steps = at::zeros({}, parameter.tensor.options());
      }
      slot.steps += 1;
      parameters.push_back(parameter.tensor);
      gradients.push_back(InLayoutOf(parameter.tensor, gradient));
      moments.push_back(slot.moment);
      squared_moments.push_back(slot.squared_moment);
      steps.push_back(slot.steps);
    }
    if (parameters.empty()) continue;
    at::_fused_adamw_(parameters, gradients, moments, squared_moments, /*max_exp_avg_sqs=*/{}, steps,
                      learning_rates[static_cast<size_t>(group)], momentum, options_.squared_momentum,
                      decays ? options_.weight_decay : 0.0, options_.epsilon, /*amsgrad=*/false, /*maximize=*/false);
  }
}

void Adam::ZeroGradients() {
  for (const Slot& slot : slots_) {
    at::Tensor gradient = slot.parameter->tensor.grad();
    if (gradient.defined()) gradient.zero_();
  }
}

void Adam::ClearState() {
  for (Slot& slot : slots_) slot = {slot.parameter, {}, {}, {}};
}

NamedTensors Adam::State() const {
  NamedTensors state;
  for (const Slot& slot : slots_) {
    if (!slot.steps.defined()) continue;
    const std::string& name = slot.parameter->name;
    state.push_back({name + kMoment, slot.moment});
    state.push_back({name + kSquaredMoment, slot.squared_moment});
    state.push_back({name + kSteps, slot.steps});
  }
  return state;
}

absl::StatusOr<NamedTensors> Adam::MakeState(const std::vector<std::string>& names, bool has_values) const {
  std::unordered_map<std::string, const Parameter*> parameters;
  for (const Slot& slot : slots_) parameters[slot.parameter->name] = slot.parameter;
  NamedTensors state;
  for (const std::string& name : names) {
    const size_t slash = name.rfind('/');
    const auto found = parameters.find(name.substr(0, slash));
    const std::string suffix = slash == std::string::npos ? "" : name.substr(slash);
    if (found == parameters.end() || (suffix != kMoment && suffix != kSquaredMoment && suffix != kSteps)) {
      return absl::InvalidArgumentError(absl::StrCat("adam: state \"", name, "\" is of no parameter"));
    }
    const at::Tensor& parameter = found->second->tensor;
    const at::TensorOptions options = has_values ? parameter.options() : parameter.options().device(at::kMeta);
    state.push_back({name, suffix == kSteps ? at::empty({}, options) : at::empty_like(parameter, options)});
  }
  return state;
}

absl::Status Adam::LoadState(const NamedTensors& tensors) {
  const at::NoGradGuard no_grad;
  ClearState();
  size_t num_used = 0;
  for (Slot& slot : slots_) {
    const at::Tensor& parameter = slot.parameter->tensor;
    const std::pair<const char*, at::Tensor*> parts[] = {
        {kMoment, &slot.moment}, {kSquaredMoment, &slot.squared_moment}, {kSteps, &slot.steps}};
    for (const auto& [suffix, target] : parts) {
      const std::string name = slot.parameter->name + suffix;
      const auto found = std::find_if(tensors.begin(), tensors.end(),
                                      [&name = name](const NamedTensor& tensor) { return tensor.name == name; });
      if (found == tensors.end()) continue;
      const at::IntArrayRef expected = suffix == kSteps ? at::IntArrayRef() : parameter.sizes();
      if (found->tensor.sizes() != expected || found->tensor.scalar_type() != at::kFloat) {
        return absl::InvalidArgumentError(absl::StrCat("adam: state \"", name, "\" has another shape or type"));
      }
      *target = suffix == kSteps ? at::zeros({}, parameter.options()) : at::zeros_like(parameter);
      target->copy_(found->tensor);
      ++num_used;
    }
    if (slot.moment.defined() != slot.steps.defined() || slot.squared_moment.defined() != slot.steps.defined()) {
      return absl::InvalidArgumentError(absl::StrCat("adam: state of \"", slot.parameter->name, "\" is not complete"));
    }
  }
  if (num_used != tensors.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("adam: ", tensors.size() - num_used, " entries of the state belong to no parameter"));
  }
  return absl::OkStatus();
}

}  // namespace ursa
