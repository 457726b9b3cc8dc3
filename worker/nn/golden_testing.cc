#include "worker/nn/golden_testing.h"

#include <ATen/ops/empty.h>

#include <cmath>
#include <cstdlib>
#include <utility>

#include "base/log.h"
#include "worker/nn/layers.h"

namespace ursa {
namespace {

void AppendNested(const Json& json, size_t depth, std::vector<int64_t>* shape, std::vector<double>* values) {
  if (!json.is_array()) {
    URSA_CHECK(depth == shape->size()) << "ragged golden array";
    values->push_back(GoldenNumber(json));
    return;
  }
  const auto extent = static_cast<int64_t>(json.size());
  if (depth == shape->size()) {
    URSA_CHECK(values->empty()) << "ragged golden array";
    shape->push_back(extent);
  }
  URSA_CHECK((*shape)[depth] == extent) << "ragged golden array";
  for (const Json& item : json.array()) AppendNested(item, depth + 1, shape, values);
}

}  // namespace

double GoldenNumber(const Json& json) {
  if (json.is_string()) return std::strtod(json.string().c_str(), nullptr);
  return json.number();
}

at::Tensor GoldenTensor(const Json& json) {
  std::vector<int64_t> shape;
  std::vector<double> values;
  AppendNested(json, 0, &shape, &values);
  at::Tensor tensor = at::empty(shape, at::kDouble);
  std::copy(values.begin(), values.end(), tensor.mutable_data_ptr<double>());
  return tensor;
}

std::vector<int64_t> QmodIntegers(uint64_t a, uint64_t b, uint64_t c, int64_t count) {
  std::vector<int64_t> values;
  for (uint64_t i = 0; i < static_cast<uint64_t>(count); ++i) {
    values.push_back(static_cast<int64_t>((a * i * i + b * i + c) % 65521));
  }
  return values;
}

at::Tensor Qmod(uint64_t a, uint64_t b, uint64_t c, double scale, double offset, const std::vector<int64_t>& shape) {
  at::Tensor tensor = at::empty(shape, at::kDouble);
  auto* out = tensor.mutable_data_ptr<double>();
  for (const int64_t q : QmodIntegers(a, b, c, tensor.numel())) {
    *out++ = offset + scale * (2 * (static_cast<double>(q) / 65521) - 1);
  }
  return tensor;
}

at::Tensor Qmod(const Json& json) {
  const auto integer = [&](const char* name) { return static_cast<uint64_t>(json[name].number()); };
  return Qmod(integer("a"), integer("b"), integer("c"), json["scale"].number(), json["offset"].number(),
              GoldenIntegers(json["shape"]));
}

std::vector<int64_t> GoldenIntegers(const Json& json) {
  std::vector<int64_t> values;
  for (const Json& item : json.array()) values.push_back(static_cast<int64_t>(item.number()));
  return values;
}

std::unique_ptr<Model> ClassifierModel(BodyInfo body) {
  Model::Parts parts;
  parts.body = std::move(body.layer);
  auto head = std::make_unique<Sequential>();
  head->Emplace<GlobalPool>(false);
  head->Emplace<Flatten>();
  head->Emplace<Linear>(body.num_features, 1000, true);
  parts.head = std::move(head);
  return std::make_unique<Model>(std::move(parts));
}

}  // namespace ursa
