#include "worker/data/batch_transforms.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "worker/data/pixel_kernels.h"

namespace ursa {
namespace {

using Matrix3 = std::array<std::array<double, 3>, 3>;

Matrix3 Multiply(const Matrix3& a, const Matrix3& b) {
  Matrix3 product = {};
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      for (int k = 0; k < 3; ++k) product[i][j] += a[i][k] * b[k][j];
    }
  }
  return product;
}

// The symmetries of the square in fastai's numbering.
constexpr double kDihedral[8][2][2] = {{{1, 0}, {0, 1}},   {{-1, 0}, {0, 1}}, {{1, 0}, {0, -1}}, {{0, -1}, {1, 0}},
                                       {{-1, 0}, {0, -1}}, {{0, 1}, {-1, 0}}, {{0, 1}, {1, 0}},  {{0, -1}, {-1, 0}}};

// Solves the 8 x 8 system, each row with its right side in the last place, by elimination with row exchange.
std::array<double, 8> Solve(std::array<std::array<double, 9>, 8> rows) {
  for (int column = 0; column < 8; ++column) {
    int pivot = column;
    for (int i = column + 1; i < 8; ++i) {
      if (std::abs(rows[i][column]) > std::abs(rows[pivot][column])) pivot = i;
    }
    std::swap(rows[column], rows[pivot]);
    for (int i = 0; i < 8; ++i) {
      if (i == column) continue;
      const double factor = rows[i][column] / rows[column][column];
      for (int j = column; j < 9; ++j) rows[i][j] -= factor * rows[column][j];
    }
  }
  std::array<double, 8> solution;
  for (int i = 0; i < 8; ++i) solution[i] = rows[i][8] / rows[i][i];
  return solution;
}

// The homography that takes the moved corners of the square to the corners.
std::array<double, 8> WarpCoefficients(double warp_x, double warp_y) {
  const double corners[4][2] = {{-1, -1}, {-1, 1}, {1, -1}, {1, 1}};
  const double moved[4][2] = {
      {-1 - warp_y, -1 - warp_x}, {-1 + warp_y, 1 + warp_x}, {1 + warp_y, -1 + warp_x}, {1 - warp_y, 1 - warp_x}};
  std::array<std::array<double, 9>, 8> rows;
  for (int i = 0; i < 4; ++i) {
    const double u = moved[i][0];
    const double v = moved[i][1];
    const double x = corners[i][0];
    const double y = corners[i][1];
    rows[2 * i] = {u, v, 1, 0, 0, 0, -x * u, -x * v, x};
    rows[2 * i + 1] = {0, 0, 0, u, v, 1, -y * u, -y * v, y};
  }
  return Solve(rows);
}

Matrix3 WarpMatrix(const CoordinateMap& map) {
  const auto& c = map.warp;
  return {{{c[0], c[1], c[2]}, {c[3], c[4], c[5]}, {c[6], c[7], 1}}};
}

// Index of an output pixel to normalised coordinate, and back for the input: one output pixel lies at 0.
Matrix3 IndexToNormalised(int width, int height) {
  const double x = width > 1 ? 2.0 / (width - 1) : 0;
  const double y = height > 1 ? 2.0 / (height - 1) : 0;
  return {{{x, 0, width > 1 ? -1.0 : 0.0}, {0, y, height > 1 ? -1.0 : 0.0}, {0, 0, 1}}};
}

Matrix3 NormalisedToIndex(int width, int height) {
  const double x = (width - 1) / 2.0;
  const double y = (height - 1) / 2.0;
  return {{{x, 0, x}, {0, y, y}, {0, 0, 1}}};
}

SampleLine LineOf(const Matrix3& map, int row) {
  SampleLine line;
  line.x0 = static_cast<float>(map[0][1] * row + map[0][2]);
  line.dx = static_cast<float>(map[0][0]);
  line.y0 = static_cast<float>(map[1][1] * row + map[1][2]);
  line.dy = static_cast<float>(map[1][0]);
  line.w0 = static_cast<float>(map[2][1] * row + map[2][2]);
  line.dw = static_cast<float>(map[2][0]);
  return line;
}

