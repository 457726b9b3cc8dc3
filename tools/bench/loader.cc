// How fast one core makes network input of JPEG photos: the parts, and the whole loader.
//
//   loader FORM FOLDER      FORM is full (5 rounds of all photos), short (3 rounds of 64) or ci (checks only)
//
// Every figure is photos per second of one thread: num_photos / wall time. The rounds of the parts are interleaved;
// shown are median, minimum and maximum over the rounds. "decode" is the physical limit of a first epoch on this
// machine as long as each photo is decoded whole; "cached" is what later epochs reach while decoded photos fit into
// memory.
#include "worker/data/loader.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/rng.h"
#include "worker/data/image_decoder.h"
#include "worker/data/pixel_kernels.h"
#include "worker/data/transform_graph.h"

namespace ursa {
namespace {

constexpr int64_t kBatchSize = 16;

// The book's recipe.
TransformGraph Graph() {
  TransformGraph graph;
  RandomResizedCropOptions crop;
  crop.min_scale = 0.5;
  graph.item = crop;
  graph.augment.emplace();
  return graph;
}

double Seconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

struct Series {
  std::string name;
  std::function<void()> work;  // on all photos
  std::vector<double> photos_per_second;
};

[[noreturn]] void Fail(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}

// Both instruction sets must give the same bits, cached or not.
void Check(const std::vector<RgbImage>& images) {
  const TransformGraph graph = Graph();
  TransformScratch scratch;
  std::vector<float> outputs[2];
  for (size_t i = 0; i < images.size(); ++i) {
    for (const bool baseline : {false, true}) {
      outputs[baseline].resize(NumOutputValues(graph));
      CounterRng rng(42, i, 0);
      RngDraws draws(&rng);
      ForceBaselinePixelKernels(baseline);
      const absl::Status status =
          ApplyTransforms(graph, images[i], TransformMode::kTraining, &draws, &scratch, outputs[baseline].data());
      if (!status.ok()) Fail(status.ToString());
    }
    ForceBaselinePixelKernels(false);
    if (outputs[0] != outputs[1]) Fail("instruction sets differ");
  }
}

void RunEpoch(Loader* loader, int64_t epoch) {
  for (int64_t step = 0; step < loader->steps_per_epoch(); ++step) {
    const absl::StatusOr<HostBatch> batch = loader->Get(epoch, step);
    if (!batch.ok()) Fail(batch.status().ToString());
  }
}

struct Photos {
  std::vector<ExampleRef> examples;
  std::vector<std::string> files;
  std::vector<RgbImage> images;
};

// The first .jpg files under `folder` in the order of their names, whole batches only.
Photos LoadPhotos(const std::string& folder, size_t num_photos_max) {
  Photos photos;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".jpg") continue;
    photos.examples.push_back({entry.path().string(), 0, entry.path().filename().string()});
  }
  std::sort(photos.examples.begin(), photos.examples.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  photos.examples.resize(std::min(photos.examples.size(), num_photos_max) / kBatchSize * kBatchSize);
  if (photos.examples.empty()) Fail("no batch of .jpg files under " + folder);
  for (const ExampleRef& example : photos.examples) {
    absl::StatusOr<std::string> file = ReadFile(example.path);
    if (!file.ok()) Fail(file.status().ToString());
    absl::StatusOr<RgbImage> image = DecodeImage(*file, ImageLimits());
    if (!image.ok()) Fail(example.path + ": " + image.status().ToString());
    photos.files.push_back(*std::move(file));
    photos.images.push_back(*std::move(image));
  }
  return photos;
}

// A loader that works in the caller's thread.
std::unique_ptr<Loader> MakeLoader(const Photos& photos, int64_t cache_bytes_max) {
  LoaderOptions options;
  options.batch_size = kBatchSize;
  options.num_threads = 0;
  options.cache_bytes_max = cache_bytes_max;
  auto loader = Loader::Create(std::make_shared<FileExampleSource>(photos.examples), Graph(), options);
  if (!loader.ok()) Fail(loader.status().ToString());
  return *std::move(loader);
}

void Print(std::vector<Series>* series) {
  std::printf("%-28s %8s %8s %8s   of decode\n", "photos/s, one thread", "median", "min", "max");
  double decode_median = 0;
  for (Series& s : *series) {
    std::vector<double>& figures = s.photos_per_second;
    std::sort(figures.begin(), figures.end());
    const double median = figures[figures.size() / 2];
    if (decode_median == 0) decode_median = median;
    std::printf("%-28s %8.0f %8.0f %8.0f   %6.2f\n", s.name.c_str(), median, figures.front(), figures.back(),
                median / decode_median);
  }
}

int Main(const std::string& form, const std::string& folder) {
  const Photos photos = LoadPhotos(folder, form == "full" ? 416 : form == "short" ? 64 : 16);
  Check(photos.images);
  double pixels = 0;
  for (const RgbImage& image : photos.images) pixels += static_cast<double>(image.width) * image.height;
  std::printf("%zu photos of %.2f megapixels on average; both instruction sets give equal bits\n", photos.images.size(),
              pixels / photos.images.size() / 1e6);
  if (form == "ci") return 0;

  const TransformGraph graph = Graph();
  TransformScratch scratch;
  RgbImage decoded;
  std::vector<RgbImage> items(photos.images.size());
  std::vector<float> output(NumOutputValues(graph));
  const auto decode = [&] {
    for (const std::string& file : photos.files) (void)DecodeImage(file, ImageLimits(), &decoded);
  };
  const auto for_each_photo = [&photos](const std::function<void(size_t, Draws*)>& work) {
    for (size_t i = 0; i < photos.images.size(); ++i) {
      CounterRng rng(42, i, 0);
      RngDraws draws(&rng);
      work(i, &draws);
    }
  };
  const auto crop = [&] {
    for_each_photo([&](size_t i, Draws* draws) {
      (void)ApplyItem(graph, photos.images[i], TransformMode::kTraining, draws, &scratch.resize, &items[i]);
    });
  };
  const auto augment = [&] {
    for_each_photo([&](size_t i, Draws* draws) {
      ApplyAfterItem(graph, items[i], TransformMode::kTraining, draws, &scratch.batch, output.data());
    });
  };
  const auto uncached = MakeLoader(photos, 0);
  const auto cached = MakeLoader(photos, int64_t{2} << 30);
  crop();
  RunEpoch(cached.get(), 0);
  int64_t epoch = 1;
  std::vector<Series> series = {{"decode", decode, {}},
                                {"random resized crop to 224", crop, {}},
                                {"augment and normalise", augment, {}},
                                {"loader, first epoch", [&] { RunEpoch(uncached.get(), epoch); }, {}},
                                {"loader, cached", [&] { RunEpoch(cached.get(), epoch); }, {}}};
  const int num_rounds = form == "full" ? 5 : 3;
  for (int round = 0; round < num_rounds; ++round, ++epoch) {
    for (Series& s : series) s.photos_per_second.push_back(photos.images.size() / Seconds(s.work));
  }
  Print(&series);
  return 0;
}

}  // namespace
}  // namespace ursa

int main(int argc, char** argv) {
  const bool known =
      argc == 3 && (!std::strcmp(argv[1], "full") || !std::strcmp(argv[1], "short") || !std::strcmp(argv[1], "ci"));
  if (!known) {
    std::fprintf(stderr, "usage: loader full|short|ci FOLDER\n");
    return 2;
  }
  return ursa::Main(argv[1], argv[2]);
}
