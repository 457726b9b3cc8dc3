#include "worker/data/transform_graph.h"

#include <charconv>
#include <cstdint>
#include <map>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/status_macros.h"

namespace ursa {
namespace {

constexpr char kHeader[] = "ursa.transforms";
constexpr char kVersion[] = "1";
constexpr char kResize[] = "resize";
constexpr char kRandomResizedCrop[] = "random_resized_crop";
constexpr char kAugTransforms[] = "aug_transforms";
constexpr char kNone[] = "none";

// On disk, never renumber or rename: the position is the enum's value.
constexpr const char* kMethodNames[] = {"crop", "squish", "pad"};
constexpr const char* kPadModeNames[] = {"zeros", "border", "reflection"};

// The fields of each transform in their order in the canonical form. `Options` is const for writing.
template <typename Options, typename Visit>
std::enable_if_t<std::is_same_v<std::remove_const_t<Options>, ResizeOptions>> VisitFields(Options& o, Visit visit) {
  visit("item.height", o.height);
  visit("item.width", o.width);
  visit("item.method", o.method);
  visit("item.pad_mode", o.pad_mode);
}

template <typename Options, typename Visit>
std::enable_if_t<std::is_same_v<std::remove_const_t<Options>, RandomResizedCropOptions>> VisitFields(Options& o,
                                                                                                     Visit visit) {
  visit("item.height", o.height);
  visit("item.width", o.width);
  visit("item.min_scale", o.min_scale);
  visit("item.max_scale", o.max_scale);
  visit("item.min_ratio", o.min_ratio);
  visit("item.max_ratio", o.max_ratio);
  visit("item.val_xtra", o.val_xtra);
}

template <typename Options, typename Visit>
std::enable_if_t<std::is_same_v<std::remove_const_t<Options>, AugTransformsOptions>> VisitFields(Options& o,
                                                                                                 Visit visit) {
  visit("augment.mult", o.mult);
  visit("augment.do_flip", o.do_flip);
  visit("augment.flip_vert", o.flip_vert);
  visit("augment.max_rotate", o.max_rotate);
  visit("augment.min_zoom", o.min_zoom);
  visit("augment.max_zoom", o.max_zoom);
  visit("augment.max_lighting", o.max_lighting);
  visit("augment.max_warp", o.max_warp);
  visit("augment.p_affine", o.p_affine);
  visit("augment.p_lighting", o.p_lighting);
  visit("augment.pad_mode", o.pad_mode);
}

template <typename Options, typename Visit>
std::enable_if_t<std::is_same_v<std::remove_const_t<Options>, NormalizeOptions>> VisitFields(Options& o, Visit visit) {
  visit("normalize.mean.red", o.mean[0]);
  visit("normalize.mean.green", o.mean[1]);
  visit("normalize.mean.blue", o.mean[2]);
  visit("normalize.std.red", o.std[0]);
  visit("normalize.std.green", o.std[1]);
  visit("normalize.std.blue", o.std[2]);
}

template <typename Number>
std::string NumberText(Number value) {
  char buffer[32];
  const auto result = std::to_chars(buffer, buffer + sizeof(buffer), value);  // shortest that reads back
  return std::string(buffer, result.ptr);
}

std::string Text(int value) { return NumberText(value); }
std::string Text(double value) { return NumberText(value); }
std::string Text(bool value) { return value ? "true" : "false"; }
std::string Text(ResizeMethod value) { return kMethodNames[static_cast<int>(value)]; }
std::string Text(PadMode value) { return kPadModeNames[static_cast<int>(value)]; }

template <typename Number>
bool ParseNumber(const std::string& text, Number* value) {
  const char* const end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, *value);
  return result.ec == std::errc() && result.ptr == end;
}

template <typename Enum, size_t kSize>
bool ParseName(const std::string& text, const char* const (&names)[kSize], Enum* value) {
  for (size_t i = 0; i < kSize; ++i) {
    if (text != names[i]) continue;
    *value = static_cast<Enum>(i);
    return true;
  }
  return false;
}

bool Parse(const std::string& text, int* value) { return ParseNumber(text, value); }
bool Parse(const std::string& text, double* value) { return ParseNumber(text, value); }
bool Parse(const std::string& text, bool* value) {
  *value = text == "true";
  return *value || text == "false";
}
bool Parse(const std::string& text, ResizeMethod* value) { return ParseName(text, kMethodNames, value); }
bool Parse(const std::string& text, PadMode* value) { return ParseName(text, kPadModeNames, value); }

absl::Status BadForm(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("transform graph: ", std::string(what)));
}

// The lines of the canonical form by key.
class Lines {
 public:
  static absl::StatusOr<Lines> Split(std::string_view text) {
    Lines lines;
    while (!text.empty()) {
      const size_t end = text.find('\n');
      const std::string line(text.substr(0, end));
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      const size_t equals = line.find('=');
      if (equals == std::string::npos) return BadForm(absl::StrCat("line '", line, "' is not key=value"));
      lines.values_.emplace(line.substr(0, equals), line.substr(equals + 1));
    }
    return lines;
  }