// Whether the denominator is exactly zero at a pixel. It is linear, so only a change of sign between the corners makes
// it worth while to look.
bool HasZeroDenominator(const Matrix3& map, int width, int height) {
  const auto at = [&map](int row, int column) {
    const SampleLine line = LineOf(map, row);
    return line.w0 + static_cast<float>(column) * line.dw;
  };
  const float corners[4] = {at(0, 0), at(0, width - 1), at(height - 1, 0), at(height - 1, width - 1)};
  const auto [low, high] = std::minmax_element(std::begin(corners), std::end(corners));
  if (*low > 0 || *high < 0) return false;
  for (int row = 0; row < height; ++row) {
    for (int column = 0; column < width; ++column) {
      if (at(row, column) == 0) return true;
    }
  }
  return false;
}

// From the index of an output pixel to the (homogeneous) index of an input pixel.
Matrix3 IndexMap(const CoordinateMap& map, int in_width, int in_height, int out_width, int out_height) {
  const auto& m = map.matrix;
  const Matrix3 affine = {{{m[0][0], m[0][1], m[0][2]}, {m[1][0], m[1][1], m[1][2]}, {0, 0, 1}}};
  const Matrix3 to_input = NormalisedToIndex(in_width, in_height);
  const Matrix3 from_output = Multiply(affine, IndexToNormalised(out_width, out_height));
  if (map.has_warp) {
    const Matrix3 warped = Multiply(to_input, Multiply(WarpMatrix(map), from_output));
    // As fastai: such a warp is left out.
    if (!HasZeroDenominator(warped, out_width, out_height)) return warped;
  }
  return Multiply(to_input, from_output);
}

SamplePadding ToSamplePadding(PadMode mode) {
  switch (mode) {
    case PadMode::kZeros:
      return SamplePadding::kZeros;
    case PadMode::kBorder:
      return SamplePadding::kBorder;
    case PadMode::kReflection:
      return SamplePadding::kReflection;
  }
  return SamplePadding::kZeros;
}

// Copies a picture into the border of zeros that sampling needs. One element of `packed` is one pixel of four values of
// type T; `copy_row(y, to)` writes one row of them.
template <typename T, typename Element, typename CopyRow>
SampleSource<T> PackWithBorder(int width, int height, std::vector<Element>* packed, CopyRow copy_row) {
  constexpr int kElementsPerPixel = 4 * sizeof(T) / sizeof(Element);
  SampleSource<T> source;
  source.width = width;
  source.height = height;
  source.stride = width + 3;
  const size_t row_elements = static_cast<size_t>(source.stride) * kElementsPerPixel;
  packed->resize(row_elements * (height + 3));
  Element* row = packed->data();
  std::fill(row, row + row_elements, Element{0});
  for (int y = 0; y < height; ++y) {
    row += row_elements;
    std::fill(row, row + kElementsPerPixel, Element{0});
    copy_row(y, row + kElementsPerPixel);
    std::fill(row + row_elements - 2 * kElementsPerPixel, row + row_elements, Element{0});
  }
  std::fill(row + row_elements, row + 3 * row_elements, Element{0});
  source.pixels = reinterpret_cast<const T*>(packed->data());
  return source;
}

// The common end: `make_row(y)` fills scratch->row with row y of the output before lighting.
template <typename MakeRow>
void FinishRows(const Lighting& lighting, const ChannelScale& channel_scale, int width, int height,
                BatchScratch* scratch, float* output, MakeRow make_row) {
  const PixelKernels& kernels = ActivePixelKernels();
  const auto logit_brightness = static_cast<float>(std::log(lighting.brightness / (1 - lighting.brightness)));
  for (int y = 0; y < height; ++y) {
    make_row(y);
    if (!lighting.IsIdentity()) {
      kernels.light(logit_brightness, static_cast<float>(lighting.contrast), 3 * width, scratch->row.data());
    }
    kernels.scale_channels(scratch->row.data(), channel_scale.scale.data(), channel_scale.offset.data(), width,
                           output + int64_t{3} * width * y);
  }
}

absl::Status OutOfRange(const char* field, double value, const char* range) {
  return absl::InvalidArgumentError(absl::StrCat("batch transforms: ", field, " is ", value, ", must be in ", range));
}

}  // namespace