  std::string Value(const std::string& key) const {
    const auto found = values_.find(key);
    return found == values_.end() ? "" : found->second;
  }

  template <typename Options>
  absl::Status Read(Options* options) const {
    absl::Status status;
    VisitFields(*options, [this, &status](const char* key, auto& field) {
      if (!Parse(Value(key), &field)) {
        status.Update(BadForm(absl::StrCat("line '", key, "=", Value(key), "' is missing or has no valid value")));
      }
    });
    return status;
  }

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace

absl::Status TransformGraph::Validate() const {
  URSA_RETURN_IF_ERROR(ValidateItemTransform(item));
  if (augment.has_value()) URSA_RETURN_IF_ERROR(ValidateAugTransforms(*augment));
  return ValidateNormalize(normalize);
}

std::string SerializeTransformGraph(const TransformGraph& graph) {
  std::string text;
  const auto line = [&text](const char* key, const std::string& value) {
    absl::StrAppend(&text, key, "=", value, "\n");
  };
  const auto write = [&line](const char* key, const auto& value) { line(key, Text(value)); };
  line(kHeader, kVersion);
  line("item", std::holds_alternative<ResizeOptions>(graph.item) ? kResize : kRandomResizedCrop);
  std::visit([&write](const auto& options) { VisitFields(options, write); }, graph.item);
  line("augment", graph.augment.has_value() ? kAugTransforms : kNone);
  if (graph.augment.has_value()) VisitFields(*graph.augment, write);
  VisitFields(graph.normalize, write);
  return text;
}

absl::StatusOr<TransformGraph> ParseTransformGraph(std::string_view text) {
  URSA_ASSIGN_OR_RETURN(const Lines lines, Lines::Split(text));
  if (lines.Value(kHeader) != kVersion) {
    return BadForm(absl::StrCat("version is '", lines.Value(kHeader), "', this program reads ", kVersion));
  }
  TransformGraph graph;
  const std::string item = lines.Value("item");
  if (item == kResize) {
    URSA_RETURN_IF_ERROR(lines.Read(&graph.item.emplace<ResizeOptions>()));
  } else if (item == kRandomResizedCrop) {
    URSA_RETURN_IF_ERROR(lines.Read(&graph.item.emplace<RandomResizedCropOptions>()));
  } else {
    return BadForm(absl::StrCat("unknown item transform '", item, "'"));
  }
  const std::string augment = lines.Value("augment");
  if (augment == kAugTransforms) {
    URSA_RETURN_IF_ERROR(lines.Read(&graph.augment.emplace()));
  } else if (augment != kNone) {
    return BadForm(absl::StrCat("unknown augmentation '", augment, "'"));
  }
  URSA_RETURN_IF_ERROR(lines.Read(&graph.normalize));
  URSA_RETURN_IF_ERROR(graph.Validate());
  // One graph has one form: order, spelling of numbers and unknown keys are settled by writing it again.
  if (SerializeTransformGraph(graph) != text) return BadForm("the text is not in canonical form");
  return graph;
}

std::string TransformHash(const TransformGraph& graph) { return Sha256Hex(SerializeTransformGraph(graph)); }

int64_t NumOutputValues(const TransformGraph& graph) {
  const PixelBox size = OutputSize(graph.item);
  return int64_t{3} * size.height * size.width;
}

absl::Status ApplyItem(const TransformGraph& graph, const RgbImage& image, TransformMode mode, Draws* draws,
                       ResizeScratch* scratch, RgbImage* item) {
  return ApplyCrop(image, PlanCrop(graph.item, image.width, image.height, mode, draws), scratch, item);
}

void ApplyAfterItem(const TransformGraph& graph, const RgbImage& item, TransformMode mode, Draws* draws,
                    BatchScratch* scratch, float* output) {
  CoordinateMap map;
  Lighting lighting;
  PadMode pad_mode = PadMode::kReflection;
  if (mode == TransformMode::kTraining && graph.augment.has_value()) {
    const AugDraws drawn = DrawAug(*graph.augment, draws);
    map = MakeCoordinateMap(drawn, item.width, item.height);
    lighting = {drawn.brightness, drawn.contrast};
    pad_mode = graph.augment->pad_mode;
  }
  TransformPixels(item, map, pad_mode, lighting, ChannelScale::FromNormalize(graph.normalize), item.width, item.height,
                  scratch, output);
}

absl::Status ApplyTransforms(const TransformGraph& graph, const RgbImage& image, TransformMode mode, Draws* draws,
                             TransformScratch* scratch, float* output) {
  URSA_RETURN_IF_ERROR(ApplyItem(graph, image, mode, draws, &scratch->resize, &scratch->item));
  ApplyAfterItem(graph, scratch->item, mode, draws, &scratch->batch, output);
  return absl::OkStatus();
}

}  // namespace ursa