// Conditions are written so that not-a-number fails.
absl::Status ValidateAugTransforms(const AugTransformsOptions& options) {
  const auto& o = options;
  if (!(o.mult >= 0 && o.mult <= 1000)) return OutOfRange("mult", o.mult, "[0, 1000]");
  const double rotate = o.max_rotate * o.mult;
  if (!(o.max_rotate >= 0 && rotate <= 180)) return OutOfRange("max_rotate * mult", rotate, "[0, 180]");
  if (!(o.min_zoom > 0 && o.min_zoom <= 1000)) return OutOfRange("min_zoom", o.min_zoom, "(0, 1000]");
  if (!(o.max_zoom >= o.min_zoom && o.max_zoom <= 1000)) return OutOfRange("max_zoom", o.max_zoom, "[min_zoom, 1000]");
  const double lighting = o.max_lighting * o.mult;
  if (!(o.max_lighting >= 0 && lighting < 1)) return OutOfRange("max_lighting * mult", lighting, "[0, 1)");
  const double warp = o.max_warp * o.mult;
  if (!(o.max_warp >= 0 && warp < 1)) return OutOfRange("max_warp * mult", warp, "[0, 1)");
  if (!(o.p_affine >= 0 && o.p_affine <= 1)) return OutOfRange("p_affine", o.p_affine, "[0, 1]");
  if (!(o.p_lighting >= 0 && o.p_lighting <= 1)) return OutOfRange("p_lighting", o.p_lighting, "[0, 1]");
  return absl::OkStatus();
}

absl::Status ValidateNormalize(const NormalizeOptions& options) {
  for (int c = 0; c < 3; ++c) {
    if (!std::isfinite(options.mean[c])) return OutOfRange("normalize.mean", options.mean[c], "the finite numbers");
    if (!(options.std[c] > 0 && std::isfinite(options.std[c]))) {
      return OutOfRange("normalize.std", options.std[c], "the positive numbers");
    }
  }
  return absl::OkStatus();
}

AugDraws DrawAug(const AugTransformsOptions& options, Draws* draws) {
  constexpr double kFlipProbability = 0.5;
  AugDraws drawn;
  // The value first, then whether it is used.
  const auto maybe = [draws](double p, double value, double* to) {
    if (draws->Chance(p)) *to = value;
  };
  if (options.do_flip) {
    const int symmetry = options.flip_vert ? static_cast<int>(draws->Integer(0, 7)) : 1;
    if (draws->Chance(kFlipProbability)) drawn.dihedral = symmetry;
  }
  const double warp = options.max_warp * options.mult;
  if (warp > 0) {
    maybe(options.p_affine, draws->Uniform(-warp, warp), &drawn.warp_x);
    maybe(options.p_affine, draws->Uniform(-warp, warp), &drawn.warp_y);
  }
  const double rotate = options.max_rotate * options.mult;
  if (rotate > 0) maybe(options.p_affine, draws->Uniform(-rotate, rotate), &drawn.degrees);
  if (options.min_zoom < 1 || options.max_zoom > 1) {
    maybe(options.p_affine, draws->Uniform(options.min_zoom, options.max_zoom), &drawn.zoom);
    drawn.zoom_x = draws->Uniform(0, 1);
    drawn.zoom_y = draws->Uniform(0, 1);
  }
  const double lighting = options.max_lighting * options.mult;
  if (lighting > 0) {
    const double log_contrast = -std::log(1 - lighting);
    maybe(options.p_lighting, draws->Uniform(0.5 * (1 - lighting), 0.5 * (1 + lighting)), &drawn.brightness);
    maybe(options.p_lighting, std::exp(draws->Uniform(-log_contrast, log_contrast)), &drawn.contrast);
  }
  return drawn;
}

bool CoordinateMap::IsIdentity() const { return !has_warp && matrix == CoordinateMap().matrix; }

CoordinateMap MakeCoordinateMap(const AugDraws& draws, int width, int height) {
  const auto& d = kDihedral[draws.dihedral];
  const Matrix3 symmetry = {{{d[0][0], d[0][1], 0}, {d[1][0], d[1][1], 0}, {0, 0, 1}}};
  const double angle = draws.degrees * M_PI / 180;
  const Matrix3 rotation = {{{std::cos(angle), std::sin(angle), 0}, {-std::sin(angle), std::cos(angle), 0}, {0, 0, 1}}};
  const double s = 1 / draws.zoom;
  const Matrix3 zoom = {
      {{s, 0, (1 - s) * (2 * draws.zoom_x - 1)}, {0, s, (1 - s) * (2 * draws.zoom_y - 1)}, {0, 0, 1}}};
  const Matrix3 product = Multiply(Multiply(symmetry, rotation), zoom);
  CoordinateMap map;
  map.matrix = {product[0], product[1]};
  map.matrix[0][1] *= static_cast<double>(height) / width;
  map.matrix[1][0] *= static_cast<double>(width) / height;
  map.has_warp = draws.warp_x != 0 || draws.warp_y != 0;
  if (map.has_warp) map.warp = WarpCoefficients(draws.warp_x, draws.warp_y);
  return map;
}

std::array<double, 2> MapCoordinate(const CoordinateMap& map, double x, double y) {
  const auto& m = map.matrix;
  const double u = m[0][0] * x + m[0][1] * y + m[0][2];
  const double v = m[1][0] * x + m[1][1] * y + m[1][2];
  if (!map.has_warp) return {u, v};
  const Matrix3 h = WarpMatrix(map);
  const double w = h[2][0] * u + h[2][1] * v + h[2][2];
  return {(h[0][0] * u + h[0][1] * v + h[0][2]) / w, (h[1][0] * u + h[1][1] * v + h[1][2]) / w};
}

ChannelScale ChannelScale::FromNormalize(const NormalizeOptions& options) {
  ChannelScale result;
  for (int c = 0; c < 3; ++c) {
    result.scale[c] = static_cast<float>(1 / options.std[c]);
    result.offset[c] = static_cast<float>(-options.mean[c] / options.std[c]);
  }
  return result;
}

void TransformPixels(const RgbImage& image, const CoordinateMap& map, PadMode pad_mode, const Lighting& lighting,
                     const ChannelScale& channel_scale, int out_width, int out_height, BatchScratch* scratch,
                     float* output) {
  const PixelKernels& kernels = ActivePixelKernels();
  scratch->row.resize(3 * out_width + kRowSlackValues);
  if (map.IsIdentity() && out_width == image.width && out_height == image.height) {
    FinishRows(lighting, channel_scale, out_width, out_height, scratch, output,
               [&](int y) { kernels.bytes_to_floats(image.Row(y), 3 * out_width, scratch->row.data()); });
    return;
  }
  const auto source =
      PackWithBorder<uint8_t>(image.width, image.height, &scratch->packed_bytes, [&image](int y, uint32_t* to) {
        const uint8_t* from = image.Row(y);
        for (int x = 0; x < image.width; ++x) std::memcpy(&to[x], from + 3 * x, sizeof(uint32_t));
      });
  const Matrix3 index_map = IndexMap(map, image.width, image.height, out_width, out_height);
  FinishRows(lighting, channel_scale, out_width, out_height, scratch, output, [&](int y) {
    kernels.sample_bytes(source, LineOf(index_map, y), ToSamplePadding(pad_mode), out_width, scratch->row.data());
  });
}

void TransformPixels(const float* image, int width, int height, const CoordinateMap& map, PadMode pad_mode,
                     const Lighting& lighting, const ChannelScale& channel_scale, int out_width, int out_height,
                     BatchScratch* scratch, float* output) {
  const PixelKernels& kernels = ActivePixelKernels();
  scratch->row.resize(3 * out_width + kRowSlackValues);
  if (map.IsIdentity() && out_width == width && out_height == height) {
    FinishRows(lighting, channel_scale, out_width, out_height, scratch, output,
               [&](int y) { std::copy_n(image + int64_t{3} * width * y, 3 * width, scratch->row.data()); });
    return;
  }
  const auto source = PackWithBorder<float>(width, height, &scratch->packed_floats, [image, width](int y, float* to) {
    const float* from = image + int64_t{3} * width * y;
    for (int x = 0; x < width; ++x, from += 3, to += 4) {
      std::copy_n(from, 3, to);
      to[3] = 0;
    }
  });
  const Matrix3 index_map = IndexMap(map, width, height, out_width, out_height);
  FinishRows(lighting, channel_scale, out_width, out_height, scratch, output, [&](int y) {
    kernels.sample_floats(source, LineOf(index_map, y), ToSamplePadding(pad_mode), out_width, scratch->row.data());
  });
}

}  // namespace ursa
